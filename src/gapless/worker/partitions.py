"""One partition in a member's hands: its messages are handled in their order, and how far, is committed."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgspec import Struct

from gapless.client.connection import backoff_ms
from gapless.core.errors import GaplessError, LeaseLost, OutcomeUnknown
from gapless.core.jobs import Deed
from gapless.core.limits import JOB_EMITS_MAX
from gapless.core.retry import Retry
from gapless.library.handlers import StreamHandler
from gapless.library.outcomes import Outcome
from gapless.protocol.groups import CommitAnswer, CommitRequest, NewCommit
from gapless.protocol.messages import StreamPosition
from gapless.protocol.queues import Emit
from gapless.protocol.reading import ReadAnswer, StreamMessage
from gapless.server.parting import pause
from gapless.worker.frames import HandlePage
from gapless.worker.runners import End, How, Task
from gapless.worker.shared import Shared

__all__ = ["Place", "Serving"]

RETRY: Final = Retry(base_ms=500, cap_ms=60_000)
log: Final = logging.getLogger("gapless.worker")


class Place(Struct):
    """A partition, the member's hold on it, and where the next page follows."""

    partition: int
    fence: str
    fence_number: int
    after: StreamPosition


class _Move(NamedTuple):
    """What was handled up to an offset and is not committed; or why the message there was `passed_over`."""

    offset: int
    epoch: str
    emit: list[Emit]
    passed_over: str = ""


