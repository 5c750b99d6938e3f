"""Where each backend of the folder is tested."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.backends.memory import Backend, Kept
from gapless.backends.sqlite.sharing import Owner
from gapless.ports import Store
from gapless.sharing.joined import Joined
from gapless.testing.conformance import Place, UrlPlace


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
        owner, joined = await super().open(), await super().open()
        assert (type(owner), type(joined)) == (Owner, Joined)
        close = joined.close

        async def close_both() -> None:
            await close()
            await owner.close()

        joined.close = close_both  # type: ignore[method-assign]
        return joined


PLACES: dict[str, Callable[[Path], Place]] = {
    "memory": lambda folder: MemoryPlace(),
    "sqlite": lambda folder: SqlitePlace(f"sqlite:{folder}/store.db"),
    "sqlite, joined": lambda folder: JoinedPlace(f"sqlite:{folder}/store.db"),
}


@pytest.fixture(params=[*backends.names(), "sqlite, joined"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param not in PLACES:
        pytest.fail(f"nothing tests the backend {request.param}")
    return PLACES[request.param](tmp_path)
