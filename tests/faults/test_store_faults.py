"""Real faults of the file and of its disk: each is a clear error, and nothing acknowledged is lost unsaid."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from gapless.backends import Options
from gapless.backends.sqlite import Backend
from gapless.backends.sqlite.database import Database
from gapless.core.errors import (
    GaplessError,
    OutcomeUnknown,
    PositionLost,
    StoreDamaged,
    StoreError,
    StoreFailed,
    StoreFull,
    StoreRefused,
)
from gapless.core.lineage import Fate
from gapless.core.stream import Head, Position, Stored
from gapless.testing.conformance.places import append, entry, fill, head, offsets, put, read
from tests.backends.crash_vfs import Disk

MEBI = 1024 * 1024
NOBODY = 65_534
SUFFIXES = ("", "-wal", ".witness")


async def open_store(path: Path, vfs: str | None = None, **options: Any) -> Backend:
    return await Backend.open(str(path), Options(**{"ballast_bytes": 0, "free_bytes_min": 0} | options), vfs)


def scenario(test: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """Turn a coroutine into a test."""

    def run(path: Path) -> None:
        asyncio.run(test(path))

    run.__name__ = test.__name__
    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def copy(path: Path, to: Path) -> Path:
    """Copy a store that is open but quiet: what kill -9 would leave of it now."""
    to.parent.mkdir(exist_ok=True)
    for suffix in SUFFIXES:
        if beside(path, suffix).exists():
            shutil.copy(beside(path, suffix), beside(to, suffix))
    return to


def flip(path: Path, at: int) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


async def fate_of(path: Path) -> Fate:
    store = await open_store(path)
    fate = (await store.generations())[-1].fate
    await store.close()
    return fate


async def refusal_of(path: Path) -> str:
    with pytest.raises(StoreRefused) as refused:
        await open_store(path)
    return str(refused.value)


# A disk without room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "gapless-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def use_up(folder: Path) -> Path:
    """Leave no room on the disk, and return the file that takes it all."""
    hog = folder / "hog"
    with hog.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(MEBI))
            except OSError:
                return hog


async def append_until_full(store: Backend) -> int:
    """Append until the store refuses, and return how many it accepted."""
    for accepted in range(10_000):
        [outcome] = await put(store, entry(data=b"%06d" % accepted + bytes(30_000)))
        if isinstance(outcome, GaplessError):
            assert isinstance(outcome, StoreFull)
            return accepted
    pytest.fail("the disk has no end")


async def read_all(store: Backend) -> list[int]:
    """Return the numbers of all messages of the stream, which must follow each other."""
    seen: list[int] = []
    page = await read(store)
    while page.messages:
        seen += [int(message.data[:6]) for message in page.messages]
        page = await read(store, after=Position(page.epoch, page.through))
    assert seen == list(range(seen[0], seen[-1] + 1))
    return seen


def test_a_full_disk_refuses_appends_while_reading_and_trimming_go_on(small_disk: Path) -> None:
    async def full() -> None:
        path = small_disk / "store.db"
        store = await open_store(path, ballast_bytes=18 * MEBI, free_bytes_min=MEBI)
        accepted = await append_until_full(store)
        assert await read_all(store) == list(range(accepted))
        assert (await store.trim("s", accepted - 1)).heads["s"] == Head(accepted - 1, accepted)
        assert await read_all(store) == [accepted - 1]
        # What was trimmed is deleted by and by; then there is room again.
        while isinstance((await put(store, entry(data=b"%06d" % accepted)))[0], StoreFull):
            await store.trim("s", 0)
        assert await read_all(store) == [accepted - 1, accepted]
        await store.close()
        store = await open_store(path, ballast_bytes=18 * MEBI, free_bytes_min=MEBI)
        assert await read_all(store) == [accepted - 1, accepted]
        await store.close()

    asyncio.run(full())


def test_a_disk_that_others_fill_up_refuses_appends_until_there_is_room(small_disk: Path) -> None:
    async def full() -> None:
        store = await open_store(small_disk / "store.db", ballast_bytes=18 * MEBI, free_bytes_min=0)
        await append(store, data=b"000000")
        hog = use_up(small_disk)
        [outcome] = await put(store, entry(data=b"000001" + bytes(60_000)))
        assert isinstance(outcome, StoreFull)
        assert not beside(small_disk / "store.db", ".ballast").exists()
        [passed] = await put(store, entry(transient=True))
        assert isinstance(passed, Stored)
        assert await read_all(store) == [0]
        await store.trim("s", 1)
        hog.unlink()
        assert (await append(store, data=b"000001")).offset == 2
        await store.close()

    asyncio.run(full())


def test_a_store_that_was_killed_opens_on_a_full_disk(small_disk: Path) -> None:
    async def full() -> None:
        path = small_disk / "store.db"
        database = Database(path, Options(ballast_bytes=18 * MEBI, free_bytes_min=MEBI), None)
        for number in range(300):
            database.write([entry(data=b"%06d" % number + bytes(30_000))])
        database.abandon()
        use_up(small_disk)
        store = await open_store(path, ballast_bytes=18 * MEBI, free_bytes_min=MEBI)
        assert await read_all(store) == list(range(300))
        assert isinstance((await put(store, entry()))[0], StoreFull)
        await store.close()

    asyncio.run(full())


def test_a_disk_error_of_no_room_rolls_back_cleanly(path: Path, disk: Disk) -> None:
    async def full() -> None:
        store = await open_store(path, disk.name)
        await fill(store, "s", 3)

        def no_room(number: int, kind: str) -> None:
            if kind == "write":
                raise apsw.FullError

        disk.before = no_room
        assert [type(one) for one in await put(store, entry(), entry("t"))] == [StoreFull, StoreFull]
        with pytest.raises(StoreFull):
            await store.trim("s", 1)
        disk.before = lambda number, kind: None
        assert await head(store) == Head(0, 3)
        assert (await append(store)).offset == 4
        await store.close()

    asyncio.run(full())


# A disk that fails


@pytest.fixture(scope="module")
def failing_disk() -> Iterator[Disk]:
    hook, sys.unraisablehook = (
        sys.unraisablehook,
        lambda _: None,
    )  # SQLite does not pass on why a close failed
    yield Disk("failing")
    sys.unraisablehook = hook


@pytest.fixture
def disk(failing_disk: Disk) -> Disk:
    failing_disk.images.clear()
    failing_disk.before = lambda number, kind: None
    return failing_disk


@pytest.mark.parametrize("failing", ["sync", "write"])
def test_a_failed_commit_closes_the_store_for_good(failing: str, path: Path, disk: Disk) -> None:
    async def fail_once() -> None:
        told: list[StoreError] = []
        store = await open_store(path, disk.name, failed=told.append)
        await fill(store, "s", 3)
        failures = iter([apsw.IOError("the disk is broken")])

        def fail(number: int, kind: str) -> None:
            if kind == failing and (failure := next(failures, None)):
                raise failure

        disk.before = fail
        assert [type(one) for one in await put(store, entry(), entry("t"))] == [OutcomeUnknown] * 2
        assert [type(one) for one in told] == [StoreFailed]
        with pytest.raises(StoreFailed):
            store.append(entry(), lambda *_: None)
        with pytest.raises(StoreFailed):
            await read(store)
        await store.close()
        store = await open_store(path)
        assert [message.data for message in (await read(store)).messages][:3] == [b"1", b"2", b"3"]
        assert (await store.generations())[-1].fate is Fate.CLEAN
        await store.close()

    asyncio.run(fail_once())


def test_what_is_queued_behind_a_failed_commit_is_refused(path: Path, disk: Disk) -> None:
    async def fail() -> None:
        store = await open_store(path, disk.name, commit_entries_max=2)

        def broken(number: int, kind: str) -> None:
            raise apsw.IOError

        disk.before = broken
        outcomes = await put(store, *(entry() for _ in range(5)))
        kinds = [type(one) for one in outcomes]
        unknown = kinds.count(OutcomeUnknown)
        assert 1 <= unknown <= 2
        assert kinds == [OutcomeUnknown] * unknown + [StoreFailed] * (5 - unknown)
        await store.close()

    asyncio.run(fail())


def test_a_failed_checkpoint_closes_the_store(path: Path, disk: Disk) -> None:
    async def fail() -> None:
        told: list[StoreError] = []
        store = await open_store(path, disk.name, failed=told.append)
        await fill(store, "s", 3)

        def broken(number: int, kind: str) -> None:
            raise apsw.IOError

        disk.before = broken
        await store.close()
        assert [type(one) for one in told] == [StoreFailed]
        store = await open_store(path)
        assert offsets(await read(store)) == [1, 2, 3]
        await store.close()

    asyncio.run(fail())


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


async def alive(path: Path, count: int) -> Backend:
    store = await open_store(path)
    await fill(store, "s", count)
    return store


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


@pytest.mark.parametrize("replace", [True, False])
def test_a_file_that_was_replaced_while_open_stops_the_store(replace: bool, path: Path) -> None:
    async def swap() -> None:
        told: list[StoreError] = []
        other = path.with_name("other.db")
        await (await alive(other, 2)).close()
        store = await open_store(path, failed=told.append)
        await fill(store, "s", 3)
        if replace:
            other.replace(path)
        else:
            path.unlink()
        assert [type(one) for one in await put(store, entry())] == [OutcomeUnknown]
        assert "replaced or removed" in str(told[0])
        with pytest.raises(StoreFailed):
            store.append(entry(), lambda *_: None)
        await store.close()

    asyncio.run(swap())


# Who may open it


@scenario
async def test_a_second_opener_is_refused_and_does_no_harm(path: Path) -> None:
    store = await alive(path, 3)
    assert f"is open in another process (pid {os.getpid()})" in await refusal_of(path)
    assert (await append(store)).offset == 4
    beside(path, ".witness").unlink()
    assert "is open in another process" in await refusal_of(path)
    await store.close()


@scenario
async def test_an_opener_in_another_process_is_refused(path: Path) -> None:
    store = await alive(path, 3)
    second = (
        "import asyncio, sys; from gapless.backends import open\n"
        "try: asyncio.run(open('sqlite:' + sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    told = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", second, str(path)], capture_output=True, text=True, check=True
    )
    assert "StoreRefused" in told.stdout
    assert f"is open in another process (pid {os.getpid()})" in told.stdout
    assert (await append(store)).offset == 4
    await store.close()


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Be somebody to whom permissions apply; `folder` and those above it stay reachable."""
    if os.geteuid() != 0:
        yield
        return
    for parent in (folder, *folder.parents):
        if parent.owner() == "root" and "pytest" in str(parent):
            parent.chmod(parent.stat().st_mode | 0o055)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_a_folder_that_cannot_be_written_is_refused(path: Path) -> None:
    path.parent.chmod(0o555)
    with unprivileged(path.parent):
        assert "cannot be written: Permission denied" in asyncio.run(refusal_of(path))
    path.parent.chmod(0o755)


def test_a_file_of_somebody_else_is_refused(path: Path) -> None:
    async def make() -> None:
        await (await alive(path, 3)).close()

    asyncio.run(make())
    path.chmod(0o400)
    beside(path, ".witness").chmod(0o666)
    path.parent.chmod(0o777)
    with unprivileged(path.parent):
        assert "may not be read and written by this user" in asyncio.run(refusal_of(path))


@scenario
async def test_a_folder_that_is_not_there_is_refused(path: Path) -> None:
    assert "is no folder" in await refusal_of(path / "below" / "store.db")
