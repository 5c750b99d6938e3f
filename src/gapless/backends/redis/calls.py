"""Calls of the functions inside Redis, over a connection that comes back when it was lost."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import hiredis

from gapless.backends import Options, store_clock
from gapless.backends.redis import library
from gapless.backends.redis.address import Address
from gapless.backends.redis.approving import approve
from gapless.backends.redis.attaching import Attachment
from gapless.backends.redis.connection import Connection, Lost
from gapless.backends.redis.errors import translated
from gapless.backends.redis.pace import Pace
from gapless.core.errors import GaplessError, OutcomeUnknown, Unavailable
from gapless.core.limits import REDIS_CALL_MS, REDIS_PULSE_MS
from gapless.ports import Durability, Timer

__all__ = ["Calls"]

Answered = Callable[[Any], object]
Argument = bytes | str | int
Call = tuple[str, tuple[Argument, ...]]
"""A function's name, and what is handed to it."""

TRIES_MAX: Final = 2
# Where streams grow old one after the other, something may have to be written before each of many reads.
AGAIN_MAX: Final = 100
# How often a server is asked how it stands.
PULSES_PER_JUDGEMENT: Final = 10
# What tells that the server at the other end is not, or not yet, the one that takes writes.
ELSEWHERE: Final = ("MOVED", "READONLY", "CLUSTERDOWN", "LOADING", "MASTERDOWN")

log: Final = logging.getLogger("gapless.store")


