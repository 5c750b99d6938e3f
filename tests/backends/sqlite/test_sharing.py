"""Who owns a file, who joins it, and what becomes of calls when the owner goes."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from gapless import Gapless, backends
from gapless.backends import Options
from gapless.backends.sqlite.sharing import Owner
from gapless.core.errors import (
    BadRequest,
    OutcomeUnknown,
    PositionConflict,
    PositionLost,
    StoreFailed,
    StoreRefused,
    TooManyRequests,
    Unavailable,
)
from gapless.core.jobs import Deed, Job, Lease, QueueOptions, Settlement, State
from gapless.core.stream import Message, Position
from gapless.ports import Store
from gapless.sharing import frames
from gapless.sharing.calls import CALLS
from gapless.sharing.joined import Joined
from gapless.testing.conformance.places import append, entry, head, offsets, put, read

JOBS = QueueOptions()


def shared(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path / "app.db"))  # type: ignore[arg-type]

    run.__name__ = test.__name__
    return run


async def opened(path: Path, **options: Any) -> Store:
    return await backends.open(
        f"sqlite:{path}", Options(**{"ballast_bytes": 0, "free_bytes_min": 0} | options)
    )


async def pair(path: Path, **options: Any) -> tuple[Owner, Joined]:
    owner, joined = await opened(path), await opened(path, **options)
    assert isinstance(owner, Owner)
    assert isinstance(joined, Joined)
    return owner, joined


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - other threads and the kernel are waited for
            await asyncio.sleep(0)


def cut(owner: Owner) -> None:
    """End the connections of those who joined, as if the owner was gone, without a word."""
    for guest in list(owner.bus.guests):
        guest.cut()


# Owning and joining


@shared
async def test_the_first_owns_the_file_and_the_second_joins_it(path: Path) -> None:
    owner, joined = await pair(path)
    assert (joined.epoch, joined.durability, joined.shared) == (owner.epoch, owner.durability, True)
    assert (await append(joined)).offset == 1
    assert (await append(owner)).offset == 2
    assert offsets(await read(joined)) == offsets(await read(owner)) == [1, 2]
    assert joined.statistics().commits == owner.statistics().commits == 2
    await joined.close()
    await owner.close()


@shared
async def test_an_owner_that_nobody_joined_is_alone(path: Path) -> None:
    owner = await opened(path)
    assert (owner.shared, owner.bus and owner.bus.alone) == (False, True)
    joined = await opened(path)
    assert (owner.shared, owner.bus and owner.bus.alone) == (True, False)
    await joined.close()
    await until(lambda: bool(owner.bus and owner.bus.alone))
    await owner.close()


@shared
async def test_only_the_same_user_may_connect(path: Path) -> None:
    owner = await opened(path)
    assert path.with_name("app.db.sock").stat().st_mode & 0o777 == 0o600
    await owner.close()


@shared
async def test_a_process_of_another_user_is_sent_away(path: Path) -> None:
    owner = await opened(path)
    owner._host.may_join = lambda connected: False  # type: ignore[attr-defined]
    fast = iter(range(10**12, 10**15, 10**9))
    with pytest.raises(StoreRefused, match="which cannot be joined"):
        await opened(path, elapsed_ns=lambda: next(fast))
    assert (await append(owner)).offset == 1
    await owner.close()


@shared
async def test_a_socket_that_a_dead_owner_left_is_replaced(path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path.with_name("app.db.sock")))
    stale.close()
    owner, joined = await pair(path)
    assert (await append(joined)).offset == 1
    await joined.close()
    await owner.close()
    assert sorted(os.listdir(path.parent)) == ["app.db", "app.db.witness"]


@shared
async def test_a_socket_of_another_file_is_not_joined(path: Path) -> None:
    other = await opened(path.with_name("other.db"))
    owner = await opened(path)
    path.with_name("app.db.sock").unlink()
    path.with_name("other.db.sock").rename(path.with_name("app.db.sock"))
    fast = iter(range(10**12, 10**15, 10**9))
    with pytest.raises(StoreRefused, match="which cannot be joined"):
        await opened(path, elapsed_ns=lambda: next(fast))
    await owner.close()
    await other.close()


@shared
async def test_a_path_that_is_too_long_for_a_socket_is_reached_all_the_same(path: Path) -> None:
    folder = path.parent / ("f" * 100)
    folder.mkdir()
    owner, joined = await pair(folder / "app.db")
    assert (await append(joined)).offset == 1
    await joined.close()
    assert (folder / "app.db.sock").is_socket()
    await owner.close()


@shared
async def test_an_owner_goes_on_alone_where_it_can_make_no_socket(path: Path) -> None:
    path = path.with_name("n" * 120 + ".db")
    owner = await opened(path)
    assert (await append(owner)).offset == 1
    await owner.close()


def test_that_nobody_can_join_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = "n" * 120 + ".db"

    async def scenario() -> None:
        await (await opened(tmp_path / name)).close()

    asyncio.run(scenario())
    assert f"other processes cannot join {tmp_path / name}" in caplog.text
    assert "too long" in caplog.text


@shared
async def test_another_version_of_sharing_is_refused(path: Path) -> None:
    owner = await opened(path)
    welcome = owner._host.welcome()  # type: ignore[attr-defined]
    other = frames.Welcome(frames.VERSION + 1, *list(_fields(welcome))[1:])
    owner._host.welcome = lambda: other  # type: ignore[attr-defined]
    with pytest.raises(StoreRefused, match=f"version {frames.VERSION + 1}, this one in version"):
        await opened(path)
    await owner.close()


def _fields(welcome: frames.Welcome) -> list[Any]:
    return [getattr(welcome, name) for name in welcome.__struct_fields__]


@shared
async def test_who_says_what_cannot_be_read_is_cut_off_and_the_others_go_on(path: Path) -> None:
    owner, joined = await pair(path)
    _, writer = await asyncio.open_unix_connection(str(path.with_name("app.db.sock")))
    await until(lambda: len(owner.bus.guests) == 2)
    writer.write(b"\x00\x00\x00\x05GET /" + b"\xff" * 8)
    await until(lambda: len(owner.bus.guests) == 1)
    writer.close()
    assert (await append(joined)).offset == 1
    await joined.close()
    await owner.close()


@shared
async def test_who_takes_no_answers_does_not_keep_an_owner_from_closing(path: Path) -> None:
    owner = await opened(path, after=_at_once)
    await append(owner, "s", b"x" * 60_000)
    stuck = socket.socket(socket.AF_UNIX)
    stuck.connect(str(path.with_name("app.db.sock")))
    kind = CALLS["read"].kind
    said = [kind(number, "s", limit_messages=1, limit_bytes=1) for number in range(1, 101)]
    stuck.sendall(b"".join(frames.frame(one) for one in said))
    assert isinstance(owner, Owner)
    await until(lambda: any(guest.is_slow for guest in owner.bus.guests))
    await owner.close()
    stuck.close()


# Errors, limits, hints


@shared
async def test_errors_come_as_they_are(path: Path) -> None:
    owner, joined = await pair(path)
    await append(joined)
    [refused] = await put(joined, entry(expected=Position(joined.epoch, 7)))
    assert isinstance(refused, PositionConflict)
    with pytest.raises(PositionLost):
        await read(joined, after=Position("0" * 16, 1))
    [lost] = await joined.extend([Lease("1-x", "x")], 1_000)
    assert lost.code == "lease_lost"  # type: ignore[union-attr]
    with pytest.raises(BadRequest):
        await read(joined, "\ud800")
    await joined.close()
    await owner.close()


@shared
async def test_what_one_says_is_bounded(path: Path) -> None:
    owner, joined = await pair(path, writer_entries_max=2)
    joined.append([entry(), entry()], lambda *told: None)
    with pytest.raises(TooManyRequests):
        joined.append([entry()], lambda *told: None)
    await head(joined)
    assert (await append(joined)).offset == 3
    await joined.close()
    await owner.close()


@shared
async def test_a_call_that_comes_too_late_is_not_begun(path: Path) -> None:
    owner, joined = await pair(path, elapsed_ns=lambda: 0)
    with pytest.raises(Unavailable, match="too late"):
        await append(joined)
    assert (await head(owner)).last == 0
    await joined.close()
    await owner.close()


@shared
async def test_jobs_of_one_process_are_heard_of_in_the_others(path: Path) -> None:
    owner, joined = await pair(path)
    third = await opened(path)
    heard: list[tuple[int, str]] = []
    for number, store in enumerate((owner, joined, third)):
        store.hear_ready(lambda queue, number=number: heard.append((number, queue)))  # type: ignore[misc]
    await joined.declare("q", JOBS)
    heard.clear()
    await joined.enqueue([[Job("q", b"1")]])
    await until(lambda: {(0, "q"), (1, "q"), (2, "q")} <= set(heard))
    for store in (third, joined, owner):
        await store.close()


@shared
async def test_a_ring_reaches_all_the_others(path: Path) -> None:
    owner, joined = await pair(path)
    third = await opened(path)
    heard: list[tuple[str, str]] = []
    for name, store in (("owner", owner), ("joined", joined), ("third", third)):
        assert store.bus is not None
        store.bus.listen(lambda stream, last, message, name=name: heard.append((name, stream)))  # type: ignore[misc]
    last, message = Position(joined.epoch, 1), Message(1, 1, b"x")
    joined.bus.ring("s", last, message)
    await until(lambda: set(heard) == {("owner", "s"), ("third", "s")})
    owner.bus.ring("t", last, None)
    await until(lambda: {("joined", "t"), ("third", "t")} <= set(heard))
    assert ("owner", "t") not in heard
    for each in (third, joined, owner):
        await each.close()


@shared
async def test_a_message_of_one_process_reaches_who_follows_in_another(path: Path) -> None:
    async with Gapless(f"sqlite:{path}") as here, Gapless(f"sqlite:{path}") as there:
        for ours, theirs in ((here, there), (there, here)):
            following = theirs.subscribe("chat")
            first = asyncio.ensure_future(anext(following))
            number = 0
            while not first.done():
                number += 1
                await ours.publish("chat", number)
            assert (await first).data in range(number + 1)
            await following.aclose()


# Takeover


@shared
async def test_one_who_joined_takes_over_from_an_owner_that_closes(path: Path) -> None:
    owner, joined = await pair(path)
    before = await append(joined)
    heard: list[str] = []
    joined.hear_ready(heard.append)
    calls = [asyncio.ensure_future(append(joined)) for _ in range(100)]
    await owner.close()
    assert sorted([(await call).offset for call in calls]) == list(range(2, 102))
    await until(lambda: joined.epoch != before.epoch)
    assert offsets(await read(joined, after=Position(before.epoch, 1))) == list(range(2, 102))
    third = await opened(path)
    assert isinstance(third, Joined)
    await third.declare("q", JOBS)
    await third.enqueue([[Job("q", b"1")]])
    await until(lambda: "q" in heard)
    assert joined.statistics().commits == third.statistics().commits > 0
    await third.close()
    await joined.close()


@shared
async def test_what_waited_for_an_owner_is_appended_before_what_comes_once_there_is_one(path: Path) -> None:
    owner, joined = await pair(path)
    take_over, told = joined._take_over, asyncio.Event()

    def and_append(store: Store) -> None:
        take_over(store)
        joined.append([entry(data=b"late")], lambda entries, outcomes: told.set())

    with patch.object(joined, "_take_over", and_append):
        await owner.close()
        waiting = [asyncio.ensure_future(append(joined, data=b"%d" % number)) for number in range(3)]
        await told.wait()
    for each in waiting:
        await each
    assert [message.data for message in (await read(joined)).messages] == [b"0", b"1", b"2", b"late"]
    await joined.close()


@shared
async def test_what_is_in_flight_without_a_key_is_unknown_and_with_one_is_said_again(path: Path) -> None:
    owner, joined = await pair(path)
    await joined.declare("q", JOBS)
    await joined.enqueue([[Job("q", b"1"), Job("q", b"2")]])
    claimed = await joined.claim("q", worker="w", limit=2)
    calls = [
        asyncio.ensure_future(call)
        for call in (
            append(joined),
            append(joined, key="k"),
            joined.enqueue([[Job("q", b"3")]]),
            joined.enqueue([[Job("q", b"4", message_id="m")]]),
            joined.settle([Settlement(claimed[0].id, claimed[0].fence, Deed.ACK)]),
            joined.claim("q", worker="w", limit=1, request="r"),
            joined.claim("q", worker="w", limit=1),
            head(joined),
            joined.purge("q", "dead", None, limit=1),  # type: ignore[arg-type]
        )
    ]
    await until(lambda: len(joined._flights) == len(calls) and not joined._link._told)  # type: ignore[union-attr]
    cut(owner)
    told = await asyncio.gather(*calls, return_exceptions=True)
    unknown = [isinstance(one, OutcomeUnknown) for one in told]
    assert unknown == [True, False, True, False, False, False, True, False, True]
    assert not any(isinstance(one, Exception) for one, lost in zip(told, unknown, strict=True) if not lost)
    await joined.close()
    await owner.close()


@pytest.mark.parametrize("leaves", [True, False])
def test_what_its_caller_has_given_up_is_asked_of_no_other_owner(tmp_path: Path, leaves: bool) -> None:
    async def scene(path: Path) -> None:
        owner, joined = await pair(path)
        await joined.declare("q", JOBS)
        [[enqueued]] = await joined.enqueue([[Job("q", b"1")]])  # type: ignore[misc]
        for guest in owner.bus.guests:
            guest._transport.pause_reading()
        claim = asyncio.ensure_future(joined.claim("q", worker="w", limit=1, request="r"))
        await until(lambda: len(joined._flights) == 1)
        claim.cancel()
        await asyncio.wait([claim])
        if leaves:
            await owner.close()
        else:
            cut(owner)
        view = await joined.look(enqueued.id)
        assert (view.state, view.attempt) == (State.WAITING, 0)
        await joined.close()
        if not leaves:
            await owner.close()

    asyncio.run(scene(tmp_path / "app.db"))


@shared
async def test_what_an_origin_sent_behind_a_lost_message_is_not_stored(path: Path) -> None:
    owner, joined = await pair(path)
    await append(joined)
    origin = object()
    calls = asyncio.ensure_future(
        put(joined, entry(origin=origin), entry(key="k", origin=origin), entry(key="l", origin=object()))
    )
    await until(lambda: len(joined._flights) == 3 and not joined._link._told)  # type: ignore[union-attr]
    cut(owner)
    told = await calls
    assert [type(one).__name__ for one in told] == ["OutcomeUnknown", "OutcomeUnknown", "Stored"]
    await joined.close()
    await owner.close()


@shared
async def test_what_a_refused_origin_had_on_its_way_is_refused_and_nothing_after_it(path: Path) -> None:
    owner, joined = await pair(path)
    origin, wrong = object(), Position(joined.epoch, 9)
    first = await put(
        joined, entry(origin=origin, expected=wrong), entry(origin=origin), entry("t", origin=origin), entry()
    )
    assert [type(one).__name__ for one in first] == ["PositionConflict", "Unavailable", "Stored", "Stored"]
    assert (await append(joined, origin=origin)).offset == 2
    await joined.close()
    await owner.close()


@shared
async def test_without_an_owner_calls_end_and_closing_does_not_wait(path: Path) -> None:
    owner, joined = await pair(path, after=_at_once)
    owner._host.may_join = lambda connected: False
    cut(owner)
    with pytest.raises(Unavailable):
        await head(joined)
    waiting = asyncio.ensure_future(append(joined))
    await asyncio.sleep(0)
    await joined.close()
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(StoreFailed):
        await head(joined)
    with pytest.raises(StoreFailed):
        joined.append([entry()], lambda *told: None)
    await owner.close()


def _at_once(delay_ms: int, callback: Callable[[], object]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(delay_ms / 1_000_000, callback)


@shared
async def test_a_store_that_fails_under_its_owner_is_opened_by_one_who_joined(path: Path) -> None:
    owner, joined = await pair(path)
    await append(joined)
    former = owner.epoch
    path.rename(path.with_name("moved.db"))
    path.with_name("moved.db").rename(path)
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    assert [type(one) for one in await put(joined, entry())] == [OutcomeUnknown]
    await until(lambda: joined._own is not None or joined._error is not None)
    assert joined.epoch != former or joined._error is not None
    await joined.close()
    await owner.close()


def test_a_child_that_was_forked_does_not_hold_the_lock(tmp_path: Path) -> None:
    program = """
import asyncio, os, sys
from gapless import backends
async def main():
    await backends.open("sqlite:" + sys.argv[1])
    child = os.fork()
    if not child:
        sys.stdin.read()
        os._exit(0)
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    path = tmp_path / "app.db"
    first = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, str(path)], stdin=subprocess.PIPE
    )
    try:
        first.wait(30)

        async def scenario() -> None:
            store = await opened(path)
            assert isinstance(store, Owner)
            await store.close()

        asyncio.run(scenario())
    finally:
        assert first.stdin is not None
        first.stdin.close()