class Serving:
    """Handles a partition, once what served it before (`predecessor`) has let go.

    `changed` hears that it wants more, `lost` that a commit was refused.
    """

    def __init__(
        self,
        handler: StreamHandler[Any],
        shared: Shared,
        place: Place,
        changed: Callable[[], object],
        lost: Callable[["Serving"], object],
        predecessor: "Serving | None" = None,
    ) -> None:
        self.place = place
        self.halted = False
        self._handler = handler
        self._terms = handler.terms
        self._shared = shared
        self._changed = changed
        self._lost = lost
        self._draining = False
        self._number = 0
        self._through = 0
        self._pages: asyncio.Queue[ReadAnswer] = asyncio.Queue()
        self._moves: deque[_Move] = deque()
        self._loop = asyncio.get_running_loop()
        self._committing: asyncio.Task[None] | None = None
        self._serving = self._loop.create_task(self._serve(predecessor))

    def wants_more(self) -> bool:
        """Tell whether it has room for another page."""
        return not self.halted and self._pages.empty()

    def put(self, page: ReadAnswer) -> None:
        """Have a page handled."""
        self._pages.put_nowait(page)

    def stop(self) -> None:
        """Handle nothing more, and give up what is being handled."""
        self._serving.cancel()

    def drain(self) -> None:
        """Handle nothing more but the message at hand."""
        self._draining = True
        if self._number:
            self._shared.runners.cancel(self._number, soft=True)
        else:
            self._serving.cancel()

    async def ended(self) -> None:
        """Wait until nothing is handled, and what was, is committed."""
        await asyncio.wait((self._serving,))
        if self._committing is not None:
            await asyncio.wait((self._committing,))

    async def _serve(self, predecessor: "Serving | None") -> None:
        if predecessor is not None:
            await predecessor.ended()
        while not self._draining:
            page = await self._pages.get()
            self._changed()
            await self._handle(page)

    # Handle -------------------------------------------------------------------------------

    async def _handle(self, page: ReadAnswer) -> None:
        """Handle the messages of a page, each until it is done: what follows waits."""
        left = page.messages
        attempt, crashed = 1, False
        while left:
            first = left[0].offset
            end = await self._run(page.epoch, left, solo=crashed)
            through = self._through
            left = [message for message in left if message.offset > through]
            if self._draining or (end.how is How.DONE and end.outcome is None):
                break
            attempt = attempt + 1 if left and left[0].offset == first else 1
            crashed = end.how in (How.CRASHED, How.LAPSED)
            if left and end.outcome is not None and end.outcome.deed is Deed.BURY:
                self._pass_over(left.pop(0), page.epoch, end.outcome)
            elif left:
                await self._wait(left[0], end, attempt)
        if not left:
            self._moved(_Move(page.through, page.epoch, []))

    async def _run(self, epoch: str, messages: list[StreamMessage], *, solo: bool) -> End:
        solo = solo or self._terms.executor == "process"
        await self._room(solo=solo)
        self._number = next(self._shared.numbers)
        self._through = 0
        ended: asyncio.Future[End] = self._loop.create_future()
        frame = HandlePage(
            self._number,
            self._handler.name,
            self._terms.group,
            epoch,
            self.place.fence,
            self.place.fence_number,
            messages,
        )
        task = Task(
            frame,
            f"{self._handler.name}/{self.place.partition} from {messages[0].offset}",
            ended.set_result,
            timeout_ms=self._terms.timeout_ms,
            solo=solo,
            moved=lambda offset, emit: self._handled(offset, epoch, emit),
        )
        self._shared.counters.running += 1
        self._shared.start(task)
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            self._shared.runners.cancel(self._number)
            await ended
            raise
        finally:
            self._number = 0
            self._shared.counters.running -= 1

    async def _room(self, *, solo: bool) -> None:
        runners = self._shared.runners
        freed = asyncio.Event()
        runners.freed.add(freed.set)
        try:
            while runners.room(solo=solo) <= 0:
                freed.clear()
                await freed.wait()
        finally:
            runners.freed.discard(freed.set)

    def _handled(self, offset: int, epoch: str, emit: list[Emit]) -> None:
        self._through = offset
        self._shared.counters.done += 1
        self._moved(_Move(offset, epoch, emit))

    def _pass_over(self, message: StreamMessage, epoch: str, outcome: Outcome) -> None:
        where = f"offset {message.offset} of partition {self.place.partition}"
        log.error("%s: %s is passed over: %s", self._handler.name, where, outcome.reason)
        self._shared.counters.failed += 1
        self._moved(_Move(message.offset, epoch, [], outcome.reason or "no reason"))

    async def _wait(self, message: StreamMessage, end: End, attempt: int) -> None:
        """Let a message that failed wait; what follows it in its partition waits too."""
        outcome = end.outcome
        delay_ms = outcome.delay_ms if outcome is not None else None
        if delay_ms is None:
            delay_ms = RETRY.delay_ms(attempt, self._shared.random.random())
        why = outcome.reason if outcome is not None else end.why
        where = f"offset {message.offset} of partition {self.place.partition}"
        log.warning("%s: %s failed, it is tried again in %d ms: %s", self._handler.name, where, delay_ms, why)
        self._shared.counters.failed += 1
        await pause(self._shared.clock, delay_ms)

    # Commit -------------------------------------------------------------------------------

    def _moved(self, move: _Move) -> None:
        self._moves.append(move)
        if self._committing is None or self._committing.done():
            self._committing = self._loop.create_task(self._commit())

    async def _commit(self) -> None:
        """Commit how far it is, until nothing is new; what comes meanwhile joins the next commit."""
        while self._moves:
            new = self._next_commit()
            error = await self._committed(new)
            if error is not None:
                self._refused(new, error)
                return

    async def _committed(self, new: NewCommit) -> GaplessError | None:
        """Commit, however often that takes; return why it is refused, if it is."""
        failed = 0
        while True:
            try:
                await self._ask(new)
                return None
            except GaplessError as error:
                if not (error.temporary or isinstance(error, OutcomeUnknown)):
                    return error
                log.warning("%s: no commit yet: %s", self._handler.name, error)
            await pause(self._shared.clock, backoff_ms(failed, self._shared.random))
            failed += 1

    def _next_commit(self) -> NewCommit:
        move = self._moves.popleft()
        emits = list(move.emit)
        while self._moves and len(emits) + len(self._moves[0].emit) <= JOB_EMITS_MAX:
            if self._moves[0].epoch != move.epoch or move.passed_over:
                break
            move = self._moves.popleft()
            emits += move.emit
        return NewCommit(
            partition=self.place.partition,
            fence=self.place.fence,
            offset=move.offset,
            epoch=move.epoch,
            emit=tuple(emits),
            passed_over=move.passed_over,
        )

    async def _ask(self, new: NewCommit) -> None:
        request = CommitRequest(
            source=self._handler.name, group=self._terms.group, member=self._shared.name, commits=[new]
        )
        answer: CommitAnswer = await self._shared.gl.ask("stream/commit", request)
        [item] = answer.commits
        if item.error is not None:
            raise item.error.error()

    def _refused(self, new: NewCommit, error: GaplessError) -> None:
        """What was handled here is not committed: handle it no further, and ask where the group stands."""
        self._moves.clear()
        where = f"partition {new.partition} of {self._handler.name}"
        if isinstance(error, LeaseLost):
            log.warning("%s is another's: the commit of offset %d was refused", where, new.offset)
        else:
            log.error("%s: the commit of offset %d is refused: %s", where, new.offset, error)
        self.stop()
        self._lost(self)
