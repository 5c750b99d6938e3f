"""Between a Gapless and its store, for tests: worker's calls are held back, noted, lost when it dies."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing, suppress
from contextvars import ContextVar
from enum import Enum
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gapless.client.following import Event
from gapless.core.stream import Position
from gapless.library.transport import Transport
from gapless.ports import Clock
from gapless.protocol.groups import CommitAnswer, CommitRequest
from gapless.protocol.meta import is_json
from gapless.protocol.queues import Emit, SettleAnswer, SettleRequest
from gapless.protocol.reading import ReplayedMessage, ReplayRequest
from gapless.testing.recording import Recorder

__all__ = ["LIFE", "Crash", "Life", "Tap"]

Answer = TypeVar("Answer")

_WAITING: Final = frozenset(("queue/claim", "stream/fetch"))


class Life(Struct):
    """A worker's, from its start until it dies."""

    over: bool = False


LIFE: Final[ContextVar[Life | None]] = ContextVar("gapless.testing.life", default=None)
"""Whose call this is: a worker's, and that of its handlers, or None: the test's own."""


class Crash(Enum):
    """Where a worker dies."""

    BEFORE_ACK = "before ack"
    AFTER_ACK = "after ack"
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"


_AT: Final = {
    "queue/settle": (Crash.BEFORE_ACK, Crash.AFTER_ACK),
    "stream/commit": (Crash.BEFORE_COMMIT, Crash.AFTER_COMMIT),
}


class Tap:
    """Implements `Transport`. Workers are given nothing while it is shut; `crashes` are yet to happen."""

    keeps_store = True

    def __init__(self, to: Transport, clock: Clock, recorder: Recorder) -> None:
        self.published: dict[str, list[Any]] = {}
        self.crashes: list[Crash] = []
        self._to = to
        self._clock = clock
        self._recorder = recorder
        self._positions: set[tuple[str, str, int]] = set()
        self._open = asyncio.Event()
        self._shut = asyncio.Event()
        self._shut.set()

    def give(self) -> None:
        """Let workers have jobs and messages."""
        self._shut.clear()
        self._open.set()

    def withhold(self) -> None:
        """Let them have no more."""
        self._open.clear()
        self._shut.set()

    async def open(self) -> None:
        """See `Transport.open`."""
        await self._to.open()

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._to.close()

    async def call(self, verb: str, request: Any) -> Any:
        """See `Transport.call`."""
        life = self._life()
        if life is None:
            return self._noted(verb, request, await self._to.call(verb, request))
        if verb in _WAITING:
            return await self._living(life, self._patiently(verb, request))
        if verb in _AT:
            return await self._crashing(life, verb, request)
        return await self._living(life, self._to.call(verb, request))

    async def publish(self, body: bytes, *, repeatable: bool) -> bytes:
        """See `Transport.publish`."""
        told = await self._living(self._life(), self._to.publish(body, repeatable=repeatable))
        request, answer = (msgspec.json.decode(each, type=dict[str, Any]) for each in (body, told))
        data = _read(msgspec.convert(request["b64data"], bytes)) if "b64data" in request else request["data"]
        self._publication(request["channel"], data, answer.get("epoch", ""), answer.get("offset", 0))
        return told

    async def page(self, channel: str, query: bytes) -> bytes:
        """See `Transport.page`."""
        return await self._living(self._life(), self._to.page(channel, query))

    async def events(self, channel: str, since: Position | None) -> AsyncGenerator[Event, None]:
        """See `Transport.events`."""
        self._life()
        events = self._to.events(channel, since)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    async def replay(self, request: ReplayRequest) -> AsyncGenerator[list[ReplayedMessage], None]:
        """See `Transport.replay`."""
        self._life()
        async with aclosing(self._to.replay(request)) as parts:
            async for together in parts:
                yield together

    # Life and death -----------------------------------------------------------------------

    def _life(self) -> Life | None:
        """Return whose call this is, if it may be made."""
        life = LIFE.get()
        self._alive(life)
        return life

    async def _living(self, life: Life | None, work: Awaitable[Answer]) -> Answer:
        """Return an answer to whoever asked, if he still lives."""
        answer = await work
        self._alive(life)
        return answer

    async def _patiently(self, verb: str, request: Any) -> Any:
        """Have a call that may wait answered while the tap is open; at other times it is not made."""
        until_ms = self._clock.now_ms() + request.wait_ms
        while True:
            await self._open.wait()
            left_ms = max(0, until_ms - self._clock.now_ms())
            asking = asyncio.ensure_future(self._to.call(verb, replace(request, wait_ms=left_ms)))
            shut = asyncio.ensure_future(self._shut.wait())
            try:
                await asyncio.wait((asking, shut), return_when=asyncio.FIRST_COMPLETED)
            finally:
                shut.cancel()
                if not asking.done():
                    asking.cancel()
            with suppress(asyncio.CancelledError):
                return await asking

    async def _crashing(self, life: Life, verb: str, request: Any) -> Any:
        before, after = _AT[verb]
        if before in self.crashes:
            self._die(life, before)
        answer = self._noted(verb, request, await self._to.call(verb, request))
        if after in self.crashes:
            self._die(life, after)
        self._alive(life)
        return answer

    def _die(self, life: Life, crash: Crash) -> None:
        self.crashes.remove(crash)
        life.over = True
        self._alive(life)

    def _alive(self, life: Life | None) -> None:
        """See that a worker lives.

        Raises:
            CancelledError: it has died; nothing that it does has any effect any more.
        """
        self._recorder.stirred += 1
        if life is not None and life.over:
            raise asyncio.CancelledError("the worker has died")

    # Notes --------------------------------------------------------------------------------

    def _noted(self, verb: str, request: Any, answer: Any) -> Any:
        match verb:
            case "queue/settle":
                self._settled(request, answer)
            case "stream/commit":
                self._committed(request, answer)
        return answer

    def _settled(self, request: SettleRequest, answer: SettleAnswer) -> None:
        for new, item in zip(request.settlements, answer.settlements, strict=True):
            self._recorder.settled(new, item)
            if item.result is not None:
                self._emitted(new.emit, item.result.emitted)

    def _committed(self, request: CommitRequest, answer: CommitAnswer) -> None:
        for new, item in zip(request.commits, answer.commits, strict=True):
            self._recorder.committed(request.source, new, item)
            if item.result is not None:
                self._emitted(new.emit, item.result.emitted)

    def _emitted(self, emits: tuple[Emit, ...], told: tuple[Any, ...]) -> None:
        for emit, stored in zip(emits, told, strict=True):
            if emit.publish is not None:
                new = emit.publish
                body = bytes(new.data) if new.b64data is None else new.b64data
                self._publication(new.channel, _read(body), stored.epoch, stored.offset)

    def _publication(self, channel: str, data: Any, epoch: str, offset: int) -> None:
        place = (channel, epoch, offset)
        if offset and place in self._positions:
            return  # a repeat of what is there
        self._positions.add(place)
        self.published.setdefault(channel, []).append(data)


def _read(body: bytes) -> Any:
    return msgspec.json.decode(body) if is_json(body) else body
