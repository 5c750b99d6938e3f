"""A store is found by the scheme of its URL."""

import asyncio
import subprocess
import sys
import time

import pytest

from gapless import backends
from gapless.core.errors import ConfigError
from gapless.ports import Durability


def test_every_module_of_the_folder_opens_some_scheme() -> None:
    assert backends.names() == ["memory", "redis", "remote", "sqlite"]
    assert {*backends.SCHEMES.values()} <= {*backends.names()}
    for scheme in ("memory", "sqlite", *backends.SCHEMES):
        assert backends.load(scheme).__name__ == "Backend"


@pytest.mark.parametrize("url", ["", "store.db", "oracle:store", ":", "sqlite:", "sqlite.database:x"])
def test_a_url_that_names_no_store_is_an_error_of_the_configuration(url: str) -> None:
    with pytest.raises(ConfigError):
        asyncio.run(backends.open(url))


def test_memory_is_opened_by_its_url() -> None:
    async def scenario() -> None:
        store = await backends.open("memory:")
        assert store.durability is Durability.MEMORY
        await store.close()

    asyncio.run(scenario())


def test_a_driver_is_imported_when_its_scheme_is_used() -> None:
    told = "import sys; from gapless import backends; print('apsw' in sys.modules); backends.load('sqlite')"
    program = f"{told}; print('apsw' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]


def test_the_clock_of_a_store_starts_at_the_time_of_the_wall_and_never_falls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_ms = backends.store_clock()
    first_ms = now_ms()
    assert abs(first_ms - time.time_ns() // 1_000_000) < 1_000
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert now_ms() >= first_ms
