"""Streams read, followed and tended, and the groups that read them."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final, Literal

from gapless.core.errors import BadRequest
from gapless.core.stream import Position
from gapless.library.delivery import Message
from gapless.library.making import wire_position
from gapless.library.payloads import Shape
from gapless.library.times import Duration, Instant, duration_ms, instant_ms
from gapless.protocol import groups as grouping
from gapless.protocol import reading, streams
from gapless.protocol.reading import Edge
from gapless.protocol.settings import StreamSettings

__all__ = ["Start", "Streams"]

Start = Position | Literal["earliest", "latest"] | int | datetime
"""A position, an end, the offset of a message, or a time with its zone."""
Call = Callable[[str, Any], Awaitable[Any]]
Replay = Callable[[reading.ReplayRequest], AsyncGenerator[list[reading.ReplayedMessage], None]]

POLL: Final = "20s"
PAGE_MESSAGES: Final = 500


class Streams:
    """Streams. A `source` is a stream, a namespace (`chat:`) or a channel."""

    def __init__(self, call: Call, replay: Replay) -> None:
        self._call = call
        self._replay = replay

    async def declare(self, stream: str, settings: StreamSettings | None = None) -> bool:
        """Make a stream, or let one that is there be kept otherwise; tell whether it is new.

        What the settings leave out stays as it is. A rule of the configuration holds, whatever they say.

        Raises:
            BadRequest: it has another number of partitions, which never changes, or it is keyed otherwise and
                had messages; or there is a channel of that name which it would hide.
        """
        request = streams.DeclareStreamRequest(stream=stream, options=settings or StreamSettings())
        answer: streams.DeclareStreamAnswer = await self._call("stream/declare", request)
        return answer.fresh

    async def drop(self, stream: str) -> None:
        """Remove a stream with all its messages and groups. Raises UnknownStream."""
        await self._call("stream/drop", streams.DropStreamRequest(stream=stream))

    async def list(self, *, after: str = "", limit: int = 100) -> streams.ListStreamsAnswer:
        """Return the streams in the order of their names; `after` is `next` of the page before."""
        request = streams.ListStreamsRequest(after=after, limit=limit)
        answer: streams.ListStreamsAnswer = await self._call("stream/list", request)
        return answer

    async def page(
        self,
        source: str,
        start: Start = "earliest",
        *,
        partition: int | None = None,
        key: str | None = None,
        backwards: bool = False,
        limit: int = 100,
        wait: Duration = 0,
    ) -> reading.ReadAnswer:
        """Return what begins at a place, or with `backwards` what is before it, the newest first.

        After a position begins the next message, at an offset the message that has it.

        Of a stream with an index by keys, with `key` only what has it. Without messages it waits for up
        to `wait`.

        Raises:
            PositionLost: what follows the position cannot be told, or the offset is beyond the end.
            UnknownStream: there is no such source. BadRequest: it is no place.
        """
        request = reading.ReadRequest(
            source=source,
            partition=partition,
            key=key,
            backwards=backwards,
            limit=limit,
            wait_ms=duration_ms(wait),
            **_place(start),
        )
        answer: reading.ReadAnswer = await self._call("stream/read", request)
        return answer

    async def follow(
        self, source: str, start: Start = "latest", *, partition: int | None = None, key: str | None = None
    ) -> AsyncGenerator[tuple[Any, Message], None]:
        """Return each message of a partition from a place on, with its payload (JSON, or bytes), as it comes.

        Raises:
            PositionLost: what follows the last message cannot be told. UnknownStream: there is no such
            source.
        """
        place = start
        while True:
            page = await self.page(
                source, place, partition=partition, key=key, limit=PAGE_MESSAGES, wait=POLL
            )
            for told in page.messages:
                yield _payload(told), Message(source, page.epoch, told)
            place = Position(page.epoch, page.through)

    async def replay(
        self,
        source: str,
        start: Literal["earliest"] | int | datetime = "earliest",
        *,
        until: datetime | None = None,
        partition: int | None = None,
        key: str | None = None,
        speed: float = 1,
        pause: Duration = "1h",
    ) -> AsyncGenerator[tuple[Any, Message], None]:
        """Return messages again, with their payloads, as they came, or `speed` times as fast (0: at once).

        All partitions by the times of their messages, or one; from a time, or an offset of a partition, to
        what is the end now, or to the last before `until`. No pause is longer than `pause`.

        Raises:
            PositionLost: the offset is not kept, or retention has overtaken the replay. UnknownStream: there
            is no such source. NotAvailable: with a token alone. TooManyRequests: REPLAYS_MAX run there.
        """
        request = reading.ReplayRequest(
            source=source,
            partition=partition,
            key=key,
            until_ms=None if until is None else instant_ms(until),
            factor=speed,
            pause_ms=duration_ms(pause),
            **({} if start == "earliest" else _offset_or_time(start)),
        )
        async with aclosing(self._replay(request)) as parts:
            async for together in parts:
                for told in together:
                    yield _payload(told), Message(source, told.epoch, told)

    async def find(self, source: str, at: Instant, *, partition: int = 0) -> Position:
        """Return the position just before the first message that was stored at a time or later."""
        request = reading.FindRequest(source=source, at_ms=instant_ms(at), partition=partition)
        answer: reading.FindAnswer = await self._call("stream/find", request)
        return Position(answer.epoch, answer.offset)

    async def trim(
        self,
        source: str,
        *,
        partition: int | None = None,
        offset: int | None = None,
        before: Instant | None = None,
    ) -> streams.TrimAnswer:
        """Drop everything through an offset of a partition, or what is older than a time."""
        before_ms = None if before is None else instant_ms(before)
        request = streams.TrimRequest(stream=source, partition=partition, offset=offset, before_ms=before_ms)
        answer: streams.TrimAnswer = await self._call("stream/trim", request)
        return answer

    async def compact(self, stream: str, *, partition: int | None = None) -> int:
        """Erase messages that later ones of the same key have replaced; tell how many."""
        request = streams.CompactRequest(stream=stream, partition=partition)
        answer: streams.CompactAnswer = await self._call("stream/compact", request)
        return answer.erased

    async def audit(
        self, *, what: str = "", name: str = "", before: int = 0, limit: int = 100
    ) -> streams.AuditAnswer:
        """Return what was done to queues, streams and groups, and by whom, the newest first."""
        request = streams.AuditRequest(what=what, name=name, before=before, limit=limit)
        answer: streams.AuditAnswer = await self._call("stream/audit", request)
        return answer

    # Groups -------------------------------------------------------------------------------

    async def groups(self, source: str = "") -> grouping.GroupsAnswer:
        """Return the groups of a source, or all."""
        answer: grouping.GroupsAnswer = await self._call(
            "stream/groups", grouping.GroupsRequest(source=source)
        )
        return answer

    async def lag(self, source: str, group: str) -> grouping.LagAnswer:
        """Tell how far a group is behind, in messages and in time. Raises UnknownStream."""
        request = grouping.LagRequest(source=source, group=group)
        answer: grouping.LagAnswer = await self._call("stream/lag", request)
        return answer

    async def seek(
        self,
        source: str,
        group: str,
        to: Start | Mapping[int, Position],
        *,
        partitions: Sequence[int] | None = None,
        dry_run: bool = False,
    ) -> grouping.SeekAnswer:
        """Let a group go on elsewhere: at an end, an offset, a time, or positions by partition.

        It tells for each partition what that means: how many messages are skipped or come again, and whether
        it is the end (`at_end`), as it is at a time after the newest message.

        Raises:
            UnknownStream: there is no such group. PositionLost: there is no such place. BadRequest: it is no
            place.
        """
        request = grouping.SeekRequest(
            source=source,
            group=group,
            partitions=None if partitions is None else [*partitions],
            dry_run=dry_run,
            **_sought(to),
        )
        answer: grouping.SeekAnswer = await self._call("stream/seek", request)
        return answer

    async def drop_group(self, source: str, group: str) -> bool:
        """Forget a group; tell whether there was one."""
        request = grouping.DropGroupRequest(source=source, group=group)
        answer: grouping.DropGroupAnswer = await self._call("stream/drop_group", request)
        return answer.found

    # As a member --------------------------------------------------------------------------

    async def heartbeat(self, request: grouping.HeartbeatRequest) -> grouping.HeartbeatAnswer:
        """Join a group by hand, as a worker does by itself, or stay in it; return what is held."""
        answer: grouping.HeartbeatAnswer = await self._call("stream/heartbeat", request)
        return answer

    async def leave(self, source: str, group: str, member: str) -> None:
        """Leave a group; its partitions go to others at once."""
        await self._call("stream/leave", grouping.LeaveRequest(source=source, group=group, member=member))

    async def fetch(self, request: grouping.FetchRequest) -> grouping.FetchAnswer:
        """Return what follows in the partitions that are held."""
        answer: grouping.FetchAnswer = await self._call("stream/fetch", request)
        return answer

    async def commit(self, request: grouping.CommitRequest) -> grouping.CommitAnswer:
        """Move a group on in partitions that are held, each answered by itself."""
        answer: grouping.CommitAnswer = await self._call("stream/commit", request)
        return answer


def _place(start: Start) -> dict[str, Any]:
    if isinstance(start, Position):
        return {"after": wire_position(start)}
    if isinstance(start, str):
        return {"start": _edge(start)}
    return _offset_or_time(start)


def _sought(to: Start | Mapping[int, Position]) -> dict[str, Any]:
    if isinstance(to, Mapping):
        return {"positions": {partition: wire_position(at) for partition, at in to.items()}}
    if isinstance(to, Position):
        raise BadRequest("a position is of one partition: say of which, as {0: position}")
    if isinstance(to, str):
        return {"to": _edge(to)}
    return _offset_or_time(to)


def _offset_or_time(value: object) -> dict[str, Any]:
    if isinstance(value, datetime):
        return {"at_ms": instant_ms(value)}
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return {"offset": value}
    raise BadRequest(f'{value!r} is no place: "earliest", "latest", a position, an offset, or a datetime')


def _edge(text: str) -> Edge:
    try:
        return Edge(text)
    except ValueError as error:
        raise BadRequest(f'{text!r} is neither "earliest" nor "latest"') from error


_ANYTHING: Final = Shape(Any)


def _payload(told: reading.StreamMessage) -> Any:
    return told.b64data if told.b64data is not None else _ANYTHING.decode(bytes(told.data))
