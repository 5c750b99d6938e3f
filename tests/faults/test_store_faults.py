"""Real faults around the file: a disk that is full or fails, and others who want the file."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from gapless.backends import Options
from gapless.backends.sqlite import Backend
from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.log import Order, Outcome
from gapless.core.errors import (
    GaplessError,
    OutcomeUnknown,
    StoreError,
    StoreFailed,
    StoreFull,
)
from gapless.core.lineage import Fate
from gapless.core.stream import Head, Position, Stored
from gapless.testing.conformance.places import append, entry, fill, head, offsets, put, read
from tests.backends.crash_vfs import Disk
from tests.faults.stores import alive, beside, open_store, refusal_of, scenario

MEBI = 1024 * 1024
NOBODY = 65_534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


# A disk without room


@pytest.fixture
def small_disk(mount_small: Callable[[int], Path]) -> Path:
    """A file system of 48 MiB."""
    return mount_small(48)


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
        use_up(small_disk)  # its log, which was checked in, has left room
        assert await read_all(store) == list(range(300))
        assert isinstance((await put(store, entry()))[0], StoreFull)
        await store.close()

    asyncio.run(full())


# What a small disk has to do with: the options of `gapless serve`.
USUAL = {name: getattr(Options(), name) for name in ("ballast_bytes", "free_bytes_min")}


@pytest.mark.parametrize("mebibytes", [8, 32, 64, 95])
def test_a_small_disk_that_was_full_takes_appends_again_and_again(
    mount_small: Callable[[int], Path], mebibytes: int
) -> None:
    """With less than ballast and reserve have elsewhere; what was trimmed is room enough, inside the file."""
    path = mount_small(mebibytes) / "store.db"

    async def full() -> None:
        store = await open_store(path, **USUAL)
        for _ in range(3):
            assert await append_until_full(store) > 16 * mebibytes  # half of the disk
            last = (await head(store)).last
            await store.trim("s", last)
            outcomes = [(await put(store, entry()))[0] for _ in range(200)]
            first = next(n for n, outcome in enumerate(outcomes) if isinstance(outcome, Stored))
            assert all(isinstance(outcome, Stored) for outcome in outcomes[first:])
        await store.close()

    asyncio.run(full())


@pytest.mark.parametrize("mebibytes", [48, 64, 95])
def test_a_store_that_was_killed_on_a_small_disk_opens_when_that_is_full(
    mount_small: Callable[[int], Path], mebibytes: int
) -> None:
    """Its ballast has room for all that a log may hold: its limit, and one commit more."""
    path = mount_small(mebibytes) / "store.db"

    async def full() -> None:
        database = Database(path, Options(), None)
        number = 0
        while database.wal_pages < database.disk.wal_pages_max:
            database.write([entry(data=b"%06d" % (number + one) + bytes(60_000)) for one in range(70)])
            number += 70
        database.abandon()
        use_up(path.parent)
        store = await open_store(path, **USUAL)
        assert await read_all(store) == list(range(number))
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
            store.append([entry()], lambda *_: None)
        with pytest.raises(StoreFailed):
            await read(store)
        await store.close()
        store = await open_store(path)
        assert [message.data for message in (await read(store)).messages][:3] == [b"1", b"2", b"3"]
        assert (await store.generations())[-1].fate is Fate.CLEAN
        await store.close()

    asyncio.run(fail_once())


def test_a_store_that_goes_on_after_a_failed_sync_is_caught(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of semantics 10: what the system failed to write it may have forgotten, and says so once."""
    transact = Database._transact

    def go_on(self: Database, orders: Sequence[Order]) -> list[Outcome]:
        try:
            return transact(self, orders)
        except apsw.IOError as error:
            self._undo()
            return [OutcomeUnknown(str(error))] * len(orders)

    monkeypatch.setattr(Database, "_transact", go_on)
    with pytest.raises(AssertionError):
        test_a_failed_commit_closes_the_store_for_good("sync", path, disk)


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


# Others who want the file


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
            store.append([entry()], lambda *_: None)
        await store.close()

    asyncio.run(swap())


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
async def test_a_path_that_names_no_file_is_refused(path: Path) -> None:
    assert "is no folder" in await refusal_of(path / "below" / "store.db")
    path.mkdir()
    assert "Is a directory" in await refusal_of(path)
