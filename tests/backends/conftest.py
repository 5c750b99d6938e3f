"""Where each backend of the folder is tested."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.backends.memory import Backend, Kept
from gapless.backends.sqlite.sharing import Owner
from gapless.ports import Store
from gapless.sharing.joined import Joined
from gapless.sharing.remote import Listen
from gapless.testing.conformance import Place, UrlPlace
from tests.redis_server import RedisServer

KEY = "a key of thirty-two bytes or more"


class MemoryPlace(Place):
    """Memory that outlives `close`, as the model of a disk."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()

    async def open(self) -> Store:
        return Backend(Options(**self.options), self.kept)


class SqlitePlace(UrlPlace):
    """A file, without the ballast that would fill the disk with one for each test."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.options |= {"ballast_bytes": 0, "free_bytes_min": 0}


class JoinedPlace(SqlitePlace):
    """A file that somebody else has open, seen by one who joined; both let go of it together."""

    async def open(self) -> Store:
        owner = await super().open()
        assert isinstance(owner, Owner)
        joined = await self.join(owner)
        assert isinstance(joined, Joined)
        close = joined.close

        async def close_both() -> None:
            await close()
            await owner.close()

        joined.close = close_both  # type: ignore[method-assign]
        return joined

    async def join(self, owner: Owner) -> Store:
        return await super().open()


class RemotePlace(JoinedPlace):
    """The same over TCP, as from another machine."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.options["listen"] = Listen("127.0.0.1", 0, KEY.encode())

    async def join(self, owner: Owner) -> Store:
        assert owner.gate is not None
        options = Options(**self.options | {"listen": None})
        return await backends.open(f"gapless+tcp://:{KEY}@127.0.0.1:{owner.gate.port}", options)


class RedisPlace(UrlPlace):
    """A prefix of its own on a server that lasts as long as the tests do.

    Whoever opens it after it was closed finds another incarnation of the server.
    """

    def __init__(self, server: RedisServer, prefix: str) -> None:
        super().__init__(f"{server.url}?prefix={prefix}")
        self.server = server
        self._was_opened = False

    async def open(self) -> Store:
        if self._was_opened:
            self.server.incarnate()
        self._was_opened = True
        return await super().open()


PLACES: dict[str, Callable[[Path], Place]] = {
    "memory": lambda folder: MemoryPlace(),
    "redis": lambda folder: RedisPlace(shared_redis(), f"{folder.name}-{next(_PREFIXES)}"),
    "remote": lambda folder: RemotePlace(f"sqlite:{folder}/store.db"),
    "sqlite": lambda folder: SqlitePlace(f"sqlite:{folder}/store.db"),
    "sqlite, joined": lambda folder: JoinedPlace(f"sqlite:{folder}/store.db"),
}


_PREFIXES: Iterator[int] = count()
_SERVERS: list[RedisServer] = []


def shared_redis() -> RedisServer:
    """Return the server of this process, with its data in memory: a test's fsync costs nothing."""
    if not _SERVERS:
        memory = Path("/dev/shm")
        folder = Path(tempfile.mkdtemp(prefix="gapless-redis-", dir=memory if memory.is_dir() else None))
        _SERVERS.append(RedisServer(folder).start())
        atexit.register(_end, _SERVERS[0])
    return _SERVERS[0]


def _end(server: RedisServer) -> None:
    server.kill()
    shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(params=[*backends.names(), "sqlite, joined"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param not in PLACES:
        pytest.fail(f"nothing tests the backend {request.param}")
    return PLACES[request.param](tmp_path)
