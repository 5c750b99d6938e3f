"""Files that are damaged, too old, or not of each other: refused, or told to the readers."""

import asyncio
import os
import shutil
from pathlib import Path

import apsw
import pytest

from gapless.core.errors import (
    PositionLost,
    StoreDamaged,
)
from gapless.core.lineage import Fate
from gapless.core.stream import Head, Position
from gapless.testing.conformance.places import append, entry, fill, head, offsets, put, read
from tests.faults.stores import alive, beside, copy, fate_of, flip, open_store, refusal_of, scenario


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


# A damaged file


@scenario
async def test_a_flipped_bit_in_a_message_is_never_served(path: Path) -> None:
    store = await open_store(path)
    await put(store, entry("a", b"sound"), entry("b", b"to be damaged"), entry("b", b"behind it"))
    await store.close()
    flip(path, path.read_bytes().index(b"to be damaged") + 3)
    store = await open_store(path)
    assert (await read(store, "a")).messages[0].data == b"sound"
    with pytest.raises(StoreDamaged):
        await read(store, "b")
    with pytest.raises(StoreDamaged):
        await read(store, "b", before=Position(store.epoch, 9))
    behind = await read(store, "b", after=Position(store.epoch, 1))
    assert [message.data for message in behind.messages] == [b"behind it"]
    assert (await append(store, "b")).offset == 3
    await store.close()


@scenario
async def test_a_file_that_was_cut_short_is_refused(path: Path) -> None:
    store = await open_store(path)
    await fill(store, "s", 500)
    await store.close()
    os.truncate(path, path.stat().st_size - 4096)
    assert "restore a backup" in await refusal_of(path)
    os.truncate(path, 50)
    assert "header is damaged" in await refusal_of(path)


@scenario
async def test_a_damaged_header_is_refused(path: Path) -> None:
    store = await open_store(path)
    await append(store)
    await store.close()
    flip(path, 5)
    assert "header is damaged" in await refusal_of(path)


