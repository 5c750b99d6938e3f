"""What middleware may do around what is sent: a publication, jobs, messages, or what a handler emits."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Literal, Protocol

from msgspec import Struct

__all__ = ["Sending", "Surrounds", "Verb", "surrounding"]

Verb = Literal["publish", "enqueue", "append"]


class Sending(Struct):
    """Something that is being sent to a channel, queue or stream: its `place`.

    `headers` are those of each message (of a publication, its tags), and may be added to.
    """

    verb: Verb
    place: str
    headers: list[dict[str, str]]


class Surrounds(Protocol):
    """What is told of everything that is sent."""

    def sending(self, sending: Sending) -> AbstractContextManager[None]:
        """Return what surrounds it: entered before it is sent, and left when it is stored or refused."""


@contextmanager
def surrounding(all_of: Sequence[Surrounds], sending: Sending) -> Iterator[None]:
    """Surround what is sent with all of these, the first outermost."""
    with ExitStack() as stack:
        for each in all_of:
            stack.enter_context(each.sending(sending))
        yield
