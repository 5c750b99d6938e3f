"""Calling the verbs of queues and streams."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, Final

from msgspec.structs import replace

from gapless.cli.calling import Server
from gapless.core.errors import GaplessError, UnknownQueue, UnknownStream
from gapless.core.limits import BROWSE_JOBS_MAX, PAGE_MESSAGES_MAX
from gapless.protocol import queues, streams
from gapless.protocol.queues import ListQueuesRequest, QueueStatus
from gapless.protocol.streams import ListStreamsRequest, StreamStatus

__all__ = ["ask", "every_queue", "every_stream", "nearest_told", "pages"]

_VERBS: Final = {
    request: (verb, answer) for verb, (request, answer) in (queues.VERBS | streams.VERBS).items()
}


def ask(server: Server, request: Any) -> Any:
    """Have the verb of this request carried out; return its answer.

    Raises:
        GaplessError: the server cannot be reached, or refuses. An unknown name is told with the nearest.
    """
    verb, answer = _VERBS[type(request)]
    with nearest_told(server, request):
        return server.ask(verb, request, answer)


@contextmanager
def nearest_told(server: Server, request: Any) -> Iterator[None]:
    """Where a request names no queue or stream that there is, tell the nearest that there is."""
    try:
        yield
    except UnknownQueue as error:
        known = [each.queue for each in every_queue(server)]
        name = request.queue if hasattr(request, "queue") else request.jobs[0].queue
        raise _with_nearest(error, name, known) from error
    except UnknownStream as error:
        known = [each.stream for each in every_stream(server)]
        name = request.source if hasattr(request, "source") else request.stream
        raise _with_nearest(error, name, known) from error


def pages(server: Server, request: Any) -> Iterator[Any]:
    """Yield answer after answer as long as there is a `next`, which the request takes as `after`."""
    while True:
        answer = ask(server, request)
        yield answer
        if not answer.next:
            return
        request = replace(request, after=answer.next)


def every_queue(server: Server) -> Iterator[QueueStatus]:
    """Yield the queues in the order of their names."""
    for page in pages(server, ListQueuesRequest(limit=BROWSE_JOBS_MAX)):
        yield from page.queues


def every_stream(server: Server) -> Iterator[StreamStatus]:
    """Yield the streams in the order of their names."""
    for page in pages(server, ListStreamsRequest(limit=PAGE_MESSAGES_MAX)):
        yield from page.streams


def _with_nearest(error: GaplessError, asked: str, known: list[str]) -> GaplessError:
    near = get_close_matches(asked, known, n=1) if asked not in known else []
    return type(error)(f"{error}; did you mean {near[0]}?") if near else error
