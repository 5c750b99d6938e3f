"""Workers that serve hooks over the HTTP API: they take calls, wait for more, and answer."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from gapless.core.errors import LimitExceeded, MethodNotFound, Unavailable
from gapless.core.limits import HOOK_MS, HOOK_WORKER_AWAY_MS, HOOK_WORKER_GONE_MS, HOOK_WORKERS_MAX
from gapless.ports import Clock
from gapless.protocol.hooks import (
    AnsweredCall,
    AnswerRequest,
    Catalogue,
    Decision,
    HookAsked,
    HookName,
    HookPlace,
    TakeAnswer,
    TakenCall,
    TakeRequest,
)
from gapless.protocol.payloads import Nothing
from gapless.server.hooks import Known, NoWorker

__all__ = ["HookWorkers"]

log: Final = logging.getLogger("gapless.hooks")
# That nobody serves a hook is said at once, and then so often as long as it is asked for.
MISSED_MS: Final = 60_000
ID_NODE: Final = "-"  # in the id of a call, before the node that waits for the answer

_decode: Final = msgspec.json.Decoder(Decision | None).decode


class _Call:
    def __init__(self, asked: HookAsked, until_ms: int) -> None:
        self.asked = asked
        self.until_ms = until_ms
        self.told: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()

    def fail(self, why: str) -> None:
        if not self.told.done():
            self.told.set_exception(Unavailable(why))


class _Missed:
    """How often nobody served a kind of hook, and when that was logged."""

    count = told_ms = 0


class _Worker:
    """A worker, with what it took and has not answered. `takes` are its waits for more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known = Known(Catalogue())
        self.seen_ms = 0
        self.takes = 0
        self.held: dict[str, _Call] = {}


