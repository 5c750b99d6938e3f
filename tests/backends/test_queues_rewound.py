"""A store that was put back to an older state gives no fence or id twice, and knows no lease that it lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gapless.core.errors import LeaseLost, UnknownJob
from gapless.core.jobs import Claimed, Deed
from gapless.ports import Store
from gapless.testing.conformance.queues.verbs import (
    claim,
    claim_one,
    declare,
    enqueue,
    payloads,
    settle,
    try_extend,
    try_settle,
)
from tests.backends.rewinding import REWINDING, Rewinding


@pytest.fixture(params=REWINDING)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Rewinding:
    return REWINDING[request.param](tmp_path)


@asynccontextmanager
async def rewound(place: Rewinding, lost: Callable[[Store], Awaitable[None]]) -> AsyncIterator[Store]:
    """Open a store with two jobs, of which all that `lost` did since is lost. The clock stands still."""
    store = await place.open()
    await declare(store)
    await enqueue(store, b"1", b"2")
    await store.close()
    place.keep()
    store = await place.open()
    await lost(store)
    await store.close()
    place.rewind()
    store = await place.open()
    try:
        yield store
    finally:
        await store.close()


def test_no_fence_or_id_is_given_again_after_a_rewind(place: Rewinding) -> None:
    fences: list[str] = []
    ids: list[str] = []

    async def work(store: Store) -> None:
        for _ in range(5):
            ids.extend(await enqueue(store, b"3"))
            claimed = await claim_one(store)
            fences.append(claimed.fence)
            await settle(store, claimed, Deed.RELEASE)

    async def scenario() -> None:
        async with rewound(place, work) as store:
            await work(store)
            assert len(set(fences)) == len(set(ids)) == 10

    asyncio.run(scenario())


def test_numbers_of_fences_rise_over_a_rewind_as_the_clock_does(place: Rewinding) -> None:
    numbers: list[int] = []

    async def lost(store: Store) -> None:
        for _ in range(5):
            claimed = await claim_one(store)
            numbers.append(claimed.fence_number)
            await settle(store, claimed, Deed.RELEASE)
        place.time_ms += 1

    async def scenario() -> None:
        async with rewound(place, lost) as store:
            assert (await claim_one(store)).fence_number > max(numbers)

    asyncio.run(scenario())


def test_a_lease_that_the_store_lost_is_refused_though_the_job_is_leased_again(place: Rewinding) -> None:
    stale: list[Claimed] = []

    async def lost(store: Store) -> None:
        stale.extend(await claim(store))

    async def scenario() -> None:
        async with rewound(place, lost) as store:
            claimed = await claim(store)
            assert [one.id for one in claimed] == [one.id for one in stale]
            for one in stale:
                assert isinstance(await try_settle(store, one), LeaseLost)
                assert isinstance(await try_extend(store, one, 1_000), LeaseLost)
            assert [str((await settle(store, one)).state) for one in claimed] == ["gone", "gone"]

    asyncio.run(scenario())


def test_a_job_that_the_store_lost_is_not_mistaken_for_a_new_one(place: Rewinding) -> None:
    ids: list[str] = []

    async def lost(store: Store) -> None:
        ids.extend(await enqueue(store, b"lost"))

    async def scenario() -> None:
        async with rewound(place, lost) as store:
            await enqueue(store, b"new")
            with pytest.raises(UnknownJob):
                await store.look(ids[0])
            assert payloads(await claim(store)) == [b"1", b"2", b"new"]

    asyncio.run(scenario())
