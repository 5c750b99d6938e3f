"""Calls of the functions inside Redis, over a connection that comes back when it was lost."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import hiredis

from gapless.backends import Options
from gapless.backends.redis import library
from gapless.backends.redis.address import Address
from gapless.backends.redis.connection import Connection, Lost
from gapless.backends.redis.durability import Standing
from gapless.backends.redis.errors import translated
from gapless.backends.redis.seeking import Seeker
from gapless.core.errors import GaplessError, OutcomeUnknown, StoreFailed, StoreRefused, Unavailable
from gapless.core.limits import REDIS_CALL_MS, REDIS_PULSE_MS, REDIS_RETRY_MS, REDIS_REWRITE_MS
from gapless.ports import Durability, Timer

__all__ = ["Calls"]

Answered = Callable[[Any], object]
Argument = bytes | str | int

TRIES_MAX: Final = 2
# What tells that the server at the other end is not, or not yet, the one that takes writes.
ELSEWHERE: Final = ("MOVED", "READONLY", "CLUSTERDOWN", "LOADING", "MASTERDOWN")

log: Final = logging.getLogger("gapless.store")


class Calls:
    """One store on one Redis, as its functions are called.

    `epoch` and `seq` are the newest that any answer told, which this process is a witness of. `standing` is
    how the server stood when it was connected to. `begun` hears of a new generation, `attached` of another
    connection than the first.
    """

    standing: Standing

    def __init__(self, address: Address, options: Options) -> None:
        self.address = address
        self.epoch = ""
        self.seq = 0
        self.begun: Callable[[str], object] = lambda epoch: None
        self.attached: Callable[[], object] = lambda: None
        self._options = options
        self._seeker = Seeker(address, options.after)
        self.opener = f"{options.token():0>16}"[:16]
        self._loop = asyncio.get_running_loop()
        self._error: GaplessError = Unavailable("Redis is not connected yet")
        self._connection: Connection | None = None
        self._seeking: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._pulse_since_ns = 0
        self._is_closed = False
        self._idle: asyncio.Future[None] | None = None

    # Calls --------------------------------------------------------------------------------

    def send(self, answered: Answered, name: str, *arguments: Argument) -> None:
        """Call a function; `answered` hears the list of what it told, or an error.

        It may be `OutcomeUnknown`. Any other error says that nothing was changed.

        Raises:
            Unavailable: there is no connection; nothing was sent.
        """
        if self._connection is None:
            raise self._error
        self._say(self._connection, answered, (name, *self._header(), *arguments), 0)

    def publish(self, channel: bytes, said: bytes) -> None:
        """Publish a hint; it is lost where there is no connection."""
        if self._connection is not None:
            self._connection.send(_ignore, "SPUBLISH", channel, said)

    def _header(self) -> tuple[str, str]:
        now_ms = self._options.now_ms
        return "0" if now_ms is None else str(now_ms()), self._options.token()

    def _say(
        self, connection: Connection, answered: Answered, call: tuple[Argument, ...], tries: int
    ) -> None:
        name, *arguments = call
        heard = partial(self._answered, answered, call, tries)
        connection.send(heard, "FCALL", f"{library.name()}_{name}", 1, self.address.tag, *arguments)

    def _answered(self, answered: Answered, call: tuple[Argument, ...], tries: int, reply: Any) -> None:
        if type(reply) is list:
            self._hear(reply[0].decode(), reply[1])
            answered(reply[3:])
        elif isinstance(reply, hiredis.ReplyError):
            if not self._tried_again(answered, call, tries, str(reply)):
                answered(translated(str(reply)))
        elif isinstance(reply, Lost):
            answered(OutcomeUnknown("the connection to Redis was lost before the answer came"))
        else:
            answered(GaplessError(f"Redis answers {reply!r}"))
        if self._idle is not None and self._connection is not None and not self._connection.is_waiting:
            _resolve(self._idle)

    def _tried_again(self, answered: Answered, call: tuple[Argument, ...], tries: int, told: str) -> bool:
        connection = self._connection
        if connection is None or connection.is_lost:
            return False
        if told.startswith(ELSEWHERE):
            connection.cut()
            return False
        if tries == TRIES_MAX:
            return False
        if "Function not found" in told:
            connection.send(_ignore, *library.load_command())
        elif told.startswith("AGAIN"):
            self._say(connection, _ignore, self._pulse(self.epoch, self.seq), TRIES_MAX)
        else:
            return False
        self._say(connection, answered, call, tries + 1)
        return True

    def _hear(self, epoch: str, seq: int) -> None:
        if epoch == self.epoch:
            self.seq = max(self.seq, seq)
            return
        before = self.epoch, self.seq
        self.epoch, self.seq = epoch, seq
        if before[0]:
            if self._connection is not None:
                self._say(self._connection, _ignore, self._pulse(*before), TRIES_MAX)
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

    def _pulse(self, epoch: str, seq: int) -> tuple[Argument, ...]:
        """Return the call that says that this process has the store open, and what it saw last."""
        standing = self.standing
        vouches = standing.durability is Durability.DISK and not standing.may_fail_over
        generations_max = self._options.generations_max
        return ("pulse", *self._header(), self.opener, epoch, seq, int(vouches), generations_max)

    async def open(self) -> None:
        """Connect, and learn the generation.

        Raises:
            StoreRefused: this Redis may not be used as it is.
            Unavailable: none can be reached.
        """
        await self._attach()
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        assert self._connection is not None
        self._say(self._connection, partial(_resolve, future), self._pulse("", 0), 0)
        await future
        self._timer = self._options.after(REDIS_PULSE_MS, self._look)

    async def _attach(self) -> None:
        connection, self.standing = await self._seeker.connect(self._on_lost)
        waited_ms = 0
        while self.standing.is_rewriting and waited_ms < REDIS_REWRITE_MS:
            connection.cut()
            await self._pause(REDIS_RETRY_MS)
            waited_ms += REDIS_RETRY_MS
            connection, self.standing = await self._seeker.connect(self._on_lost)
        least = self._options.durability_min
        if list(Durability).index(self.standing.durability) < list(Durability).index(least):
            connection.cut()
            raise StoreRefused(
                f"store.durability: {least.value!r} is asked for, but this Redis gives only"
                f" {self.standing.durability.value!r}: {self.standing.why}"
            )
        self._connection = connection
        self._pulse_since_ns = 0
        if self.epoch:
            self.attached()

    def _look(self) -> None:
        """Say a pulse; give up a server that does not answer."""
        self._timer = self._options.after(REDIS_PULSE_MS, self._look)
        connection, now_ns = self._connection, self._options.elapsed_ns()
        if connection is None:
            return
        if not self._pulse_since_ns:
            self._pulse_since_ns = now_ns
            self._say(connection, self._pulsed, self._pulse(self.epoch, self.seq), 0)
        elif now_ns - self._pulse_since_ns > REDIS_CALL_MS * 1_000_000:
            log.warning("Redis does not answer: the connection is given up")
            connection.cut()

    def _pulsed(self, told: Any) -> None:
        self._pulse_since_ns = 0

    def _on_lost(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        self._error = Unavailable("Redis cannot be reached now; nothing was stored, it is safe to try again")
        _resolve(self._idle)
        if not self._is_closed:
            log.warning("the connection to Redis is lost")
            self._seeking = self._loop.create_task(self._seek())

    async def _seek(self) -> None:
        while not self._is_closed:
            try:
                await self._attach()
            except GaplessError as error:
                if str(error) != str(self._error):
                    log.warning("%s", error)
                self._error = Unavailable(str(error))
            else:
                log.info("Redis is connected again")
                assert self._connection is not None
                self._say(self._connection, _ignore, self._pulse(self.epoch, self.seq), 0)
                return
            await self._pause(REDIS_RETRY_MS)

    async def _pause(self, pause_ms: int) -> None:
        over: asyncio.Future[None] = self._loop.create_future()
        timer = self._options.after(pause_ms, partial(_resolve, over))
        try:
            await over
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Wait for what was called, then part."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._seeking is not None and not self._seeking.done():
            self._seeking.cancel()
            await asyncio.wait([self._seeking])
        connection = self._connection
        if connection is not None:
            self._say(connection, _ignore, ("part", *self._header(), self.opener), TRIES_MAX)
            self._idle = self._loop.create_future()
            await self._idle
            connection.cut()
        self._connection = None
        self._error = StoreFailed("the store is closed")


def _ignore(told: Any) -> None:
    """Nobody waits for it."""


def _resolve(future: "asyncio.Future[Any] | None", told: Any = None) -> None:
    if future is None or future.done():
        return
    if isinstance(told, Exception):
        future.set_exception(told)
    else:
        future.set_result(told)
