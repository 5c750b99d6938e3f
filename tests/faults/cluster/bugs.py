"""Known bugs (semantics 10), planted in nodes on a Redis; each is caught.

`python -m tests.faults.cluster.bugs` shows that; `… <bug> serve …` is `gapless serve …` with a bug. Those
inside Redis are changes of the text of its functions; a text that is no longer there fails.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from gapless.backends.redis import library, seeking
from gapless.backends.redis.calls import Calls
from gapless.backends.redis.durability import Standing
from gapless.backends.redis.writer import Writer
from gapless.broker.placing import Placing
from gapless.cli import main as gapless
from gapless.core.stream import Done, Entry, Outcome, Stored
from gapless.ports import Durability
from tests.faults.cluster.ordeal import Ordeal, Scene
from tests.faults.cluster.stores import Redis

__all__ = ["BUGS", "catch"]

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 6
SEEDS = 3


@dataclass(frozen=True)
class Bug:
    """What plants it in this process, the faults that show it, and the checkers that may tell of it."""

    name: str
    plant: Callable[[], None]
    script: Sequence[str]
    found_by: Sequence[str]
    settings: tuple[tuple[str, str], ...] = ()  # of Redis


BUGS: dict[str, Bug] = {}


def bug(
    name: str, script: Sequence[str], found_by: Sequence[str], **settings: str
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register what plants the bug called `name`."""

    def register(plant: Callable[[], None]) -> Callable[[], None]:
        BUGS[name] = Bug(name, plant, script, found_by, tuple(settings.items()))
        return plant

    return register


def _edit(old: str, new: str) -> None:
    """Change the text of the functions inside Redis, which becomes another library by that."""
    text = library.source()
    assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
    patch.object(library, "source", lambda: text.replace(old, new)).start()


def _patch(owner: Any, name: str, wrong: Callable[..., Any]) -> None:
    patch.object(owner, name, wrong).start()


# Generations ----------------------------------------------------------------------------------

EPOCH = "s.epoch = string.sub(s.replid, 1, 8) .. string.sub(token, 1, 8)"
OLDER = ("restore_copy",) * 2


@bug("fixed epoch", OLDER, ("two_values", "wrong_prefix", "lost", "stuck", "above_end"))
def fixed_epoch() -> None:
    """Every incarnation is the same generation."""
    _edit(EPOCH, "s.epoch = '0123456789abcdef'")


@bug("generation as a stored counter", ("restore_older",), ("two_values", "wrong_prefix", "lost", "stuck"))
def stored_counter() -> None:
    """A generation is called by its number, which an older copy gives again."""
    _edit(EPOCH, "s.epoch = string.format('%016x', #gens)")


@bug("every cut lossy", ("kill_redis",), ("false_alarm",))
def every_cut_lossy() -> None:
    """A clean restart is said to have lost something."""
    _edit("gen[3] = vouched and 'clean' or 'lossy'", "gen[3] = 'lossy'")


@bug("generation checked only at connect", ("flush_all",), ("unannounced", "skipped", "stuck", "unseen"))
def checked_once() -> None:
    """A process keeps to the generation that it has met first."""
    hear = Calls._hear

    def wrong(self: Calls, epoch: str, *rest: Any) -> None:
        hear(self, self.epoch or epoch, *rest)

    _patch(Calls, "_hear", wrong)


@bug("FLUSHALL keeps the node's cache", ("flush_all",), ("unannounced", "skipped", "wrong_prefix", "stuck"))
def cache_kept() -> None:
    """A node that learns of a new generation goes on with what it has of its channels."""

    async def check(self: Placing) -> None:
        self._generation_due = False
        self.epoch = (await self._store.generations())[-1].id

    _patch(Placing, "check_generation", check)


@bug("cut not pushed to live readers", OLDER, ("unannounced", "wrong_prefix", "unseen", "stuck", "skipped"))
def not_pushed() -> None:
    """Live subscribers hear nothing of a new generation."""
    _patch(Placing, "lose", lambda self, subscriptions: None)


@bug(
    "healing compares offset, not generation", OLDER, ("unannounced", "wrong_prefix", "two_values", "skipped")
)
def healing_by_offset() -> None:
    """A channel goes on in a new generation from the offset that it had reached."""

    async def check(self: Placing) -> None:
        self._generation_due = False
        self.epoch = (await self._store.generations())[-1].id
        for channel in self._hub.channels.values():
            if channel.epoch:
                channel.epoch = self.epoch

    _patch(Placing, "check_generation", check)


# What is acknowledged ---------------------------------------------------------------------------


@bug(
    "acknowledge before the script returns", ("cut_store",) * 2 + ("kill_redis",) * 2, ("lost", "two_values")
)
def acknowledged_before() -> None:
    """A message is acknowledged when it is sent to Redis."""
    enqueue = Writer._enqueue

    def wrong(self: Writer, entries: Sequence[Entry], done: Done, size: int) -> None:
        guessed: list[Outcome] = [Stored(self._calls.epoch, 0, 0) for _ in entries]
        if entries:
            self._loop.call_soon(done, entries, guessed)
        enqueue(self, entries, (lambda *_: None) if entries else done, size)

    _patch(Writer, "_enqueue", wrong)


@bug("a class that is overstated", ("kill_redis",), ("lost",), appendonly="no")
def overstated() -> None:
    """A Redis that writes nothing down counts as a disk, and vouches for it."""
    judge = vars(seeking)["judge"]

    def wrong(*told: Any, **more: Any) -> Standing:
        standing: Standing = judge(*told, **more)
        return standing._replace(durability=Durability.DISK)

    _patch(seeking, "judge", wrong)


@bug("class granted during the first AOF rewrite", ("promote_fresh",), ("lost",))
def granted_early() -> None:
    """A replica that was promoted is asked to keep what it has not begun to write down."""
    judge = vars(seeking)["judge"]

    def wrong(settings: Any, info: Any, **more: Any) -> Standing:
        quiet = {name: "0" for name in info if name.startswith("aof_rewrite")}
        standing: Standing = judge(settings, {**info, **quiet}, **more)
        return standing

    _patch(seeking, "judge", wrong)


# Each caught ------------------------------------------------------------------------------------


def catch(bug: Bug, folder: Path) -> str | None:
    """Return what an ordeal finds of a bug that is planted in all nodes; None: it survives.

    Such nodes must start: that they do not is no way of catching it.
    """
    command = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", __spec__.name, bug.name)

    def store(folder: Path) -> Redis:
        return Redis(folder, durability="disk", replica="promote_fresh" in bug.script, **dict(bug.settings))

    scene = Scene("bug", 2, store, {}, command=command, patience_seconds=PATIENCE_SECONDS)
    for seed in range(1, SEEDS + 1):
        run = folder / str(seed)
        run.mkdir()
        result = asyncio.run(Ordeal(run, scene, seed).run(0, bug.script))
        for found in result.findings:
            assert "it ended" not in found, found
            if found.startswith(tuple(bug.found_by)):
                return found
    return None


def main() -> int:
    """Show each bug being caught, or be a node with one."""
    if sys.argv[1:]:
        BUGS[sys.argv.pop(1)].plant()
        gapless()
    survived = 0
    print(f"{'bug':50} caught by")  # noqa: T201
    for name, bug in BUGS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = catch(bug, Path(folder))
        survived += found is None
        print(f"{name:50} {(found or 'NOTHING')[:110]}", flush=True)  # noqa: T201
    print(f"{len(BUGS)} bugs planted in nodes on a Redis, {survived} survived")  # noqa: T201
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
