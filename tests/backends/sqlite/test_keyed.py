"""The index by keys in the file: whole with what is stored, and what disagrees with it is found."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

import apsw
import pytest

from gapless.backends import Options
from gapless.backends.sqlite.backend import Backend
from gapless.backends.sqlite.keyed import SLICE_ROWS
from gapless.core.limits import OFFSET_MAX
from gapless.core.stream import Retention
from gapless.testing.conformance.places import append, entry, offsets, put, read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def scenario(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    @wraps(test)
    def run(path: Path) -> None:
        asyncio.run(test(path))  # type: ignore[arg-type]

    return run


async def opened(path: Path) -> Backend:
    return await Backend.open(str(path), Options(ballast_bytes=0, free_bytes_min=0))


async def found(store: Backend) -> list[str]:
    checked = await store.check(lambda done, total: None)
    assert checked.wrong == len(checked.findings)
    return checked.findings


def indexed(path: Path) -> list[Any]:
    """Of each entry of the index, the stream and the offset."""
    connection = apsw.Connection(str(path))
    query = 'select stream, "offset" from log indexed by log_keyed where keyed is not null order by 1, 2'
    listed = connection.execute(query).fetchall()
    connection.close()
    return listed


def behind_the_index(path: Path, statement: str) -> None:
    """Change the log as if the index were not there."""
    connection = apsw.Connection(str(path))
    query = "select type, name, tbl_name, rootpage, sql from sqlite_schema where name = 'log_keyed'"
    [row] = connection.execute(query).fetchall()
    connection.close()
    for change, bound in (
        ("delete from sqlite_schema where name = 'log_keyed'", ()),
        (statement, ()),
        ("insert into sqlite_schema values (?, ?, ?, ?, ?)", row),
    ):
        connection = apsw.Connection(str(path))
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
        connection.execute("pragma writable_schema = on")
        connection.execute(change, bound)
        connection.close()


@scenario
async def test_what_is_deleted_or_superseded_leaves_the_index_and_what_is_erased_does_not(path: Path) -> None:
    store = await opened(path)
    await put(store, *(entry("few", keyed="a", retention=Retention(count=2)) for _ in range(100)))
    await put(store, *(entry("all", keyed=key) for key in "aabb"))
    await put(store, *(entry("plain") for _ in range(5)))
    await store.erase("all", 4)
    await store.compact_keys("all", OFFSET_MAX)
    assert await found(store) == []
    await store.close()
    few, everything = 1, 2
    assert [offset for stream, offset in indexed(path) if stream == everything] == [2, 4]
    assert len([offset for stream, offset in indexed(path) if stream == few]) < 30
    assert {stream for stream, _ in indexed(path)} == {few, everything}


@scenario
async def test_what_the_index_and_the_log_do_not_agree_on_is_found(path: Path) -> None:
    store = await opened(path)
    await put(store, *(entry(keyed=key) for key in "abab"))
    await store.close()
    sound = path.read_bytes()
    missing, wrong = "message 2 of 's' is not found by its key", "has message 2 of stream 1 where it is not"
    for statement, told in {
        "update log set keyed = x'00' where seq = 2": [missing, wrong],
        "update log set keyed = null where seq = 2": [wrong],
        "delete from log where seq = 2": ["missing", wrong],
    }.items():
        path.write_bytes(sound)
        behind_the_index(path, statement)
        store = await opened(path)
        findings = await found(store)
        assert all(any(one in finding for finding in findings) for one in told), (statement, findings)
        await store.close()


@scenario
async def test_a_check_reads_an_index_of_many_slices(path: Path) -> None:
    store = await opened(path)
    await put(store, *(entry(keyed=f"k{number % 300}") for number in range(1_100)))
    assert await found(store) == []
    await store.close()
    behind_the_index(path, "update log set keyed = null where seq = 1000")
    store = await opened(path)
    assert len(await found(store)) == 1
    await store.close()


@scenario
async def test_a_compaction_of_many_slices_lets_appends_between_them(path: Path) -> None:
    store = await opened(path)
    count = 5 * SLICE_ROWS
    await put(store, *(entry(keyed=f"k{number % 7}") for number in range(count)))
    compaction = asyncio.ensure_future(store.compact_keys("s", OFFSET_MAX))
    commits = store.statistics().commits
    landed = [await append(store, "other") for _ in range(3)]
    assert not compaction.done()
    assert [stored.offset for stored in landed] == [1, 2, 3]
    assert await compaction == count - 7
    assert store.statistics().commits >= commits + 5
    assert await store.compact_keys("s", OFFSET_MAX) == 0
    page = await read(store, keyed="k0")
    assert offsets(page) == [count - 1 - (count - 1) % 7 + 1]
    await store.close()
