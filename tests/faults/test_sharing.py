"""Several processes on one file: a survivor takes over from an owner that is killed, and from nobody else."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.core.errors import OutcomeUnknown, Unavailable
from gapless.core.jobs import Job
from gapless.ports import Store, Timer
from gapless.sharing.joined import Joined
from gapless.testing.conformance.places import append, entry, head, put, read
from tests.faults import sharing
from tests.faults.sharer import OPTIONS, QUEUE

ROUNDS = 20
HASTE = 4


def test_killed_owners_lose_nothing_and_somebody_takes_over_each_time(tmp_path: Path) -> None:
    ledger = sharing.run(tmp_path, ROUNDS)
    assert not ledger.findings, str(ledger)
    for told in (ledger.appended, ledger.keyed, ledger.enqueued, ledger.acked):
        assert len(told) > ROUNDS
    assert ledger.unknown, "a message was under way when an owner was killed"


def test_what_is_lost_doubled_or_run_again_is_found(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await backends.open(f"sqlite:{tmp_path}/shared.db", Options(ballast_bytes=0))
        await append(store, "plain", b"twice")
        await append(store, "plain", b"twice")
        ledger = sharing.Ledger()
        await store.declare(QUEUE, OPTIONS)
        [[job]] = [told for told in await store.enqueue([[Job(QUEUE, b"m")]]) if isinstance(told, list)]
        for line in (["append", "gone", 3], ["ack", job.id], ["ack", job.id], ["enqueue", "n", "other"]):
            ledger.hear(line)
        await ledger.compare(store)
        await store.close()
        assert len(ledger.findings) == 5, ledger.findings

    asyncio.run(scenario())


def hasty(delay_ms: int, callback: Callable[[], object]) -> Timer:
    """Let time pass faster."""
    return asyncio.get_running_loop().call_later(delay_ms / 1_000 / HASTE, callback)


async def join(ordeal: sharing.Ordeal) -> Store:
    options = Options(after=hasty, elapsed_ns=lambda: HASTE * perf_counter_ns())
    store = await backends.open(f"sqlite:{ordeal.path}", options)
    assert isinstance(store, Joined)
    return store


def test_a_stopped_owner_stays_the_owner_and_calls_of_it_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        ordeal = sharing.Ordeal(tmp_path, random.Random(1))
        owner = await ordeal.start()
        await ordeal.all_go_on()
        store = await join(ordeal)
        await append(store, "mine")
        os.kill(owner, signal.SIGSTOP)
        reading, appending = asyncio.create_task(head(store, "mine")), put(store, entry("mine", b"2"))
        [outcome] = await appending
        assert isinstance(outcome, OutcomeUnknown)
        with pytest.raises(Unavailable):
            await reading
        with pytest.raises(Unavailable) as refused:
            await append(store, "mine", b"3")
        assert not isinstance(refused.value, OutcomeUnknown), "it was never said to the owner"
        assert ordeal.owner() == owner
        os.kill(owner, signal.SIGCONT)
        later = await append(store, "mine", b"4")
        page = await read(store, "mine")
        assert [message.data for message in page.messages] in ([b"x", b"2", b"4"], [b"x", b"4"])
        assert (later.epoch, ordeal.owner()) == (store.epoch, owner)
        await store.close()
        await ordeal.end()

    asyncio.run(scenario())


def test_an_owner_that_closes_hands_over_without_a_word(tmp_path: Path) -> None:
    async def scenario() -> None:
        ordeal = sharing.Ordeal(tmp_path, random.Random(1))
        await ordeal.start()
        await ordeal.all_go_on()
        store = await join(ordeal)
        first = await append(store, "mine")
        ending = asyncio.create_task(ordeal.end())
        offset, stored = first.offset, first
        while stored.epoch == first.epoch:
            stored = await append(store, "mine")
            offset += 1
            assert stored.offset == offset
        await ending
        assert ordeal.owner() == os.getpid()
        assert [one.fate for one in await store.generations()] == ["clean", "clean"]
        await store.close()
        assert not ordeal.ledger.refused

    asyncio.run(scenario())
