"""Care of a file through a process that joined the one that owns it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gapless.backends.memory import Backend as Memory
from gapless.backends.sqlite import Offline
from gapless.core.errors import NotAvailable, OutcomeUnknown, StoreError, StoreRefused, Unavailable
from gapless.core.stream import Position
from gapless.ports import Care
from gapless.testing.conformance.places import append, entry, offsets, put, read
from tests.backends.sqlite.test_sharing import cut, opened, pair, shared, until
from tests.faults.stores import run

BIG = bytes(4_000)
COUNT = 5_000


class Watching:
    """Keeps what it is told of progress; the first time it is, something may be done."""

    def __init__(self, first: Callable[[], object] = lambda: None) -> None:
        self.told: list[tuple[int, int]] = []
        self._first = first

    def __call__(self, done: int, total: int) -> None:
        self.told.append((done, total))
        if len(self.told) == 1:
            self._first()


async def grown(path: Path, count: int = COUNT) -> tuple[Any, Any]:
    owner, joined = await pair(path)
    for start in range(0, count, 500):
        await put(owner, *(entry(f"s{n % 7}", BIG) for n in range(start, start + 500)))
    return owner, joined


def leftovers(path: Path) -> list[Path]:
    return list(path.parent.glob("*.care-*"))


@shared
async def test_a_backup_is_made_by_the_owner_and_watched_by_who_joined(path: Path) -> None:
    owner, joined = await grown(path)
    assert all(isinstance(store, Care) for store in (owner, joined))
    to = Path(await joined.aside("backup"))
    watching = Watching()
    await joined.backup(str(to), watching)
    assert (to.parent, await joined.free_bytes() > 0) == (path.parent, True)
    assert 2 < len(watching.told) <= 101
    assert watching.told == sorted(watching.told)
    assert run(Offline(str(to)).check()).messages == COUNT
    await joined.close()
    await owner.close()


@shared
async def test_who_joined_may_check_and_compact(path: Path) -> None:
    owner, joined = await grown(path)
    watching = Watching()
    assert (await joined.check(watching)).messages == COUNT
    assert watching.told
    await joined.trim("s0", 700)
    compacted = await joined.compact(watching)
    assert compacted.bytes_after < compacted.bytes_before
    assert (await append(joined)).offset == 1
    assert joined.epoch == owner.epoch
    await joined.close()
    await owner.close()


@shared
async def test_who_joined_may_restore_and_everybody_goes_on_in_the_new_generation(path: Path) -> None:
    owner, joined = await grown(path, 500)
    before = owner.epoch
    copy = await joined.aside("upload")
    await joined.backup(copy, Watching())
    assert (await append(joined, "later")).offset == 1
    await joined.restore(copy, keep=True, told=Watching())
    assert before != owner.epoch == joined.epoch
    assert offsets(await read(joined, "later")) == []
    third = await opened(path)
    assert (await append(third, "later")).epoch == (await append(joined, "later")).epoch == owner.epoch
    assert [generation.id for generation in await third.generations()] == [before, owner.epoch]
    assert path.with_name("app.db.before-restore").exists()
    assert not leftovers(path)
    for store in (third, joined, owner):
        await store.close()


@shared
async def test_a_damaged_file_is_refused_through_the_socket_too(path: Path) -> None:
    owner, joined = await pair(path)
    assert (await append(joined)).offset == 1
    bad = Path(await joined.aside("upload"))
    bad.write_bytes(b"no store at all")
    with pytest.raises(StoreRefused):
        await joined.restore(str(bad), keep=False, told=Watching())
    assert offsets(await read(joined)) == [1]
    await joined.close()
    await owner.close()


@shared
async def test_what_is_given_up_is_given_up_by_the_owner(path: Path) -> None:
    owner, joined = await grown(path)
    to = Path(await joined.aside("backup"))
    backup = asyncio.ensure_future(joined.backup(str(to), Watching(lambda: backup.cancel())))
    with pytest.raises(asyncio.CancelledError):
        await backup
    await joined.check(Watching())  # chores follow each other
    assert not to.exists()
    await joined.close()
    await owner.close()


@shared
async def test_a_restore_that_has_begun_is_finished_and_told_as_done(path: Path) -> None:
    owner, joined = await pair(path)
    assert (await append(joined)).offset == 1
    copy = await joined.aside("upload")
    await joined.backup(copy, Watching())
    before = owner.epoch
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ordinary = owner._care

    def care(*args: Any) -> Any:
        begun.set_result(None)
        return ordinary(*args)

    owner._care = care  # type: ignore[method-assign, assignment]
    restore = asyncio.ensure_future(joined.restore(copy, keep=False, told=Watching()))
    await begun
    restore.cancel()
    await restore
    assert before != joined.epoch == owner.epoch
    await joined.close()
    await owner.close()


@shared
async def test_a_backup_ends_with_the_process_that_asked_for_it(path: Path) -> None:
    owner, joined = await grown(path)
    to = Path(await joined.aside("backup"))
    backup = asyncio.ensure_future(joined.backup(str(to), Watching(lambda: cut(owner))))
    with pytest.raises(Unavailable, match="gone"):
        await backup
    await owner.check(Watching())
    assert not to.exists()
    await joined.close()
    await owner.close()


@shared
async def test_a_restore_whose_owner_goes_may_or_may_not_have_been_done(path: Path) -> None:
    owner, joined = await grown(path)
    copy = await joined.aside("upload")
    await joined.backup(copy, Watching())
    with pytest.raises(OutcomeUnknown):
        await joined.restore(copy, keep=False, told=Watching(lambda: cut(owner)))
    await joined.close()
    await owner.close()


@shared
async def test_who_takes_over_cares_for_the_file_itself(path: Path) -> None:
    owner, joined = await pair(path)
    assert (await append(joined)).offset == 1
    await owner.close()
    await until(lambda: joined._own is not None)
    assert (await joined.check(Watching())).messages == 1
    assert Path(await joined.aside("backup")).parent == path.parent
    await joined.close()


@shared
async def test_care_that_waits_for_an_owner_is_carried_out_by_the_next(path: Path) -> None:
    owner, joined = await pair(path)
    assert (await append(joined)).offset == 1
    joined._link.is_leaving = True  # type: ignore[union-attr]
    watching = Watching()
    check = asyncio.ensure_future(joined.check(watching))
    await asyncio.sleep(0)
    await owner.close()
    assert (await check).messages == 1
    assert watching.told
    await joined.close()


@shared
async def test_a_store_that_is_no_file_says_so_through_the_socket(path: Path) -> None:
    owner, joined = await pair(path)
    memory = await Memory.open("", owner._options)
    owner._host.store = memory
    with pytest.raises(NotAvailable, match="no file"):
        await joined.backup(str(path.with_name("copy.db")), Watching())
    await joined.close()
    await memory.close()
    await owner.close()


@shared
async def test_a_backup_that_cannot_be_written_is_told(path: Path) -> None:
    owner, joined = await pair(path)
    assert (await append(joined)).offset == 1
    with pytest.raises(StoreError, match="cannot be copied"):
        await joined.backup(str(path.parent / "no/such/folder.db"), Watching())
    position = Position(joined.epoch, 1)
    assert offsets(await read(joined, after=position)) == []
    await joined.close()
    await owner.close()
