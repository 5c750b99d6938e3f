"""One handler's membership of its group: which partitions are held, and what is fetched of them."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from gapless.client.connection import backoff_ms
from gapless.core.errors import GaplessError, LeaseLost
from gapless.core.limits import WAIT_MAX_MS
from gapless.library.handlers import StreamHandler
from gapless.protocol.groups import (
    FetchAnswer,
    FetchedPartition,
    FetchPartition,
    FetchRequest,
    HeartbeatAnswer,
    HeartbeatRequest,
    LeaveRequest,
)
from gapless.protocol.messages import StreamPosition
from gapless.protocol.reading import Edge
from gapless.server.parting import pause
from gapless.worker.partitions import Place, Serving
from gapless.worker.shared import Shared

__all__ = ["Member"]

WAIT_MS: Final = 5_000
BEATS_PER_SESSION: Final = 3
GAP_MS: Final = 100  # at least, from one heartbeat to the next: a change of the group leads to more of them
SOON_MS: Final = 1_000  # within which an answer comes that did not wait
DOUBLINGS_MAX: Final = 10  # of the gap, while answers do not wait and tell nothing new
log: Final = logging.getLogger("gapless.worker")

Result = TypeVar("Result")


class Member:
    """A member of the group of one handler. `beat` and `fetch` go on until they are cancelled."""

    def __init__(self, handler: StreamHandler[Any], shared: Shared, session_ms: int) -> None:
        self._handler = handler
        self._terms = handler.terms
        self._shared = shared
        self._session_ms = session_ms
        self._wait_ms = min(session_ms // BEATS_PER_SESSION, WAIT_MAX_MS)
        self._silence = shared.silence(f"fetches from {handler.name}", WAIT_MS)
        self._served: dict[int, Serving] = {}
        self._changed = asyncio.Event()
        self._beat_now = asyncio.Event()
        self._beating: asyncio.Task[Any] | None = None
        self._joined = False

    # Which partitions ---------------------------------------------------------------------

    async def beat(self) -> None:
        """Stay in the group, and serve what the member holds. A heartbeat lasts until the group changes.

        One that ends without news is followed by another: that has them. If it ends soon and has none either,
        the server may not wait as it is asked to: it is asked less and less often, up to the usual interval.
        """
        self._beating = asyncio.current_task()
        clock, failed, idle = self._shared.clock, 0, 0
        while True:
            self._beat_now.clear()
            began_ms = clock.now_ms()
            try:
                answer = await _unless(self._beat_now, self._heartbeat())
                if answer is not None:
                    is_soon = clock.now_ms() - began_ms < SOON_MS
                    idle = idle + 1 if is_soon and self._knows(answer) else 0
                    self._assign(answer)
                    self._joined = True
                failed = 0
            except GaplessError as error:
                log.warning("no word of group %s of %s: %s", self._terms.group, self._handler.name, error)
                self._joined = False
                await _unless(self._beat_now, pause(clock, self._backoff_ms(failed)))
                failed += 1
            await pause(clock, max(0, began_ms + GAP_MS - clock.now_ms()))
            if idle > 1:
                gap_ms = min(GAP_MS << min(idle, DOUBLINGS_MAX), self._wait_ms)
                await _unless(self._beat_now, pause(clock, max(0, began_ms + gap_ms - clock.now_ms())))

    def _knows(self, answer: HeartbeatAnswer) -> bool:
        held = {serving.place.fence for serving in self._served.values()}
        return self._joined and {each.fence for each in answer.held} == held

    def _backoff_ms(self, failed: int) -> int:
        return min(self._session_ms // BEATS_PER_SESSION, backoff_ms(failed, self._shared.random))

    async def _heartbeat(self) -> HeartbeatAnswer:
        start = self._terms.start
        request = HeartbeatRequest(
            source=self._handler.name,
            group=self._terms.group,
            member=self._shared.name,
            session_ms=self._session_ms,
            start=start if isinstance(start, Edge) else Edge.EARLIEST,
            start_ms=None if isinstance(start, Edge) else start,
            channel=self._terms.channel,
            held=[serving.place.fence for serving in self._served.values()] if self._joined else None,
            wait_ms=self._wait_ms,
        )
        answer: HeartbeatAnswer = await self._shared.gl.ask("stream/heartbeat", request)
        return answer

    def _assign(self, answer: HeartbeatAnswer) -> None:
        held = {each.partition: each for each in answer.held}
        before = dict(self._served)
        for partition, serving in before.items():
            if partition not in held or held[partition].fence != serving.place.fence:
                self._let_go(partition)
        for partition, each in held.items():
            if partition not in self._served:
                place = Place(partition, each.fence, each.fence_number, each.position)
                after = before.get(partition)
                self._served[partition] = Serving(
                    self._handler, self._shared, place, self._changed.set, self._lost, after
                )
        self._changed.set()

    def _let_go(self, partition: int) -> None:
        serving = self._served.pop(partition)
        log.info("partition %d of %s is let go", partition, self._handler.name)
        serving.stop()

    def halted(self) -> list[str]:
        """Return which partitions halt, and why."""
        return [
            f"partition {partition} of {self._handler.name}: {serving.halted}"
            for partition, serving in sorted(self._served.items())
            if serving.halted
        ]

    def _lost(self, serving: Serving) -> None:
        """Hear that a commit was refused: ask where the group stands, and go on from there."""
        if self._served.get(serving.place.partition) is serving:
            self._let_go(serving.place.partition)
        self._beat_now.set()

    # What they bring ----------------------------------------------------------------------

    async def fetch(self) -> None:
        """Fetch what follows in the partitions that have room for it."""
        failed = 0
        while True:
            self._changed.clear()
            wanting = [serving for serving in self._served.values() if serving.wants_more()]
            if not wanting:
                await self._changed.wait()
                continue
            try:
                await self._fetch_until_changed(wanting)
                failed = 0
            except GaplessError as error:
                log.warning("nothing is fetched from %s: %s", self._handler.name, error)
                await pause(self._shared.clock, backoff_ms(failed, self._shared.random))
                failed += 1

    async def _fetch_until_changed(self, wanting: list[Serving]) -> None:
        """Fetch for those who want more, but give up when others do as well."""
        answer = await _unless(self._changed, self._fetch(wanting))
        if answer is None:
            self._silence.answered()
            return
        for fetched in answer.partitions:
            self._take(fetched)

    async def _fetch(self, wanting: list[Serving]) -> FetchAnswer:
        request = FetchRequest(
            source=self._handler.name,
            group=self._terms.group,
            member=self._shared.name,
            partitions=[
                FetchPartition(partition=each.place.partition, after=each.place.after) for each in wanting
            ],
            on_lost=self._terms.on_lost,
            wait_ms=WAIT_MS,
        )
        self._silence.asked()
        answer: FetchAnswer = await self._shared.gl.ask("stream/fetch", request)
        self._silence.answered()
        return answer

    def _take(self, fetched: FetchedPartition) -> None:
        serving = self._served.get(fetched.partition)
        if serving is None:
            return
        if fetched.page is not None:
            page = fetched.page
            if page.after == serving.place.after.offset:
                serving.place.after = StreamPosition(page.through, page.epoch)
                serving.put(page)
        elif fetched.error is not None:
            error = fetched.error.error()
            if isinstance(error, LeaseLost):
                self._lost(serving)
            else:
                where = f"partition {fetched.partition} of {self._handler.name}"
                log.error("%s halts, until somebody seeks: %s", where, error)
                serving.halted = str(error)

    # The end ------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Finish the messages that are being handled, commit, and leave."""
        servings = list(self._served.values())
        for serving in servings:
            serving.drain()
        for serving in servings:
            await serving.ended()
        if self._beating is not None:  # or it might come after it has left
            self._beating.cancel()
            await asyncio.wait((self._beating,))
        request = LeaveRequest(source=self._handler.name, group=self._terms.group, member=self._shared.name)
        try:
            await self._shared.gl.ask("stream/leave", request)
        except GaplessError as error:
            log.warning("group %s was not left: %s", self._terms.group, error)

    def give_up(self) -> None:
        """Cancel what is being handled."""
        for serving in self._served.values():
            serving.give_up()


async def _unless(sooner: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Do something, or give it up as soon as `sooner` is set; then there is no result."""
    loop = asyncio.get_running_loop()
    doing, other = loop.create_task(work), loop.create_task(sooner.wait())
    try:
        await asyncio.wait((doing, other), return_when=asyncio.FIRST_COMPLETED)
    finally:
        other.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.wait((doing,))
    return None if doing.cancelled() else doing.result()
