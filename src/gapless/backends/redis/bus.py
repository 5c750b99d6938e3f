"""The doorbell between the nodes of one Redis: sharded Pub/Sub, a channel for each stream that is followed.

What is published on `P:c:<stream>` is a byte and what it names: b"M", messages of that stream
(`lua/streams.lua` writes them), or b"R", a ring of a node (MessagePack). `P:nodes` carries what nodes tell
each other, `P:ready` the names of queues.
"""

import asyncio
import logging
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import hiredis
import msgspec
from msgspec import Struct

from gapless.backends import Options
from gapless.backends.redis.calls import Calls
from gapless.backends.redis.connection import Connection, Lost
from gapless.backends.redis.errors import translated
from gapless.backends.redis.seeking import Seeker
from gapless.core.errors import GaplessError, Unavailable
from gapless.core.limits import REDIS_CALL_MS, REDIS_PULSE_MS, REDIS_RETRY_MS
from gapless.core.stream import Heads, Message, Position
from gapless.ports import Bus, Timer

__all__ = ["OPENER_BYTES", "RedisBus"]

OPENER_BYTES: Final = 16
EPOCH_BYTES: Final = 16
# Of each message: offset, time, and the sizes of meta and data, which follow.
_MESSAGE: Final = struct.Struct(">QQII")
NAMES_PER_COMMAND: Final = 1_000

log: Final = logging.getLogger("gapless.store")


class _Ring(Struct, array_like=True):
    """A ring that a node sends by itself."""

    opener: str
    last: Position
    message: Message | None


_read_ring: Final = msgspec.msgpack.Decoder(_Ring).decode
_encode: Final = msgspec.msgpack.Encoder().encode

Heard = Callable[[str, Position, Message | None], None]


