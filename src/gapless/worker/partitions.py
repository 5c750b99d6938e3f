"""One partition in a member's hands: its messages are handled in their order, and how far, is committed."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgspec import Struct

from gapless.client.connection import backoff_ms
from gapless.core.errors import (
    GaplessError,
    LeaseLost,
    LimitExceeded,
    OutcomeUnknown,
    StateError,
    Unauthorized,
    Unavailable,
)
from gapless.core.limits import JOB_EMITS_MAX
from gapless.library.handlers import StreamHandler
from gapless.protocol.groups import CommitAnswer, CommitRequest, NewCommit
from gapless.protocol.messages import StreamPosition
from gapless.protocol.queues import Emit
from gapless.protocol.reading import ReadAnswer, StreamMessage
from gapless.server.parting import pause
from gapless.worker.failures import Failures, dead_letter
from gapless.worker.frames import HandlePage
from gapless.worker.runners import End, How, Task
from gapless.worker.shared import Shared

__all__ = ["Place", "Serving"]

REFUSED_MS: Final = 1_000  # what is refused together with its commit is not handled again before that
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
    attempts: int = 0


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
        self.halted = ""  # or why: until somebody seeks
        self._handler = handler
        self._terms = handler.terms
        self._shared = shared
        self._changed = changed
        self._lost = lost
        self._draining = False
        self._number = 0
        self._through = 0
        self._pages: asyncio.Queue[ReadAnswer] = asyncio.Queue()
        self._failures = Failures(self._terms.retry)
        self._moves: deque[_Move] = deque()
        self._loop = asyncio.get_running_loop()
        self._committing: asyncio.Task[None] | None = None
        self._given_up = False
        self._pausing: asyncio.Task[None] | None = None
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

    def give_up(self) -> None:
        """As `stop`, and commit what was handled now or not at all."""
        self.stop()
        self._given_up = True
        if self._pausing is not None:
            self._pausing.cancel()

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
        """Handle the messages of a page, each until it is done: what follows waits.

        A process that ends may not have told of its last messages. So after that the page goes on message by
        message, each by itself: then it is known which one ends processes, and what was handled beside it
        is not handled again and again.
        """
        left = page.messages
        by_itself = False
        while left:
            run = left[:1] if by_itself else left
            solo = by_itself or self._terms.executor == "process"
            end = await self._run(page.epoch, run, solo=solo)
            through = self._through
            left = [message for message in left if message.offset > through]
            if self._draining:
                break
            if left and not (end.how is How.DONE and end.outcome is None):
                by_itself = by_itself or end.how in (How.CRASHED, How.LAPSED, How.STUCK)
                if not await self._try_again(left[0], page.epoch, end, alone=solo and len(run) == 1):
                    left = left[1:]
        if not left:
            self._moved(_Move(page.through, page.epoch, []))

    async def _try_again(self, message: StreamMessage, epoch: str, end: End, *, alone: bool) -> bool:
        """Let a message that failed wait for its next attempt, or pass it over; tell whether there is one."""
        self._shared.counters.failed += 1
        why = (end.outcome.reason if end.outcome is not None else end.why) or "no reason"
        where = f"offset {message.offset} of partition {self.place.partition}"
        failures = self._failures
        delay_ms = failures.delay_ms(end, alone=alone, chance=self._shared.random.random())
        if delay_ms is None:
            log.error("%s: %s is passed over: %s", self._handler.name, where, why)
            await self._pass_over(message, epoch, why, failures.attempts)
            failures.next()
            return False
        told = "; it is not passed over, for the message before it ended so too" if failures.holds_on else ""
        again = f"failed, it is tried again in {delay_ms} ms: {why}{told}"
        log.warning("%s: %s %s", self._handler.name, where, again)
        await pause(self._shared.clock, delay_ms)
        return True

    async def _pass_over(self, message: StreamMessage, epoch: str, why: str, attempts: int) -> None:
        """Go on behind a message, once that is committed: the queue for dead ones may have no room.

        One whose dead letter is refused for good is passed over without: it would hold up all that follow.
        """
        emit = dead_letter(self._handler, message, epoch, why, attempts)
        self._moved(_Move(message.offset, epoch, emit, why, attempts))
        assert self._committing is not None
        await asyncio.wait((self._committing,))

    async def _run(self, epoch: str, messages: list[StreamMessage], *, solo: bool) -> End:
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
        self._failures.handled()
        self._shared.counters.done += 1
        self._moved(_Move(offset, epoch, emit))

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
            if new.passed_over and new.emit and _blames_letter(error):
                error = await self._committed(self._without_letter(new, error))
            if error is not None:
                await self._refused(new, error)
                return

    def _without_letter(self, new: NewCommit, error: GaplessError | None) -> NewCommit:
        why = f"its dead letter is refused, and not stored: {error}"
        where = f"offset {new.offset} of partition {new.partition}"
        log.error("%s: %s is passed over, but %s", self._handler.name, where, why)
        new.emit, new.passed_over = (), f"{why}; the message: {new.passed_over}"
        return new

    async def _committed(self, new: NewCommit) -> GaplessError | None:
        """Commit, however often that takes; return why it is refused, if it is."""
        failed = 0
        while True:
            try:
                await self._ask(new)
                return None
            except GaplessError as error:
                if self._given_up or not _is_for_now(new, error):
                    return error
                log.warning("%s: no commit yet: %s", self._handler.name, error)
            delay_ms = backoff_ms(failed, self._shared.random)
            self._pausing = self._loop.create_task(pause(self._shared.clock, delay_ms))
            await asyncio.wait((self._pausing,))
            failed += 1

    def _next_commit(self) -> NewCommit:
        move = self._moves.popleft()
        emits = list(move.emit)
        while self._moves and len(emits) + len(self._moves[0].emit) <= JOB_EMITS_MAX:
            if self._moves[0].epoch != move.epoch or move.passed_over or self._moves[0].passed_over:
                break  # what is passed over is committed by itself: nothing else is refused with it
            move = self._moves.popleft()
            emits += move.emit
        return NewCommit(
            partition=self.place.partition,
            fence=self.place.fence,
            offset=move.offset,
            epoch=move.epoch,
            emit=tuple(emits),
            passed_over=move.passed_over,
            attempts=move.attempts,
        )

    async def _ask(self, new: NewCommit) -> None:
        request = CommitRequest(
            source=self._handler.name, group=self._terms.group, member=self._shared.name, commits=[new]
        )
        answer: CommitAnswer = await self._shared.gl.ask("stream/commit", request)
        [item] = answer.commits
        if item.error is not None:
            raise item.error.error()

    async def _refused(self, new: NewCommit, error: GaplessError) -> None:
        """What was handled here is not committed: handle it no further, and ask where the group stands."""
        self._moves.clear()
        where = f"partition {new.partition} of {self._handler.name}"
        if isinstance(error, LeaseLost):
            log.warning("%s is another's: the commit of offset %d was refused", where, new.offset)
        else:
            log.error("%s: the commit of offset %d is refused: %s", where, new.offset, error)
        self.stop()
        if not isinstance(error, LeaseLost) and not self._given_up:
            await pause(self._shared.clock, REFUSED_MS)
        self._lost(self)


def _is_for_now(new: NewCommit, error: GaplessError) -> bool:
    """Tell whether a commit that was refused may be accepted later, as a dead letter is that has no room."""
    return (
        error.temporary
        or isinstance(error, OutcomeUnknown)
        or (bool(new.passed_over) and isinstance(error, LimitExceeded))
    )


def _blames_letter(error: GaplessError | None) -> bool:
    """Tell whether a commit may be accepted without the dead letter that goes with it."""
    others = StateError | Unavailable | Unauthorized | LimitExceeded
    return error is not None and not isinstance(error, others)