class _Take:
    """One wait for up to `limit` calls."""

    def __init__(self, worker: _Worker, limit: int) -> None:
        self.worker = worker
        self.limit = limit
        self.calls: list[TakenCall] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class HookWorkers:
    """Implements `server.hooks.Runner`: a call goes to the least busy worker of `node` that waits for some.

    What a worker held that goes away while it waits for more is told to be lost at once.
    """

    def __init__(self, clock: Clock, node: str) -> None:
        self.timeout_ms = HOOK_MS  # how long whoever asks waits
        self._clock = clock
        self._node = node
        self._workers: dict[str, _Worker] = {}
        self._takes: list[_Take] = []
        self._waiting: deque[_Call] = deque()
        self._numbers = 0
        self._missed: dict[HookName, _Missed] = {}
        self._stopping = False
        self.expected = Known(Catalogue())  # the hooks for which this node asks workers
        # What workers of other nodes serve; what asks one of them, takes an answer to the node that waits
        # for it, and tells of a worker that leaves: one of several processes on a port talks to any of them.
        # `changed` is called when these serve other hooks.
        self.places_elsewhere: Callable[[], Iterable[tuple[str, str]]] = tuple
        self.elsewhere: Callable[[HookAsked], Awaitable[Decision] | None] = lambda asked: None
        self.answer_elsewhere: Callable[[str, AnswerRequest], Awaitable[object]] | None = None
        self.leave_elsewhere: Callable[[str], Awaitable[object]] | None = None
        self.changed: Callable[[], object] = lambda: None

    async def run(self, asked: HookAsked) -> Decision:
        """See `Runner.run`. Where no worker of this node has the hook, one of another node is asked.

        Raises:
            Unavailable: no worker is there, or the one that took the call has gone or failed.
            MethodNotFound: workers are there, and none of them has the method.
        """
        elsewhere = None if self._serves(asked, near=True) else self.elsewhere(asked)
        return await (self.run_here(asked) if elsewhere is None else elsewhere)

    async def run_here(self, asked: HookAsked) -> Decision:
        """Have a worker of this node decide. Raises as `run`."""
        if not self._serves(asked):
            if asked.place()[0] == "rpc" and any((*self.places(), *self.places_elsewhere())):
                raise MethodNotFound(f"there is no method {asked.place()[1]!r}")
            self._miss(asked)
            raise NoWorker(f"no worker for hooks: none serves {_named(asked)}")
        call = _Call(asked, self._clock.now_ms() + self.timeout_ms)
        # Whoever asks here has given up by then; of one who asks from another node nothing is heard.
        late = self._clock.after(self.timeout_ms + 1, lambda: call.fail("no answer in time"))
        self._waiting.append(call)
        self._hand_out()
        try:
            return await call.told
        finally:
            late.cancel()
            call.told.cancel()
            if call in self._waiting:
                self._waiting.remove(call)

    def _serves(self, asked: HookAsked, *, near: bool = False) -> bool:
        self._forget_silent()
        workers = self._near() if near else self._workers.values()
        return any(worker.known.has(*asked.place()) for worker in workers)

    def _near(self) -> list[_Worker]:
        """Return the workers that take calls from this node: one may have gone on to another."""
        away_ms = self._clock.now_ms() - HOOK_WORKER_AWAY_MS
        return [each for each in self._workers.values() if each.takes or each.held or each.seen_ms > away_ms]

    # What workers ask ---------------------------------------------------------------------

    async def take(self, request: TakeRequest) -> TakeAnswer:
        """Give a worker calls, as soon as there are some. What it asked before is answered by that.

        A worker that leaves names no hooks: it is given no more, and may answer what it has.

        Raises:
            LimitExceeded: there are too many workers.
        """
        if self.leave_elsewhere is not None and self._leaves_elsewhere(request):
            await self.leave_elsewhere(request.worker)
            return TakeAnswer(calls=[], unasked=[])
        worker = self._enter(request)
        self._end_takes(worker)
        take = _Take(worker, request.limit)
        self._takes.append(take)
        worker.takes += 1
        try:
            self._hand_out()
            if not take.calls and request.wait_ms and worker.known and not self._stopping:
                await self._wait(take, request.wait_ms)
        except asyncio.CancelledError:
            self._lose(worker, "has gone")
            raise
        finally:
            worker.takes -= 1
            worker.seen_ms = self._clock.now_ms()
            self._takes.remove(take)
            self._forget_left(worker)
        return TakeAnswer(calls=take.calls, unasked=self._unasked(request.hooks))

    def _leaves_elsewhere(self, request: TakeRequest) -> bool:
        return request.hooks == Catalogue() and request.worker not in self._workers

    def _end_takes(self, worker: _Worker) -> None:
        for take in self._takes:
            if take.worker is worker:
                take.end()

    def leave(self, name: str) -> None:
        """Hear from another node that a worker leaves: it is given no more, and may answer what it has."""
        worker = self._workers.get(name)
        if worker is not None:
            worker.known = Known(Catalogue())
            self._end_takes(worker)
            self._forget_left(worker)
            self.changed()

    async def answer(self, request: AnswerRequest) -> Nothing:
        """Take a worker's answers. What nobody waits for any more is dropped."""
        here, elsewhere = self._apart(request)
        self._answer_here(here)
        if self.answer_elsewhere is not None:
            await asyncio.gather(*(self.answer_elsewhere(*each) for each in elsewhere.items()))
        return Nothing()

    def _apart(self, request: AnswerRequest) -> tuple[AnswerRequest, dict[str, AnswerRequest]]:
        """Tell what is for this node from what is for others, by the node in the call's id."""
        found: dict[str, list[AnsweredCall]] = {self._node: []}
        for answer in request.answers:
            found.setdefault(answer.id.partition(ID_NODE)[2], []).append(answer)
        requests = {
            node: AnswerRequest(worker=request.worker, answers=answers) for node, answers in found.items()
        }
        return requests.pop(self._node), requests

    def _answer_here(self, request: AnswerRequest) -> None:
        worker = self._workers.get(request.worker)
        if worker is not None:
            worker.seen_ms = self._clock.now_ms()
            for answer in request.answers:
                call = worker.held.pop(answer.id, None)
                if call is not None and not call.told.done():
                    self._answer(worker, call, answer)
            self._forget_left(worker)

    def __len__(self) -> int:
        """Return how many workers serve hooks."""
        return sum(bool(worker.known) for worker in self._workers.values())

    def places(self) -> list[HookPlace]:
        """Return what workers serve that take calls from this node; nothing once it stops."""
        self._forget_silent()
        workers = [] if self._stopping else self._near()
        return list(dict.fromkeys(place for each in workers for place in each.known.catalogue.places()))

    def unserved(self) -> Counter[str]:
        """Count the hooks that this node asks workers for and that none serves, by their kind."""
        self._forget_silent()
        served = [*self.places(), *self.places_elsewhere()]
        unserved: Counter[str] = Counter()
        for kind, pattern in self.expected.catalogue.places():
            unserved[kind] += not any(kind == other and _meet(pattern, name) for other, name in served)
        return unserved

    def stop(self) -> None:
        """Let nobody wait any more: the node stops."""
        self._stopping = True
        self.changed()
        for take in self._takes:
            take.end()

    # ------------------------------------------------------------------------------------

    def _miss(self, asked: HookAsked) -> None:
        """Log that nobody serves a hook: at once, then now and then, with how many were asked for."""
        kind, _ = asked.place()
        missed = self._missed.setdefault(kind, _Missed())
        missed.count += 1
        now_ms = self._clock.now_ms()
        if not missed.told_ms or now_ms - missed.told_ms >= MISSED_MS:
            log.error(
                "hook %s: no worker serves it, so whoever asks is told to try again (error 100), %d so far:"
                " start `gapless worker` with the application that declares it",
                _named(asked),
                missed.count,
            )
            missed.told_ms = now_ms

    async def _wait(self, take: _Take, wait_ms: int) -> None:
        timer = self._clock.after(wait_ms, take.end)
        try:
            await take.over
        finally:
            timer.cancel()

    def _enter(self, request: TakeRequest) -> _Worker:
        self._forget_silent()
        worker = self._workers.get(request.worker)
        if worker is None:
            if len(self._workers) >= HOOK_WORKERS_MAX:
                raise LimitExceeded(f"{HOOK_WORKERS_MAX} workers serve hooks")
            worker = self._workers[request.worker] = _Worker(request.worker)
            log.info("worker %s serves hooks", request.worker)
        if worker.known.catalogue != request.hooks:
            worker.known = Known(request.hooks)
            for kind in {kind for kind, _ in request.hooks.places()}:
                self._missed.pop(kind, None)
            self.changed()
        return worker

    def _hand_out(self) -> None:
        """Give each call that waits to the least busy of those who may take it."""
        for call in list(self._waiting):
            ready = [
                take
                for take in self._takes
                if len(take.calls) < take.limit and take.worker.known.has(*call.asked.place())
            ]
            if call.told.done() or call.until_ms <= self._clock.now_ms() or not ready:
                continue
            take = min(ready, key=lambda take: len(take.worker.held))
            self._waiting.remove(call)
            self._numbers += 1
            id = f"{self._numbers}{ID_NODE}{self._node}"
            take.worker.held[id] = call
            left_ms = max(1, call.until_ms - self._clock.now_ms())
            take.calls.append(TakenCall(id=id, asked=call.asked, timeout_ms=left_ms))
            take.end()

    def _answer(self, worker: _Worker, call: _Call, answer: AnsweredCall) -> None:
        try:
            decision = _decode(answer.decision)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.error("hook %s: worker %s answered badly: %s", _told(call), worker.name, error)
            call.fail("the hook answered badly")
            return
        if decision is None:
            log.warning("hook %s: it failed in worker %s, whose log says why", _told(call), worker.name)
            call.fail("the hook failed")
        else:
            call.told.set_result(decision)

    def _forget_left(self, worker: _Worker) -> None:
        if worker.known or worker.held or worker.takes:
            return
        if self._workers.pop(worker.name, None) is not None:
            log.info("worker %s serves hooks no longer", worker.name)

    def _forget_silent(self) -> None:
        silent_ms = self._clock.now_ms() - HOOK_WORKER_GONE_MS
        for worker in list(self._workers.values()):
            if not worker.takes and worker.seen_ms <= silent_ms:
                self._lose(worker, "says nothing any more")

    def _lose(self, worker: _Worker, why: str) -> None:
        if self._workers.get(worker.name) is worker:
            del self._workers[worker.name]
            self.changed()
            log.warning("worker %s, which served hooks, %s", worker.name, why)
        for call in worker.held.values():
            call.fail("the worker that took the call has gone")
        worker.held.clear()

    def _unasked(self, hooks: Catalogue) -> list[str]:
        """Return the hooks of a worker that this node does not ask for."""
        return [
            f"{kind} {name}".rstrip() for kind, name in hooks.places() if not self.expected.has(kind, name)
        ]


def _told(call: _Call) -> str:
    return _named(call.asked)


def _named(asked: HookAsked) -> str:
    return " ".join(asked.place()).rstrip()


def _meet(pattern: str, other: str) -> bool:
    """Tell whether one pattern is within the other, as far as the one read as a name tells."""
    return fnmatchcase(pattern, other) or fnmatchcase(other, pattern)
