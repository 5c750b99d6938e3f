"""Recurring jobs: each node looks for ticks that are due, and the store lets one of them fire each.

The time is the store's, asked for with the schedules; a node's own clock only measures until the next tick.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import islice, takewhile
from typing import Final

import msgspec

from gapless.broker.cron import next_tick_ms, ticks
from gapless.broker.jobs import job_of
from gapless.core.errors import GaplessError
from gapless.core.jobs import Job, Schedule
from gapless.core.limits import SCHEDULES_CHECK_MS, TICK_MISSED_MS, TICKS_MAX, WAITING_CHECK_MS
from gapless.ports import Clock, Queues, Timer
from gapless.protocol import schedules as wire
from gapless.protocol.messages import payload
from gapless.protocol.meta import with_tag
from gapless.protocol.queues import NewJob

__all__ = ["Scheduler"]

SCHEDULE_TAG: Final = "gapless-schedule"
TICK_TAG: Final = "gapless-tick"
NULL: Final = payload(b"null")
MISSED: Final = "not fired in time"
BY_ITSELF: Final = "gapless"  # in the audit stream: nobody asked for it
# Schedules that are fired at once; what joins one commit is cheap.
TOGETHER_MAX: Final = 100

log: Final = logging.getLogger("gapless.schedules")

_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(wire.RecurringJob).decode


Check = Callable[[str], Awaitable[None]]
Record = Callable[..., Awaitable[None]]


class _Known:
    """A schedule as the store has it, and the tick that follows its last one, if any does."""

    __slots__ = ("next_ms", "refused", "schedule")

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.next_ms = next(ticks(_decode(schedule.spec), schedule.last_ms), None)
        self.refused = ""  # why that tick could not be fired so far


class Scheduler:
    """The recurring jobs of a store.

    `check` makes sure of a queue (`Declaring.check`). `record` keeps what happens by itself: what, by whom,
    to which queue, and details.
    """

    def __init__(self, store: Queues, clock: Clock, check: Check, record: Record) -> None:
        self._store = store
        self._clock = clock
        self._check = check
        self._record = record
        self._known: dict[str, _Known] = {}
        self._timer: Timer | None = None
        self._firing: asyncio.Task[None] | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin to fire."""
        self._soon()

    async def stop(self) -> None:
        """Fire no more."""
        self._stopped = True
        self._drop_timer()
        if self._firing is not None:
            self._firing.cancel()
            await asyncio.gather(self._firing, return_exceptions=True)

    # Verbs --------------------------------------------------------------------------------

    async def schedule(self, request: wire.ScheduleRequest) -> wire.ScheduleAnswer:
        """Keep a recurring job; it fires first at the next tick from now.

        One that is there goes on from its last tick, so that a deployment loses no tick and fires none twice.
        If it recurs otherwise than before, that counts from now: it had no such ticks yet to be missed.
        """
        recurring = _recurring(request)
        now_ms, held = await self._store.schedules()
        next_ms = next_tick_ms(recurring, now_ms)
        _job(recurring, next_ms)  # what cannot be enqueued is refused now
        await self._check(recurring.queue)
        spec = _encode(recurring)
        before = next((each for each in held if each.name == recurring.name), None)
        goes_on = before is not None and _rhythm(before.spec) == _rhythm(spec)
        last_ms = before.last_ms if before is not None and goes_on else now_ms
        await self._store.schedule(Schedule(recurring.name, recurring.queue, spec, last_ms))
        self._soon()
        return wire.ScheduleAnswer(next_ms=next_ms)

    async def unschedule(self, request: wire.UnscheduleRequest) -> wire.UnscheduleAnswer:
        """Forget one."""
        return wire.UnscheduleAnswer(found=await self._store.unschedule(request.name))

    async def schedules(self) -> wire.SchedulesAnswer:
        """Return all."""
        now_ms, held = await self._store.schedules()
        return wire.SchedulesAnswer(
            schedules=[_status(each, now_ms) for each in sorted(held, key=lambda each: each.name)]
        )

    # Fire ---------------------------------------------------------------------------------

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _soon(self) -> None:
        """Look for what is due now; who looks already looks again afterwards, in time."""
        self._drop_timer()
        if self._stopped:
            return
        if self._firing is not None and not self._firing.done():
            self._timer = self._clock.after(1, self._soon)
        else:
            self._firing = asyncio.get_running_loop().create_task(self._fire_all())

    async def _fire_all(self) -> None:
        wait_ms = self._clock.glance_ms(SCHEDULES_CHECK_MS)
        try:
            now_ms, held = await self._store.schedules()
            await self._see(held)
            due: list[_Known] = []
            for known in self._known.values():
                if known.next_ms is None:
                    continue
                if known.next_ms <= now_ms:
                    due.append(known)
                else:
                    wait_ms = min(wait_ms, known.next_ms - now_ms)
            for start in range(0, len(due), TOGETHER_MAX):
                together = due[start : start + TOGETHER_MAX]
                waits_ms = await asyncio.gather(*(self._fire(known, now_ms) for known in together))
                wait_ms = min(wait_ms, *waits_ms)
        except GaplessError as error:
            log.warning("schedules could not be read: %s", error)
        finally:
            if not self._stopped and self._timer is None:
                self._timer = self._clock.after(max(1, wait_ms), self._soon)

    async def _see(self, held: list[Schedule]) -> None:
        """Know these schedules. To find a tick takes a while: others have their turn after each."""
        known: dict[str, _Known] = {}
        for schedule in held:
            before = self._known.get(schedule.name)
            if before is not None and before.schedule == schedule:
                known[schedule.name] = before
                continue
            try:
                known[schedule.name] = _Known(schedule)
            except (GaplessError, msgspec.DecodeError) as error:
                log.warning("schedule %r does not fire: %s", schedule.name, error)
            await asyncio.sleep(0)
        self._known = known

    async def _fire(self, known: _Known, now_ms: int) -> int:
        """Fire what is due of a schedule, TICKS_MAX at once; return how long until there is more to do."""
        schedule = known.schedule
        recurring = _decode(schedule.spec)
        due = takewhile(lambda tick_ms: tick_ms <= now_ms, ticks(recurring, schedule.last_ms))
        found = list(islice(due, TICKS_MAX))
        has_more = next(due, None) is not None
        decided = _decided(recurring, found, now_ms, has_more=has_more)
        try:
            fired = [await self._store.fire(schedule.name, schedule.spec, *each) for each in decided]
        except GaplessError as error:
            return _refuse(known, error, now_ms)
        passed = [tick_ms for tick_ms in found if not any(tick_ms == at and jobs for at, jobs in decided)]
        if passed and all(fired) and recurring.missed is wire.Missed.NONE:
            await self._tell_passed(known, passed)
        return 0 if has_more else next(ticks(recurring, now_ms), 2**53) - now_ms

    async def _tell_passed(self, known: _Known, passed: list[int]) -> None:
        """Record ticks for which there will be no job."""
        name, queue, why = known.schedule.name, known.schedule.queue, known.refused or MISSED
        log.warning("schedule %r passed over %d ticks: %s", name, len(passed), why)
        told = {"ticks": len(passed), "first_ms": passed[0], "last_ms": passed[-1], "reason": why}
        await self._record("pass_over", BY_ITSELF, queue, schedule=name, **told)


