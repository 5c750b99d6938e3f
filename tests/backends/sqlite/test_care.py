"""Backup, check, compact and restore of a store that is open and goes on."""

import asyncio
import shutil
from pathlib import Path

import apsw
import pytest

from gapless.backends import Options
from gapless.backends.sqlite import Backend, Offline, swapping
from gapless.backends.sqlite.database import Database
from gapless.core.errors import PositionLost, StoreError, StoreFailed, StoreRefused, Unavailable
from gapless.core.lineage import Fate
from gapless.core.stream import Position, Retention, Stored
from gapless.ports import Care
from gapless.testing.conformance.places import append, entry, fill, head, offsets, put, read
from tests.backends.crash_vfs import Disk
from tests.faults.stores import beside, flip, open_store, run, scenario
from tests.faults.stores import copy as killed

BIG = bytes(4_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def ignore(done: int, total: int) -> None:
    """Nobody watches."""


async def grown(path: Path, count: int = 300) -> Backend:
    """A store of about a megabyte."""
    store = await open_store(path)
    await put(store, *(entry(f"s{n % 7}", BIG) for n in range(count)))
    return store


def left_beside(path: Path) -> set[str]:
    """What is in the folder besides an open store."""
    return {file.name for file in path.parent.iterdir()} - {"store.db", "store.db-wal", "store.db.witness"}


@scenario
async def test_a_sqlite_store_can_be_cared_for(path: Path) -> None:
    store = await open_store(path)
    assert isinstance(store, Care)
    await store.close()


def test_a_backup_holds_what_was_appended_while_it_was_made(path: Path) -> None:
    database = Database(path, Options(ballast_bytes=0, free_bytes_min=0), None)
    database.write([entry(f"s{n % 7}", BIG) for n in range(1_000)])
    copy = path.parent / "copy.db"
    in_it = 0
    for number, (done, total) in enumerate(database.backup(copy)):
        assert 0 < done <= total
        if done < total:
            # To pages that were copied, and to new ones; brought from the log into the file now and then.
            database.write([entry("s0", b"%d" % number), entry("live", b"%d" % number)])
            in_it += 1
            if number % 4 == 3:
                database.checkpoint()
        else:
            database.write([entry("live", b"too late")])
    assert in_it > 10
    database.close()
    assert [file.name for file in path.parent.iterdir() if "copy" in file.name] == ["copy.db"]
    assert run(Offline(str(copy)).check()).wrong == 0

    async def look() -> None:
        restored = await open_store(copy)
        page = await read(restored, "live")
        assert [message.data for message in page.messages] == [b"%d" % number for number in range(in_it)]
        assert (await head(restored, "s0")).last == 143 + in_it
        await restored.close()

    asyncio.run(look())


@scenario
async def test_a_backup_survives_checkpoints_and_trims_meanwhile(path: Path) -> None:
    store = await grown(path, 600)
    copy = path.parent / "copy.db"
    trims: list[asyncio.Task[object]] = []

    def told(done: int, total: int) -> None:
        if len(trims) < 7:
            trims.append(asyncio.ensure_future(store.trim(f"s{len(trims)}", 50)))
        store.append([entry("live", BIG, retention=Retention(count=3))], lambda entries, outcomes: None)

    await store.backup(str(copy), told)
    await asyncio.gather(*trims)
    await store.close()
    checked = run(Offline(str(copy)).check())
    assert checked.wrong == 0, checked


@scenario
async def test_a_backup_that_is_given_up_leaves_nothing(path: Path) -> None:
    store = await grown(path, 5_000)
    backup = asyncio.create_task(store.backup(str(path.parent / "copy.db"), ignore))
    await asyncio.sleep(0)
    backup.cancel()
    with pytest.raises(asyncio.CancelledError):
        await backup
    await store.check(ignore)  # chores follow each other
    assert not left_beside(path)
    assert (await append(store)).offset == 1
    await store.close()


@scenario
async def test_a_backup_ends_with_the_store(path: Path) -> None:
    store = await grown(path, 5_000)
    backup = asyncio.create_task(store.backup(str(path.parent / "copy.db"), ignore))
    await asyncio.sleep(0)  # a slice or two of a hundred
    await store.close()
    with pytest.raises(StoreFailed):
        await backup
    assert left_beside(path) == set()
    with pytest.raises(StoreFailed):
        await store.check(ignore)


@scenario
async def test_a_backup_that_cannot_be_written_harms_nothing(path: Path) -> None:
    store = await grown(path)
    with pytest.raises(StoreError, match="cannot be copied"):
        await store.backup(str(path.parent / "no/such/folder.db"), ignore)
    assert (await append(store)).offset == 1
    await store.close()


@pytest.mark.parametrize("mode", [None, 0o640])
def test_files_are_their_owners_alone_unless_somebody_said_otherwise(path: Path, mode: int | None) -> None:
    if mode is not None:
        path.touch(mode)
    copy = path.with_name("backup.db")

    async def modes() -> dict[str, int]:
        store = await grown(path)
        await store.backup(str(copy), ignore)
        await store.compact(ignore)
        await append(store, "s0")
        found = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        await store.restore(str(copy), keep=False, told=ignore)
        found["restored"] = path.stat().st_mode & 0o777
        await store.close()
        return found

    found = asyncio.run(modes())
    assert found.pop("store.db") == found.pop("store.db-wal") == found.pop("restored") == (mode or 0o600)
    assert set(found) == {"store.db.witness", "backup.db"}
    assert set(found.values()) == {0o600}


@scenario
async def test_leftovers_go_when_the_store_is_opened(path: Path) -> None:
    store = await grown(path)
    left = Path(await store.aside("upload"))
    assert left.parent == path.parent
    await store.close()
    left.write_bytes(b"half a file")
    await (await open_store(path)).close()
    assert not left.exists()


# Check


@scenario
async def test_a_check_counts_what_is_there_and_finds_nothing(path: Path) -> None:
    store = await grown(path)
    await put(store, *(entry("kept", retention=Retention(count=10)) for _ in range(50)))
    await store.trim("s1", 20)
    await store.erase("s2", 3)
    checked = await store.check(ignore)
    assert (checked.wrong, checked.findings, checked.streams) == (0, [], 8)
    assert checked.messages >= 300 - 20 + 10
    await store.close()
    assert run(Offline(str(path)).check()) == checked


@scenario
async def test_a_flipped_byte_anywhere_in_a_message_is_found(path: Path) -> None:
    store = await open_store(path)
    await put(store, *(entry("s", b"the message number %d" % number) for number in range(20)))
    await store.close()
    start = path.read_bytes().index(b"the message number 7")
    sound = path.read_bytes()
    for at in range(start, start + len(b"the message number 7")):
        path.write_bytes(sound)
        flip(path, at)
        store = await open_store(path)
        checked = await store.check(ignore)
        assert checked.wrong == 1
        assert "message 8 of 's'" in checked.findings[0]
        assert "checksum" in checked.findings[0]
        await store.close()


@scenario
async def test_a_flipped_byte_anywhere_in_a_row_is_found(path: Path) -> None:
    store = await open_store(path)
    await put(store, *(entry("s", b"the message number %d" % number) for number in range(20)))
    await store.close()
    sound = path.read_bytes()
    here = sound.index(b"the message number 7")
    after = sound.index(b"the message number 6")  # rows are laid down from the end of a page
    for at in range(here, after):
        path.write_bytes(sound)
        flip(path, at)
        assert run(Offline(str(path)).check()).wrong, f"byte {at - here} of the row"


@scenario
async def test_what_is_missing_or_disagrees_is_found(path: Path) -> None:
    cases = {
        'delete from log where stream = 1 and "offset" in (4, 5)': "messages 4–5 of 's0' missing",
        "update streams set last = last + 1 where id = 2": "message 44 of 's1' missing",
        "update streams set last = last - 1 where id = 2": "lies beyond the end of its stream, 42",
        "delete from streams where id = 3": "belongs to no stream",
        "update store set seq = 10": "the store's head says 10 messages, but there is number 300",
        "update log set before = before + 1 where seq = 100": "bytes lie before it",
        "update streams set floor = last + 1 where id = 4": "has its floor at",
    }
    store = await grown(path)
    await store.close()
    sound = path.read_bytes()
    for statement, told in cases.items():
        path.write_bytes(sound)
        connection = apsw.Connection(str(path))
        connection.execute(statement)
        connection.close()
        checked = run(Offline(str(path)).check())
        assert any(told in finding for finding in checked.findings), (statement, checked)


# Compact


@scenario
async def test_compacting_gives_room_back_and_nobody_notices(path: Path) -> None:
    store = await grown(path, 2_000)
    before = store.epoch
    for number in range(7):
        await store.trim(f"s{number}", 270)
    while (await store.check(ignore)).messages > 150:
        await append(store, "tick")
    heads = await store.heads([f"s{number}" for number in range(7)])
    compacted = await store.compact(ignore)
    assert compacted.bytes_after < compacted.bytes_before / 4
    assert path.stat().st_size == compacted.bytes_after
    assert store.epoch == before
    assert await store.heads([f"s{number}" for number in range(7)]) == heads
    assert (await append(store, "s0")).offset == heads.heads["s0"].last + 1
    assert not left_beside(path)
    assert (await store.check(ignore)).wrong == 0
    await store.close()
    store = await open_store(path)
    assert [generation.fate for generation in await store.generations()] == [Fate.CLEAN, Fate.CLEAN]
    assert offsets(await read(store, "s0", after=Position(before, 280)))[0] == 281
    await store.close()


@scenario
async def test_what_kill_9_leaves_after_compacting_is_whole(path: Path) -> None:
    store = await grown(path, 500)
    old = store.epoch
    await store.compact(ignore)
    await put(store, *(entry("s0", BIG) for _ in range(10)))
    left = path.parent / "left" / "store.db"
    left.parent.mkdir()
    for suffix in ("", "-wal", ".witness"):
        shutil.copy(beside(path, suffix), beside(left, suffix))
    await store.close()
    after = await open_store(left)
    assert (await after.generations())[-1].fate is Fate.CLEAN
    assert offsets(await read(after, "s0", after=Position(old, 71)))[-1] == 82
    assert (await after.check(ignore)).wrong == 0
    await after.close()


# Restore


@scenario
async def test_a_restored_backup_takes_the_place_and_tells_who_was_further(path: Path) -> None:
    store = await grown(path)
    old = store.epoch
    copy = Path(await store.aside("copy"))
    await store.backup(str(copy), ignore)
    await fill(store, "s0", 10)
    before: list[object] = []
    store.append([entry("s0")], lambda entries, outcomes: before.extend(outcomes))
    await store.restore(str(copy), keep=True, told=ignore)
    [stored] = before
    assert isinstance(stored, Stored)
    assert (stored.epoch, stored.offset) == (old, 43 + 11)
    assert store.epoch != old
    assert (await head(store, "s0")).last == 43
    assert (await store.generations())[-1].fate is Fate.LOSSY
    with pytest.raises(PositionLost):
        await read(store, "s0", after=Position(old, 50))
    assert (await append(store, "s0")).offset == 44
    kept = beside(path, ".before-restore")
    assert left_beside(path) == {kept.name}
    await store.close()
    former = await open_store(kept)
    assert (await head(former, "s0")).last == 54
    await former.close()


@scenario
async def test_a_backup_that_lacks_nothing_costs_no_reader_its_position(path: Path) -> None:
    store = await grown(path)
    old = store.epoch
    copy = Path(await store.aside("copy"))
    await store.backup(str(copy), ignore)
    await store.restore(str(copy), keep=False, told=ignore)
    assert (await store.generations())[-1].fate is Fate.CLEAN
    assert offsets(await read(store, "s0", after=Position(old, 40))) == [41, 42, 43]
    assert not left_beside(path)
    await store.close()


@scenario
async def test_a_file_that_may_not_be_restored_changes_nothing(path: Path) -> None:
    store = await grown(path)
    epoch = store.epoch
    bad = Path(await store.aside("upload"))
    copy = path.parent / "copy.db"
    await store.backup(str(copy), ignore)
    sound = copy.read_bytes()
    for content, told in (
        (b"", "header is damaged"),
        (b"a letter\n" * 1_000, "no SQLite database"),
        (sound[: len(sound) // 2], "damaged"),
        (sound[:200_000] + b"x" * 100 + sound[200_100:], "damaged"),
    ):
        bad.write_bytes(content)
        with pytest.raises(StoreRefused, match=told):
            await store.restore(str(bad), keep=True, told=ignore)
        assert not bad.exists()
    assert store.epoch == epoch
    assert (await append(store, "s0")).offset == 44
    assert left_beside(path) == {"copy.db"}
    await store.close()


@scenario
async def test_the_former_file_is_put_back_when_the_new_one_does_not_open(
    path: Path,
) -> None:
    store = await grown(path)
    epoch = store.epoch
    copy = Path(await store.aside("copy"))
    await store.backup(str(copy), ignore)
    sound = copy.read_bytes()

    def damage(done: int, total: int) -> None:
        if done == total and copy.exists():  # it has been checked
            copy.write_bytes(bytes(100) + sound[100:])

    with pytest.raises(StoreRefused):
        await store.restore(str(copy), keep=True, told=damage)
    assert store.epoch == epoch
    assert (await head(store, "s0")).last == 43
    assert (await append(store, "s0")).offset == 44
    await store.close()


def test_what_is_committed_before_a_backup_is_done_is_in_it(path: Path) -> None:
    database = quiet(path)
    database.write([entry(data=BIG)] * 300)
    copy = path.with_name("copy.db")
    for _ in database.backup(copy):
        database.write([entry()])
    last = database.log.seq
    database.close()
    database = quiet(copy)
    assert database.log.seq == last > 300
    database.close()


@scenario
async def test_a_backup_to_where_no_file_can_be_leaves_the_store_open(path: Path) -> None:
    store = await grown(path)
    folder = path.parent / "folder"
    folder.mkdir()
    with pytest.raises(StoreError, match="cannot be copied"):
        await store.backup(str(folder), ignore)
    assert (await append(store, "s0")).offset == 44
    await store.close()


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("streams", "name", "cast(x'ff' as text)"), ("generations", "fate", "'clecn'")],
)
def test_text_that_is_damaged_keeps_a_backup_from_being_restored(
    path: Path, table: str, column: str, value: str
) -> None:
    async def damaged() -> None:
        store = await grown(path)
        bad = Path(await store.aside("upload"))
        await store.backup(str(bad), ignore)
        connection = apsw.Connection(str(bad))
        connection.execute(f"update {table} set {column} = {value} where rowid = 1")
        connection.close()
        with pytest.raises(StoreRefused, match="is damaged"):
            await store.restore(str(bad), keep=True, told=ignore)
        assert (await append(store, "s0")).offset == 44
        await store.close()

    asyncio.run(damaged())


@scenario
async def test_a_running_store_is_checked_to_its_end_though_a_name_is_damaged(path: Path) -> None:
    await (await grown(path)).close()
    connection = apsw.Connection(str(path))
    connection.execute("update streams set name = cast(x'ff' as text) where id = 1")
    connection.close()
    store = await open_store(path)
    assert (await store.check(ignore)).wrong
    assert (await append(store, "s1")).offset == 44
    await store.close()


def quiet(path: Path) -> Database:
    """A store that is open, with nobody but the test to use it."""
    return Database(path, Options(ballast_bytes=0, free_bytes_min=0), None)


def backed_up(database: Database) -> Path:
    """A backup of it, to which three messages of the store `s` are added after it was taken."""
    to = database.path.with_name("copy.db")
    run(database.backup(to))
    database.write([entry()] * 3)
    return to


def test_a_swap_that_fails_late_leaves_the_former_file_in_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = quiet(path)
    source, epoch = backed_up(database), database.epoch
    synced: list[Path] = []

    def sync(folder: Path) -> None:
        synced.append(folder)
        if len(synced) == 2:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(swapping, "sync", sync)
    with pytest.raises(StoreError):
        run(database.restore(source, keep=True))
    [stored] = database.write([entry()])
    assert isinstance(stored, Stored)
    assert (stored.epoch, stored.offset) == (epoch, 4)
    database.close()


def test_a_restore_that_fails_keeps_back_what_stands_behind_a_refused_message(path: Path) -> None:
    database = quiet(path)
    database.write([entry(origin="o", expected=Position("unknown", 7))])
    bad = path.with_name("bad")
    bad.write_bytes(b"no store")
    with pytest.raises(StoreError):
        run(database.restore(bad, keep=True))
    [outcome] = database.write([entry(origin="o")])
    assert type(outcome) is Unavailable
    database.close()


def test_compacting_leaves_the_store_alone_that_a_restore_made_way_for(path: Path) -> None:
    database = quiet(path)
    run(database.restore(backed_up(database), keep=True))
    run(database.compact())
    database.close()
    run(Offline(str(path)).compact())
    former = quiet(beside(path, swapping.BEFORE))
    assert former.log.seq == 3
    former.close()


@pytest.mark.parametrize("what", ["compact", "restore"])
def test_no_journal_that_a_kill_would_leave_is_written_beside_the_store(path: Path, what: str) -> None:
    """A journal beside a store is not acted upon: the store would be refused."""
    disk = Disk(f"journals of {what}")
    database = Database(path, Options(ballast_bytes=0, free_bytes_min=0), disk.name)
    source = in_rollback_mode(backed_up(database))
    seen: set[str] = set()
    disk.before = lambda number, kind: seen.update(disk.images)
    run(database.compact() if what == "compact" else database.restore(source, keep=False))
    database.close()
    assert str(beside(path, "-wal")) in seen
    assert str(beside(path, "-journal")) not in seen


def test_a_file_restored_without_a_server_is_in_the_mode_in_which_it_is_opened(path: Path) -> None:
    database = quiet(path)
    source = in_rollback_mode(backed_up(database))
    database.close()
    run(Offline(str(path)).restore(str(source), keep=False))
    assert path.read_bytes()[18:20] == b"\2\2"
    assert not left_beside(path) - {source.name}


def in_rollback_mode(backup: Path) -> Path:
    """The backup as other programs write it."""
    connection = apsw.Connection(str(backup))
    assert connection.execute("pragma journal_mode = delete").fetchall() == [("delete",)]
    connection.close()
    return backup


def test_compacting_without_a_server_forgets_no_key(path: Path) -> None:
    """How long a key is held is configured, and this command does not know how."""
    options = Options(now_ms=lambda: 1_000, ballast_bytes=0, free_bytes_min=0)
    database = Database(path, options, None)
    database.write([entry(key="k")])
    database.close()
    run(Offline(str(path)).compact())
    connection = apsw.Connection(str(path))
    assert connection.execute("select sum(keys) from key_hours").fetchall() == [(1,)]
    connection.close()


@scenario
async def test_what_is_in_the_log_of_a_source_is_restored_too(path: Path) -> None:
    await (await grown(path)).close()
    store = await open_store(path)
    await fill(store, "s0", 10)
    source = killed(path, path.parent / "killed" / "store.db")
    await store.close()
    assert beside(source, "-wal").stat().st_size
    for target in (path.parent / "new.db", source):  # also onto itself
        run(Offline(str(target)).restore(str(source), keep=True))
        store = await open_store(target)
        assert (await head(store, "s0")).last == 53
        await store.close()
