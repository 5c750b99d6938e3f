"""Hooks, as the server knows them: who has which, how long one may take, how many may be under way.

Whether a hook decides something is told by its pattern. What it says is the last word on what the rules or
a token say; a hook that fails, is late or is not there is a temporary error, and never a yes.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from typing import Final, Protocol

from gapless.core.errors import GaplessError, MethodNotFound, TooManyRequests, Unavailable
from gapless.core.histogram import Histogram
from gapless.core.limits import HOOK_MS, HOOKS_MAX
from gapless.ports import Clock
from gapless.protocol.hooks import Catalogue, Decision, Disconnecting, HookAsked, HookName

__all__ = ["OUTCOMES", "Hooks", "Known", "NoWorker", "Runner"]

log: Final = logging.getLogger("gapless.hooks")

OUTCOMES: Final = {
    "decided": "yes, or the answer of a method",
    "none": "left to the rules or the token",
    "refused": "no, or no such method",
    "timed_out": "no answer in time",
    "failed": "the hook, or its worker, failed",
    "no_worker": "no worker serves it",
    "too_many": "too many are under way",
    "given_up": "the client was gone before the answer",
}
"""What may come of asking a hook. From `timed_out` on nothing was decided."""

BOUNDS_MS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000)


class NoWorker(Unavailable):
    """No worker is there that has the hook."""


class Runner(Protocol):
    """Somebody who has hooks: an application in this process, or workers elsewhere."""

    async def run(self, asked: HookAsked) -> Decision:
        """Have a hook decide.

        Raises:
            GaplessError: it did not.
        """


class Known:
    """A catalogue of hooks, held against names."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._any = {
            name: getattr(catalogue, name) is True
            or _matching(found if isinstance(found := getattr(catalogue, name), list) else [])
            for name in catalogue.__struct_fields__
        }

    def has(self, hook: HookName, name: str = "") -> bool:
        """Tell whether there is a hook for a channel or method, or of a kind that has none."""
        match = self._any[hook]
        return match if isinstance(match, bool) else match(name)

    def __bool__(self) -> bool:
        return self.catalogue != Catalogue()


class Hooks:
    """The hooks of a node: those of its own application come before those of workers."""

    def __init__(self, clock: Clock, *, timeout_ms: int = HOOK_MS, most: int = HOOKS_MAX) -> None:
        self.timeout_ms = timeout_ms
        self.took: dict[tuple[HookName, str], Histogram] = {}  # in ms, by what came of it
        self._clock = clock
        self._most = most
        self._places: list[tuple[Known, Runner]] = []
        self._running: set[asyncio.Task[Decision]] = set()
        self._telling: set[asyncio.Task[None]] = set()

    def serve(self, places: Sequence[tuple[Known, Runner]]) -> None:
        """Ask these from now on, the first that has a hook."""
        self._places = [(known, runner) for known, runner in places if known]

    def has(self, hook: HookName, name: str = "") -> bool:
        """Tell whether somebody is to be asked."""
        return any(known.has(hook, name) for known, _ in self._places)

    @property
    def running(self) -> int:
        """How many are under way."""
        return len(self._running)

    async def ask(self, asked: HookAsked) -> Decision:
        """Return what the hook decides that `has` told of.

        Raises:
            TooManyRequests: too many are under way.
            Unavailable: it failed, took too long, or nobody is there to ask. Whoever asks may try again.
        """
        began_ms, outcome = self._clock.now_ms(), ""
        try:
            decision = await self._asked(asked)
            outcome = _outcome(decision)
            return decision
        except BaseException as error:
            outcome = _NO_OUTCOME.get(type(error), "failed")
            raise
        finally:
            self._count(asked.place()[0], outcome, self._clock.now_ms() - began_ms)

    def _count(self, hook: HookName, outcome: str, took_ms: int) -> None:
        took = self.took.get((hook, outcome))
        if took is None:
            took = self.took[hook, outcome] = Histogram(BOUNDS_MS)
        took.observe(took_ms)

    async def _asked(self, asked: HookAsked) -> Decision:
        if len(self._running) >= self._most:
            raise _Full(f"{self._most} hooks are under way")
        told: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        task = asyncio.get_running_loop().create_task(self._run(asked))
        self._running.add(task)
        task.add_done_callback(lambda task: self._ended(task, told))
        late = self._clock.after(self.timeout_ms, lambda: self._late(asked, told))
        try:
            return await told
        finally:
            late.cancel()
            task.cancel()

    def tell(self, asked: Disconnecting) -> None:
        """Let the hook `disconnect` know, if there is one; nobody waits for it."""
        if not self.has("disconnect"):
            return
        if len(self._telling) >= self._most:
            log.warning("a hook is not told of a disconnect: %d are under way", self._most)
            return
        task = asyncio.get_running_loop().create_task(self._tell(asked))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """Wait for those who are being told, for as long as they may take; end the rest."""
        if self._telling:
            await asyncio.wait(self._telling)
        for task in self._running:
            task.cancel()

    async def _tell(self, asked: Disconnecting) -> None:
        try:
            await self.ask(asked)
        except GaplessError as error:
            log.warning("hook disconnect: %s", error)

    async def _run(self, asked: HookAsked) -> Decision:
        for known, runner in self._places:
            if known.has(*asked.place()):
                return await runner.run(asked)
        raise Unavailable(f"the hook {asked.place()[0]} is not there any more")

    def _ended(self, task: asyncio.Task[Decision], told: asyncio.Future[Decision]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if told.done():
            return
        if task.cancelled():
            told.cancel()
        elif error is None:
            told.set_result(task.result())
        else:
            if not isinstance(error, GaplessError):
                log.error("a hook could not be asked", exc_info=error)
                error = Unavailable("a hook could not be asked")
            told.set_exception(error)

    def _late(self, asked: HookAsked, told: asyncio.Future[Decision]) -> None:
        if not told.done():
            log.warning("hook %s %s: no answer within %d ms", *asked.place(), self.timeout_ms)
            told.set_exception(_Late(f"the hook did not answer within {self.timeout_ms} ms"))


class _Late(Unavailable):
    """A hook did not answer in time."""


class _Full(TooManyRequests):
    """No more hooks may be under way."""


def _outcome(decision: Decision) -> str:
    if decision.refusal is not None or decision.ending is not None:
        return "refused"
    return "decided" if decision.decided else "none"


_NO_OUTCOME: Final[dict[type[BaseException], str]] = {
    asyncio.CancelledError: "given_up",
    MethodNotFound: "refused",
    NoWorker: "no_worker",
    _Full: "too_many",
    _Late: "timed_out",
}


def _matching(patterns: Sequence[str]) -> Callable[[str], bool] | bool:
    """Return what tells whether a name matches one of the patterns; False if there are none."""
    if not patterns:
        return False
    match = re.compile("|".join(map(translate, patterns))).match
    return lambda name: match(name) is not None
