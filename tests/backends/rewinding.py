"""Places that can be put back to where they were, as by a restore, a copied file or a lagging replica."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from shutil import copyfile

from gapless.backends import Options
from gapless.backends.memory import Backend
from gapless.core.lineage import Fate
from tests.backends.conftest import MemoryPlace, SqlitePlace

__all__ = ["REWINDING", "Rewinding"]


class RewindingMemory(MemoryPlace):
    """Memory that can be put back to where it was."""

    fate = Fate.CLEAN

    def keep(self) -> None:
        self._copy = deepcopy(self.kept)

    def rewind(self) -> None:
        self.kept = deepcopy(self._copy)
        self.fate = Fate.LOSSY

    async def open(self) -> Backend:
        store = Backend(Options(**self.options), self.kept, self.fate)
        self.fate = Fate.CLEAN
        return store


class RewindingSqlite(SqlitePlace):
    """A file that can be put back to where it was, beside a witness that knows better."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "store.db"
        super().__init__(f"sqlite:{self._path}")

    def keep(self) -> None:
        copyfile(self._path, self._path.with_suffix(".kept"))

    def rewind(self) -> None:
        copyfile(self._path.with_suffix(".kept"), self._path)


Rewinding = RewindingMemory | RewindingSqlite
REWINDING: dict[str, Callable[[Path], Rewinding]] = {
    "memory": lambda folder: RewindingMemory(),
    "sqlite": RewindingSqlite,
}
