"""The method that tells what happened to connections; those that belong together are one story."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any, Final

import msgspec
from msgspec import Struct

from gapless.core.errors import NotAvailable, Unavailable
from gapless.core.limits import STORY_CHAIN_MAX, TOLD_PAGE, TOLD_PAGE_BYTES_MAX
from gapless.server.api.answers import StoryEvent
from gapless.server.api.calls import encode
from gapless.server.api.requests import StoriesRequest
from gapless.server.console.joining import Candidate, Sought, before, likeliest, sought
from gapless.server.console.stories import Event, Stories, What
from gapless.server.sessions import Sessions

__all__ = ["Recalling"]


class _Asked(Struct):
    """Told to all nodes: whose events, of connections that had begun by then (0: of any)."""

    client: str
    user: str
    limit: int
    begun_by_ms: int = 0


class _Line(Struct):
    """An event, when its connection began, and which one before is sought."""

    event: StoryEvent
    began_ms: int
    sought: Sought | None = None


class _Page(Struct):
    """The newest events of a node, the newest first; for older ones than of `cut_ms` it had no room."""

    lines: list[_Line]
    cut_ms: int = 0


_read_asked: Final = msgspec.json.Decoder(_Asked).decode
_read_sought: Final = msgspec.json.Decoder(list[Sought]).decode


class Recalling:
    """What is remembered of connections, here and elsewhere."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        if sessions.elsewhere is not None:
            sessions.elsewhere.serve("stories", self._page_here, looks=True)
            sessions.elsewhere.serve("stories_before", self._before_here, looks=True)

    async def stories(self, request: StoriesRequest) -> bytes:
        """Return what happened, the newest first.

        Raises:
            NotAvailable: nothing is remembered, as this node has no console.
            Unavailable: another node does not answer.
        """
        limit = request.limit or TOLD_PAGE
        if request.client:
            lines = await self._whole(request.client, limit)
        else:
            lines = await self._lines(_Asked("", request.user or "", limit))
            await self._join(lines)
        return encode({"events": [line.event for line in lines]})

    async def _whole(self, client: str, limit: int) -> list[_Line]:
        """Return the events of a connection and of those that it continues."""
        lines = await self._lines(_Asked(client, "", limit))
        if lines and lines[0].event.user:
            lines = await self._lines(_Asked("", lines[0].event.user, limit, lines[0].began_ms))
            await self._join(lines)
            return lines
        found, clients = lines, {client}
        for _ in range(STORY_CHAIN_MAX):
            await asyncio.sleep(0)  # each looks through all that is remembered
            await self._join(lines)
            previous = next(filter(None, (line.event.previous for line in reversed(lines))), None)
            if previous is None or previous in clients:
                break
            clients.add(previous)
            lines = await self._lines(_Asked(previous, "", limit))
            found = _merged([_Page(found), _Page(lines)], limit)
        return found

    # All nodes ----------------------------------------------------------------------------

    async def _lines(self, asked: _Asked) -> list[_Line]:
        others = await self._elsewhere("stories", asked)
        return _merged([self._page(asked), *(_read(told, _Page) for told in others)], asked.limit)

    async def _join(self, lines: Iterable[_Line]) -> None:
        """Say in events of those who came back which connection they continue."""
        back = [(line.event, line.sought) for line in lines if line.sought is not None]
        if not back:
            return
        wanted = [each for _, each in back]
        others = await self._elsewhere("stories_before", wanted)
        found = [self._before(wanted), *(_read(told, list[Candidate | None]) for told in others)]
        for (event, _), candidates in zip(back, zip(*found, strict=True), strict=True):
            event.previous = likeliest(candidates) or None

    async def _elsewhere(self, method: str, asked: object) -> list[bytes]:
        elsewhere = self._sessions.elsewhere
        if elsewhere is None or elsewhere.is_alone:
            return []
        return await elsewhere.everywhere(method, encode(asked))

    # Here ---------------------------------------------------------------------------------

    async def _page_here(self, body: bytes) -> bytes:
        return encode(self._page(_read_asked(body)))

    async def _before_here(self, body: bytes) -> bytes:
        return encode(self._before(_read_sought(body)))

    def _remembered(self) -> Stories:
        stories = self._sessions.stories
        if stories is None:
            raise NotAvailable("nothing is remembered of connections without a console: see console.enabled")
        return stories

    def _before(self, wanted: Sequence[Sought]) -> list[Candidate | None]:
        return before(self._remembered(), self._sessions, wanted)

    def _page(self, asked: _Asked) -> _Page:
        stories, node = self._remembered(), self._sessions.broker.node
        page, size_bytes = _Page([]), 0
        for event in islice(_events(stories, asked), asked.limit):
            line = _Line(_told(event, node), event.story.began_ms, sought(event, node))
            size_bytes += len(encode(line))
            if size_bytes > TOLD_PAGE_BYTES_MAX and page.lines:
                page.cut_ms = event.at_ms
                break
            page.lines.append(line)
        return page


def _events(stories: Stories, asked: _Asked) -> Iterator[Event]:
    """Return the events that are asked for, the newest first."""
    for event in stories.newest():
        story = event.story
        if asked.client not in ("", story.client) or asked.user not in ("", story.user):
            continue
        if not asked.begun_by_ms or story.began_ms <= asked.begun_by_ms:
            yield event
        if asked.client and event.what is What.CONNECTED:
            return


def _merged(pages: list[_Page], limit: int) -> list[_Line]:
    """Join pages, as far back as all have room for."""
    cut_ms = max(page.cut_ms for page in pages)
    lines = merge(*(page.lines for page in pages), key=lambda line: -line.event.at_ms)
    return list(islice((line for line in lines if line.event.at_ms >= cut_ms), limit))


def _read(told: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(told, type=kind)
    except msgspec.MsgspecError as error:
        raise Unavailable(f"another node answers what cannot be read: {error}") from error


# What is told of each kind --------------------------------------------------------------------


def _told(event: Event, node: str) -> StoryEvent:
    story = event.story
    told = StoryEvent(event.at_ms, node, story.client, story.user, event.what.value)
    match event.what:
        case What.CONNECTED:
            told.address, (told.name, told.version) = story.address, story.sdk
            told.protocol = "protobuf" if story.binary else "json"
        case What.SUBSCRIBED:
            told.channel, told.offset = event.channel, event.offset
        case What.RECOVERED | What.LOST:
            _tell_return(told, event)
        case What.UNSUBSCRIBED:
            told.channel, told.code, told.reason = event.channel, event.code, event.reason
        case What.STALLED:
            told.times = event.times
        case What.DISCONNECTED:
            told.code, told.reason, told.by = event.code, event.reason, event.by
            told.positions = {channel: position.offset for channel, position in event.positions.items()}
    return told


def _tell_return(told: StoryEvent, event: Event) -> None:
    presented = event.presented
    assert presented is not None
    told.channel, told.last = event.channel, presented.last
    told.since, told.epoch = presented.since.offset, presented.since.epoch
    if presented.why:
        told.why = presented.why
    else:
        told.messages, told.took_ms, told.source = presented.missed, event.took_ms, presented.how