def _refuse(known: _Known, error: GaplessError, now_ms: int) -> int:
    """Note that a tick could not be fired, for want of room mostly; return when to try again."""
    if not known.refused:
        log.warning("schedule %r could not fire, and tries again: %s", known.schedule.name, error)
    known.refused = str(error)
    is_late = known.next_ms is not None and now_ms - known.next_ms >= TICK_MISSED_MS
    return SCHEDULES_CHECK_MS if is_late else WAITING_CHECK_MS


def _rhythm(spec: bytes) -> tuple[str, int, str] | None:
    """Return what makes the ticks of a schedule."""
    try:
        recurring = _decode(spec)
    except msgspec.DecodeError:
        return None
    return recurring.cron, recurring.every_ms, recurring.time_zone


def _decided(
    recurring: wire.RecurringJob, due: list[int], now_ms: int, *, has_more: bool
) -> list[tuple[int, list[Job]]]:
    """Return what comes of ticks that are due: of some only that they are passed over."""
    if not due:
        return []
    if recurring.missed is wire.Missed.ALL:
        chosen = due
    elif has_more:  # the last one, which may be fired, is among those
        return [(due[-1], [])]
    elif recurring.missed is wire.Missed.ONE or now_ms - due[-1] < TICK_MISSED_MS:
        chosen = due[-1:]
    else:
        return [(due[-1], [])]
    return [(tick_ms, [_job(recurring, tick_ms)]) for tick_ms in chosen]


def _job(recurring: wire.RecurringJob, tick_ms: int) -> Job:
    job = job_of(_new_job(recurring))
    job.headers = with_tag(with_tag(job.headers, SCHEDULE_TAG, recurring.name), TICK_TAG, str(tick_ms))
    return job


def _new_job(recurring: wire.RecurringJob) -> NewJob:
    return NewJob(
        queue=recurring.queue,
        data=recurring.data,
        b64data=recurring.b64data,
        headers=recurring.headers,
        key=recurring.key,
        priority=recurring.priority,
        expires_ms=recurring.expires_ms,
    )


def _recurring(request: wire.ScheduleRequest) -> wire.RecurringJob:
    """Return what is kept of a request: all of it; a schedule without a payload has `null`."""
    found = wire.RecurringJob(**msgspec.structs.asdict(request))
    if not bytes(found.data) and found.b64data is None:
        found.data = NULL
    return found


def _status(schedule: Schedule, now_ms: int) -> wire.ScheduleStatus:
    recurring = _decode(schedule.spec)
    return wire.ScheduleStatus(
        **msgspec.structs.asdict(recurring),
        last_ms=schedule.last_ms,
        next_ms=next(ticks(recurring, max(now_ms, schedule.last_ms)), 0),
    )