@scenario
async def test_the_file_of_another_program_is_refused(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("create table their (own)")
    other.close()
    before = path.read_bytes()
    assert "not of gapless" in await refusal_of(path)
    path.write_text("a letter, and no database\n" * 100)
    assert "no SQLite database" in await refusal_of(path)
    path.write_bytes(before)
    assert await refusal_of(path)
    assert path.read_bytes() == before


@scenario
async def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    await (await open_store(path)).close()
    newer = apsw.Connection(str(path))
    newer.execute("update store set version = 99")
    newer.close()
    assert "newer gapless" in await refusal_of(path)


# What is beside the file


@scenario
async def test_what_kill_9_leaves_is_opened_without_a_false_alarm(path: Path) -> None:
    store = await alive(path, 5)
    left = copy(path, path.parent / "left" / "store.db")
    after = await open_store(left)
    assert (await after.generations())[-1].fate is Fate.CLEAN
    assert offsets(await read(after, after=Position(store.epoch, 2))) == [3, 4, 5]
    await after.close()
    await store.close()


@scenario
async def test_the_log_of_another_database_is_refused(path: Path) -> None:
    one = await alive(path.parent / "one.db", 5)
    two = await alive(path.parent / "two.db", 5)
    copy(path.parent / "one.db", path)
    shutil.copy(path.parent / "two.db-wal", beside(path, "-wal"))
    assert "does not belong" in await refusal_of(path)
    assert beside(path, "-wal").read_bytes() == (path.parent / "two.db-wal").read_bytes()
    await one.close()
    await two.close()


@scenario
async def test_an_older_copy_beside_a_newer_log_is_refused(path: Path) -> None:
    await (await alive(path, 5)).close()
    shutil.copy(path, path.parent / "older.db")
    await (await alive(path, 5)).close()
    store = await alive(path, 5)
    shutil.copy(beside(path, "-wal"), path.parent / "older.db-wal")
    assert "does not belong" in await refusal_of(path.parent / "older.db")
    await store.close()


@scenario
async def test_a_newer_copy_beside_an_older_log_is_refused(path: Path) -> None:
    store = await alive(path, 5)
    older = copy(path, path.parent / "older" / "store.db")
    await store.close()
    await (await alive(path, 5)).close()
    shutil.copy(path, older)
    assert "does not belong" in await refusal_of(older)


@scenario
async def test_a_log_without_its_database_is_refused(path: Path) -> None:
    store = await alive(path, 5)
    left = copy(path, path.parent / "left" / "store.db")
    left.unlink()
    assert "does not belong" in await refusal_of(left)
    left.touch()
    assert "does not belong" in await refusal_of(left)
    await store.close()


@scenario
async def test_damage_inside_the_log_is_refused_and_left_as_it_is(path: Path) -> None:
    store = await open_store(path)
    for _ in range(20):
        await append(store, data=bytes(100))
    left = copy(path, path.parent / "left" / "store.db")
    log = beside(left, "-wal")
    for part in (0.3, 0.5, 0.7):
        sound = log.read_bytes()
        flip(log, int(len(sound) * part))
        damaged = log.read_bytes()
        assert "damage" in await refusal_of(left)
        assert log.read_bytes() == damaged
        log.write_bytes(sound)
    assert await fate_of(left) is Fate.CLEAN
    await store.close()


@scenario
async def test_a_log_that_lost_its_end_or_is_gone_is_told(path: Path) -> None:
    store = await open_store(path)
    for _ in range(20):
        await append(store, data=bytes(100))
    short = copy(path, path.parent / "short" / "store.db")
    os.truncate(beside(short, "-wal"), beside(short, "-wal").stat().st_size - 4096)
    gone = copy(path, path.parent / "gone" / "store.db")
    beside(gone, "-wal").unlink()
    await store.close()
    for left in (short, gone):
        after = await open_store(left)
        assert (await after.generations())[-1].fate is Fate.LOSSY
        with pytest.raises(PositionLost):
            await read(after, after=Position(store.epoch, 1))
        await after.close()


@scenario
async def test_a_journal_of_another_time_is_refused(path: Path) -> None:
    await (await alive(path, 500)).close()
    beside(path, "-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(2000))
    assert "-journal" in await refusal_of(path)


# The witness, and older states


@scenario
async def test_without_its_witness_a_store_is_lossy(path: Path) -> None:
    store = await alive(path, 5)
    old = store.epoch
    await store.close()
    beside(path, ".witness").unlink()
    store = await open_store(path)
    assert (await store.generations())[-1].fate is Fate.LOSSY
    with pytest.raises(PositionLost):
        await read(store, after=Position(old, 3))
    assert offsets(await read(store)) == [1, 2, 3, 4, 5]
    await store.close()
    assert await fate_of(path) is Fate.CLEAN


@pytest.mark.parametrize("wrong", [b"", b"gapless ", bytes(256)])
def test_a_witness_that_is_not_whole_says_nothing(wrong: bytes, path: Path) -> None:
    async def damage() -> None:
        await (await alive(path, 5)).close()
        beside(path, ".witness").write_bytes(wrong)
        assert await fate_of(path) is Fate.LOSSY

    asyncio.run(damage())


@pytest.mark.parametrize("same_generation", [True, False])
def test_a_database_put_back_to_an_older_state_is_told(same_generation: bool, path: Path) -> None:
    async def rewind() -> None:
        store = await alive(path, 5)
        if not same_generation:
            await store.close()
        older = copy(path, path.parent / "older" / "store.db")
        if not same_generation:
            store = await open_store(path)
        await fill(store, "s", 5)
        old = store.epoch
        await store.close()
        for suffix in ("", "-wal"):
            if beside(older, suffix).exists():
                shutil.copy(beside(older, suffix), beside(path, suffix))
        store = await open_store(path)
        assert (await store.generations())[-1].fate is Fate.LOSSY
        assert await head(store) == Head(0, 5)
        for offset in (3, 5, 8, 10):
            with pytest.raises(PositionLost):
                await read(store, after=Position(old, offset))
        await store.close()

    asyncio.run(rewind())


@scenario
async def test_a_new_file_in_the_place_of_one_that_was_lost_is_told(path: Path) -> None:
    await (await alive(path, 5)).close()
    path.unlink()
    assert await fate_of(path) is Fate.LOSSY
