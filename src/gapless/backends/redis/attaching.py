"""The connection to who takes writes: found, judged, and made anew when it was lost."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

import hiredis

from gapless.backends import Options
from gapless.backends.redis.address import Address
from gapless.backends.redis.connection import Connection, Lost
from gapless.backends.redis.durability import Standing
from gapless.backends.redis.seeking import Seeker
from gapless.core.errors import GaplessError, StoreFailed, StoreRefused, Unavailable
from gapless.core.limits import REDIS_RETRY_MS, REDIS_REWRITE_MS
from gapless.ports import Durability

__all__ = ["Attachment"]

log: Final = logging.getLogger("gapless.store")


class Attachment:
    """Holds the connection, or says by `refusal` why there is none.

    `standing` is how the server stood when it was last asked; `stood` hears of it. `attached` is called with
    each connection, `lost` when there is none any more.
    """

    standing: Standing

    def __init__(self, address: Address, options: Options) -> None:
        self.connection: Connection | None = None
        self.refusal: Callable[[], GaplessError] = partial(Unavailable, "Redis is not connected yet")
        self.attached: Callable[[Connection], object] = lambda connection: None
        self.lost: Callable[[], object] = lambda: None
        self.stood: Callable[[Standing], object] = lambda standing: None
        self._options = options
        self._seeker = Seeker(address, options.after)
        self._loop = asyncio.get_running_loop()
        self._seeking: asyncio.Task[None] | None = None
        self._judging: asyncio.Task[None] | None = None
        self.is_closed = False

    # Making it ----------------------------------------------------------------------------

    async def attach(self) -> Connection:
        """Connect to who takes writes, once it has done with what it rewrites.

        Raises:
            StoreRefused: it may not be used as it is.
            Unavailable: none can be reached.
        """
        connection, standing = await self._seeker.connect(self._on_lost)
        waited_ms = 0
        while standing.is_rewriting and waited_ms < REDIS_REWRITE_MS:
            connection.cut()
            await self._pause(REDIS_RETRY_MS)
            waited_ms += REDIS_RETRY_MS
            connection, standing = await self._seeker.connect(self._on_lost)
        if self._is_too_weak(standing):
            connection.cut()
            raise StoreRefused(
                f"store.durability: {self._options.durability_min.value!r} is asked for, but this Redis gives"
                f" only {standing.durability.value!r}: {standing.why}"
            )
        self.connection = connection
        self._stand(standing)
        self.attached(connection)
        return connection

    def _on_lost(self, connection: Connection) -> None:
        if connection is not self.connection:
            return
        self.connection = None
        why = "Redis cannot be reached now; nothing was stored, it is safe to try again"
        self.refusal = partial(Unavailable, why)
        self.lost()
        if not self.is_closed:
            log.warning("the connection to Redis is lost")
            self._seeking = self._loop.create_task(self._seek())

    async def _seek(self) -> None:
        told = ""
        while not self.is_closed:
            await self._pause(REDIS_RETRY_MS)
            try:
                await self.attach()
            except GaplessError as error:
                if str(error) != told:
                    log.warning("%s", error)
                told = str(error)
                self.refusal = partial(Unavailable, told)
            except Exception as error:
                context = {"message": "what answers there is no Redis", "exception": error}
                self._loop.call_exception_handler(context)
            else:
                log.info("Redis is connected again")
                return

    async def _pause(self, pause_ms: int) -> None:
        over: asyncio.Future[None] = self._loop.create_future()

        def end() -> None:
            if not over.done():
                over.set_result(None)

        timer = self._options.after(pause_ms, end)
        try:
            await over
        finally:
            timer.cancel()

    # Judging it ---------------------------------------------------------------------------

    def judge(self) -> None:
        """Look whether the server stands as it did; whoever connects anew tells what is wrong with it."""
        if self.connection is not None:
            self._judging = self._loop.create_task(self._judge(self.connection))

    async def _judge(self, connection: Connection) -> None:
        is_complete = self.standing.durability is Durability.DISK
        try:
            standing = await self._seeker.judged(connection, is_complete=is_complete)
        except (hiredis.ReplyError, Lost, GaplessError):
            connection.cut()
            return
        if self._is_too_weak(standing):
            connection.cut()
        elif connection is self.connection:
            self._stand(standing)

    def _is_too_weak(self, standing: Standing) -> bool:
        order = list(Durability)
        return order.index(standing.durability) < order.index(self._options.durability_min)

    def _stand(self, standing: Standing) -> None:
        self.standing = standing
        self.stood(standing)

    # Ending it ----------------------------------------------------------------------------

    async def rest(self) -> None:
        """Look for no server any more, and judge none."""
        self.is_closed = True
        tasks = [task for task in (self._seeking, self._judging) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def detach(self) -> None:
        """Let go of the connection for good."""
        connection, self.connection = self.connection, None
        self.refusal = partial(StoreFailed, "the store is closed")
        if connection is not None:
            connection.cut()