class RedisBus(Bus):
    """One process's end. `heads` tells where streams stand, `ready` hears of queues."""

    rings_appends = True

    def __init__(
        self, calls: Calls, options: Options, heads: Callable[[Sequence[str]], Awaitable[Heads]]
    ) -> None:
        self.ready: list[Callable[[str], object]] = []
        self._calls = calls
        self._options = options
        self._heads = heads
        self._seeker = Seeker(calls.address, options.after)
        self._opener = calls.opener.encode()
        self._prefix = f"{calls.address.tag}:c:".encode()
        self._nodes = f"{calls.address.tag}:nodes".encode()
        self._queues = f"{calls.address.tag}:ready".encode()
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._heard: list[Heard] = []
        self._told: list[Callable[[bytes], None]] = []
        self._followed: Counter[str] = Counter()
        self._to_follow: dict[str, None] = {}
        self._confirmed: dict[str, None] = {}
        self._leaving: Counter[bytes] = Counter()  # what is about to be told as left
        self._silent_since_ns = 0
        self._moves = 0  # how often another server was to be looked for
        self._is_closed = False

    # Ringing ------------------------------------------------------------------------------

    def ring(self, stream: str, last: Position, message: Message | None) -> None:
        ring = b"R" + _encode(_Ring(self._opener.decode(), last, message))
        self._calls.publish(self._prefix + stream.encode(), ring)

    def tell(self, told: bytes) -> None:
        self._calls.publish(self._nodes, self._opener + told)

    def listen(self, heard: Heard) -> None:
        self._heard.append(heard)

    def hear(self, heard: Callable[[bytes], None]) -> None:
        self._told.append(heard)

    # Following ----------------------------------------------------------------------------

    def follow(self, stream: str) -> None:
        self._followed[stream] += 1
        if self._followed[stream] == 1:
            if not self._to_follow:
                self._loop.call_soon(self._say_followed)
            self._to_follow[stream] = None

    def unfollow(self, stream: str) -> None:
        self._followed[stream] -= 1
        if self._followed[stream] > 0:
            return
        del self._followed[stream]
        if self._to_follow.pop(stream, self) is self and self._connection is not None:
            channel = self._prefix + stream.encode()
            self._leaving[channel] += 1
            self._connection.say("SUNSUBSCRIBE", channel)

    def _say_followed(self) -> None:
        streams, self._to_follow = list(self._to_follow), {}
        if self._connection is not None:
            self._subscribe([self._prefix + stream.encode() for stream in streams])

    def _subscribe(self, channels: Sequence[bytes]) -> None:
        assert self._connection is not None
        for at in range(0, len(channels), NAMES_PER_COMMAND):
            self._connection.say("SSUBSCRIBE", *channels[at : at + NAMES_PER_COMMAND])

    # Hearing ------------------------------------------------------------------------------

    def _pushed(self, said: Any) -> None:
        self._silent_since_ns = 0
        if not isinstance(said, list):
            log.warning("the bus of Redis: %s", said)
            if self._connection is not None:
                self._connection.cut()
        elif said[0] == b"smessage":
            try:
                self._take(said[1], said[2])
            except (struct.error, msgspec.DecodeError, UnicodeDecodeError) as error:
                log.warning("the bus of Redis: what another program says there is not understood: %s", error)
        elif said[0] == b"ssubscribe" and said[1].startswith(self._prefix):
            self._confirm(said[1][len(self._prefix) :].decode())
        elif said[0] == b"sunsubscribe":
            self._left(said[1])

    def _left(self, channel: bytes) -> None:
        if self._leaving[channel] > 0:
            self._leaving[channel] -= 1
            self._leaving += Counter()  # only what is above 0 stays
        elif self._connection is not None:
            self._connection.cut()  # the slot has moved

    def _take(self, channel: bytes, said: bytes) -> None:
        if channel.startswith(self._prefix):
            stream = channel[len(self._prefix) :].decode()
            if said[:1] == b"M":
                self._take_messages(stream, said)
            else:
                self._take_ring(stream, _read_ring(said[1:]))
        elif channel == self._queues:
            for ready in self.ready:
                ready(said.decode())
        elif not said.startswith(self._opener):
            for told in self._told:
                told(said[OPENER_BYTES:])

    def _take_messages(self, stream: str, said: bytes) -> None:
        at = 1 + OPENER_BYTES
        if said[1:at] == self._opener:
            return
        epoch = said[at : at + EPOCH_BYTES].decode()
        at += EPOCH_BYTES
        while at < len(said):
            offset, time_ms, meta_bytes, data_bytes = _MESSAGE.unpack_from(said, at)
            at += _MESSAGE.size
            meta, at = said[at : at + meta_bytes], at + meta_bytes
            data, at = said[at : at + data_bytes], at + data_bytes
            for heard in self._heard:
                heard(stream, Position(epoch, offset), Message(offset, time_ms, data, meta))

    def _take_ring(self, stream: str, ring: _Ring) -> None:
        if ring.opener.encode() != self._opener:
            for heard in self._heard:
                heard(stream, ring.last, ring.message)

    def _confirm(self, stream: str) -> None:
        """Look where a stream stands that is followed from here on."""
        self._confirmed[stream] = None
        if self._looking is None:
            self._looking = self._loop.create_task(self._look())

    async def _look(self) -> None:
        try:
            while self._confirmed:
                streams, self._confirmed = list(self._confirmed), {}
                epoch, found = await self._heads(streams)
                for stream, head in found.items():
                    for heard in self._heard:
                        heard(stream, Position(epoch, head.last), None)
        except GaplessError:
            self._confirmed.clear()  # what was missed is found by the node's own check
        finally:
            self._looking = None

    # Being connected ----------------------------------------------------------------------

    async def open(self) -> None:
        """Begin to hear.

        Raises:
            GaplessError: Redis cannot be reached.
        """
        await self._connect()
        self._timer = self._options.after(REDIS_PULSE_MS, self._beat)

    async def _connect(self) -> None:
        moves = self._moves
        connection = await self._seeker.reach(self._on_lost)
        try:
            await connection.call("SSUBSCRIBE", self._nodes)
        except (hiredis.ReplyError, Lost) as error:
            connection.cut()
            raise translated(str(error)) from error
        if moves != self._moves:
            connection.cut()
            raise Unavailable("another server takes the writes by now")
        connection.pushed = self._pushed
        self._connection = connection
        self._silent_since_ns = 0
        self._leaving.clear()
        channels = [self._prefix + stream.encode() for stream in self._followed]
        self._subscribe([self._queues, *channels])

    def reconnect(self) -> None:
        """Look anew for the server: another one takes the writes, perhaps."""
        self._moves += 1
        if self._connection is not None:
            self._connection.cut()

    def _on_lost(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        if not self._is_closed:
            self._task = self._loop.create_task(self._seek())

    async def _seek(self) -> None:
        while not self._is_closed:
            over: asyncio.Future[None] = self._loop.create_future()
            timer = self._options.after(REDIS_RETRY_MS, partial(over.set_result, None))
            try:
                await over
            finally:
                timer.cancel()
            try:
                await self._connect()
            except GaplessError:
                continue
            except Exception as error:
                context = {"message": "what answers there is no Redis", "exception": error}
                self._loop.call_exception_handler(context)
                continue
            return

    def _beat(self) -> None:
        """Ask for a sign of life; give up a server that gives none."""
        self._timer = self._options.after(REDIS_PULSE_MS, self._beat)
        if self._connection is None:
            return
        now_ns = self._options.elapsed_ns()
        if self._silent_since_ns and now_ns - self._silent_since_ns > REDIS_CALL_MS * 1_000_000:
            self._connection.cut()
        elif not self._silent_since_ns:
            self._silent_since_ns = now_ns
            self._connection.say("PING")

    async def close(self) -> None:
        """Hear nothing more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [task for task in (self._task, self._looking) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._connection is not None:
            self._connection.cut()
