"""Places that can be put back to where they were, as by a restore, a copied file or a lagging replica."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from shutil import copyfile
from typing import Final

from gapless.backends import Options
from gapless.backends.memory import Backend
from gapless.core.lineage import Fate
from tests.backends.conftest import MemoryPlace, RedisPlace, SqlitePlace, shared_redis

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


class RewindingRedis(RedisPlace):
    """A prefix whose keys can be put back to where they were, as by a failover: nobody vouches for them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(shared_redis(), folder.name)
        self._tag = "{" + folder.name + "}"
        self._kept = "kept:" + self._tag

    def keep(self) -> None:
        self.server.command("EVAL", COPY, 0, self._tag, self._kept)

    def rewind(self) -> None:
        self.server.command("EVAL", COPY, 0, self._kept, self._tag)
        self.server.command("HSET", f"{self._tag}:meta", "durable", "0")


# Keys of one prefix become those of another, and nothing else has that.
COPY: Final = """
for _, key in ipairs(redis.call('KEYS', ARGV[2] .. '*')) do redis.call('DEL', key) end
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  redis.call('COPY', key, ARGV[2] .. string.sub(key, #ARGV[1] + 1))
end
"""

Rewinding = RewindingMemory | RewindingRedis | RewindingSqlite
REWINDING: dict[str, Callable[[Path], Rewinding]] = {
    "memory": lambda folder: RewindingMemory(),
    "redis": RewindingRedis,
    "sqlite": RewindingSqlite,
}