class Calls:
    """One store on one Redis, as its functions are called.

    `epoch` and `seq` are the newest that any answer told, which this process is a witness of. `begun` hears
    of a new generation, `moved` of another connection than the first.
    """

    def __init__(self, address: Address, options: Options) -> None:
        self.address = address
        self.epoch = ""
        self.seq = 0
        self.begun: Callable[[str], object] = lambda epoch: None
        self.moved: Callable[[], object] = lambda: None
        self._options = options
        self._pace = Pace(options.elapsed_ns)
        self.attachment = Attachment(address, options)
        self.attachment.attached = self._on_attached
        self.attachment.lost = self._on_lost
        self.opener = f"{options.token():0>16}"[:16]
        self._loop = asyncio.get_running_loop()
        self._owed: dict[str, int] = {}  # what was seen of earlier generations, until that was told
        self._is_arousing = False
        self._pulses = 0
        self._timer: Timer | None = None
        self._pulse_since_ns = 0
        self._idle: asyncio.Future[None] | None = None

    # Calls --------------------------------------------------------------------------------

    def send(self, answered: Answered, name: str, *arguments: Argument) -> None:
        """Call a function; `answered` hears the list of what it told, or an error.

        It may be `OutcomeUnknown`. Any other error says that nothing was changed.

        Raises:
            Unavailable: there is no connection; nothing was sent.
        """
        connection = self.attachment.connection
        if connection is None:
            raise self.attachment.refusal()
        self._say(connection, answered, (name, (*self._header(), *arguments)), 0)

    def publish(self, channel: bytes, said: bytes) -> None:
        """Publish a hint; it is lost where there is no connection."""
        if self.attachment.connection is not None:
            self.attachment.connection.send(_ignore, "SPUBLISH", channel, said)

    def _header(self) -> tuple[str, str]:
        now_ms = self._options.now_ms
        return self._pace.told() if now_ms is None else str(now_ms()), self._options.token()

    def time_ms(self) -> int:
        """Return the store's time: that of the last answer, and what went by since."""
        now_ms = self._options.now_ms
        return self._pace.time_ms() if now_ms is None else max(self._pace.newest_ms, now_ms())

    def _say(self, connection: Connection, answered: Answered, call: Call, tries: int) -> None:
        name, arguments = call
        heard = partial(self._answered, answered, call, tries)
        connection.send(heard, "FCALL", f"{library.name()}_{name}", 1, self.address.tag, *arguments)

    def _answered(self, answered: Answered, call: Call, tries: int, reply: Any) -> None:
        if type(reply) is list:
            self._hear(reply[0].decode(), reply[1])
            self._pace.hear(reply[2])
            answered(reply[3:])
        elif isinstance(reply, hiredis.ReplyError):
            if not self._tried_again(answered, call, tries, str(reply)):
                answered(translated(str(reply)))
        elif isinstance(reply, Lost):
            answered(OutcomeUnknown("the connection to Redis was lost before the answer came"))
        else:
            answered(GaplessError(f"Redis answers {reply!r}"))
        if self._idle is not None:
            connection = self.attachment.connection
            if connection is not None and not connection.is_waiting:
                _resolve(self._idle)

    def _tried_again(self, answered: Answered, call: Call, tries: int, told: str) -> bool:
        connection = self.attachment.connection
        if connection is None or connection.is_lost:
            return False
        if told.startswith(ELSEWHERE):
            connection.cut()
            return False
        most = AGAIN_MAX if told.startswith("AGAIN") else TRIES_MAX
        if tries >= most or self.attachment.is_closed:
            return False
        if "Function not found" in told:
            self._arouse(partial(connection.send, self._aroused, *library.load_command()))
        elif told.startswith("AGAIN"):
            pulse = self._pulse(self.epoch, self.seq)
            self._arouse(partial(self._say, connection, self._aroused, pulse, TRIES_MAX))
        else:
            return False
        self._say(connection, answered, call, tries + 1)
        return True

    def _arouse(self, rouse: Callable[[], object]) -> None:
        """Do what all need that are told to ask again, once; they ask again after it."""
        if not self._is_arousing:
            self._is_arousing = True
            rouse()

    def _aroused(self, told: Any) -> None:
        self._is_arousing = False

    def _hear(self, epoch: str, seq: int) -> None:
        if epoch == self.epoch:
            self.seq = max(self.seq, seq)
            return
        before = self.epoch
        if before:
            self._owed[before] = self.seq
        self.epoch, self.seq = epoch, seq
        if before:
            if self.attachment.connection is not None:
                self._say_pulses(self.attachment.connection)
            self.begun(epoch)

    async def call(self, name: str, *arguments: Argument) -> list[Any]:
        """Call a function, and return what it told.

        Raises:
            GaplessError: what `send` tells of.
        """
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self.send(partial(_resolve, future), name, *arguments)
        return await future

    async def read(self, name: str, *arguments: Argument) -> list[Any]:
        """Call a function whose answer may be lost without harm.

        Raises:
            Unavailable: Redis does not answer; ask again.
            GaplessError: it is refused.
        """
        try:
            return await self.call(name, *arguments)
        except OutcomeUnknown as error:
            raise Unavailable("Redis did not answer; ask again") from error

    # Being there --------------------------------------------------------------------------

    def _pulse(self, epoch: str, seq: int) -> Call:
        """Return the call that says that this process has the store open, and what it saw last."""
        standing = self.attachment.standing
        vouches = standing.durability is Durability.DISK and not standing.may_fail_over
        generations_max = self._options.generations_max
        return "pulse", (*self._header(), self.opener, epoch, seq, int(vouches), generations_max)

    def _say_pulses(self, connection: Connection) -> None:
        for epoch, seq in {**self._owed, self.epoch: self.seq}.items():
            self._say(connection, partial(self._pulsed, epoch), self._pulse(epoch, seq), 0)

    def _pulsed(self, epoch: str, told: Any) -> None:
        self._pulse_since_ns = 0
        if isinstance(told, list) and epoch != self.epoch:
            self._owed.pop(epoch, None)

    async def open(self) -> None:
        """Connect, and learn the generation.

        Raises:
            StoreRefused: this Redis may not be used as it is.
            Unavailable: none can be reached.
        """
        connection = await self.attachment.attach()
        try:
            wall_ms = store_clock()() if self._options.now_ms is None else None
            await approve(connection, self.address.tag, wall_ms)
        except BaseException:
            self.attachment.detach()
            raise
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self._say(connection, partial(_resolve, future), self._pulse("", 0), 0)
        await future
        self._timer = self._options.after(REDIS_PULSE_MS, self._look)

    def _on_attached(self, connection: Connection) -> None:
        self._pulse_since_ns = 0
        self._is_arousing = False
        if self.epoch:
            self.moved()
            self._say_pulses(connection)

    def _on_lost(self) -> None:
        _resolve(self._idle)

    def _look(self) -> None:
        """Say a pulse; give up a server that does not answer."""
        self._timer = self._options.after(REDIS_PULSE_MS, self._look)
        connection, now_ns = self.attachment.connection, self._options.elapsed_ns()
        if connection is None:
            return
        if not self._pulse_since_ns:
            self._pulse_since_ns = now_ns
            self._say_pulses(connection)
            self._pulses += 1
            if self._pulses % PULSES_PER_JUDGEMENT == 0:
                self.attachment.judge()
        elif now_ns - self._pulse_since_ns > REDIS_CALL_MS * 1_000_000:
            log.warning("Redis does not answer: the connection is given up")
            connection.cut()

    async def close(self) -> None:
        """Wait for what was called, but not forever, then part."""
        if self.attachment.is_closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        await self.attachment.rest()
        if self.attachment.connection is not None:
            await self._part(self.attachment.connection)
        self.attachment.detach()

    async def _part(self, connection: Connection) -> None:
        told = (*self._header(), self.opener, self.epoch, self.seq)
        self._say(connection, _ignore, ("part", told), TRIES_MAX)
        self._idle = self._loop.create_future()
        timer = self._options.after(REDIS_CALL_MS, connection.cut)
        await self._idle
        timer.cancel()


def _ignore(told: Any) -> None:
    """Nobody waits for it."""


def _resolve(future: "asyncio.Future[Any] | None", told: Any = None) -> None:
    if future is None or future.done():
        return
    if isinstance(told, Exception):
        future.set_exception(told)
    else:
        future.set_result(told)
