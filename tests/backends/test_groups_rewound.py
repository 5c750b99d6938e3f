"""A store that was put back to an older state gives no fence twice, and believes no fence that it lost."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gapless.core.errors import LeaseLost
from gapless.core.groups import Held
from gapless.core.stream import Position
from gapless.ports import Store
from gapless.testing.conformance.groups.verbs import GROUP, SOURCE, beat, begun, commit, stands
from tests.backends.rewinding import REWINDING, Rewinding


@pytest.fixture(params=REWINDING)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Rewinding:
    return REWINDING[request.param](tmp_path)


async def rewound(place: Rewinding, lost: Callable[[Store], Awaitable[None]]) -> Store:
    """Open a store of which everything since `begun` is lost: what `lost` did. The clock stands still."""
    store = await place.open()
    await begun(store)
    await store.close()
    place.keep()
    store = await place.open()
    await lost(store)
    await store.close()
    place.rewind()
    return await place.open()


def test_no_fence_is_given_again_after_a_rewind(place: Rewinding) -> None:
    given: list[Held] = []

    async def lost(store: Store) -> None:
        for _ in range(3):
            await store.seek(SOURCE, GROUP, dict.fromkeys(range(4)))
            given.extend((await beat(store)).held)

    async def scenario() -> None:
        store = await rewound(place, lost)
        kept = {one.fence for one in (await beat(store)).held}
        again: set[str] = set()
        for _ in range(4):
            await store.seek(SOURCE, GROUP, dict.fromkeys(range(4)))
            again |= {one.fence for one in (await beat(store)).held}
        assert len(again) == 16
        assert not again & (kept | {one.fence for one in given})
        await store.close()

    asyncio.run(scenario())


def test_numbers_of_fences_rise_over_a_rewind_as_the_clock_does(place: Rewinding) -> None:
    highest = 0

    async def lost(store: Store) -> None:
        nonlocal highest
        for _ in range(3):
            await store.seek(SOURCE, GROUP, dict.fromkeys(range(4)))
        highest = max(one.fence_number for one in (await beat(store)).held)
        place.time_ms += 1

    async def scenario() -> None:
        store = await rewound(place, lost)
        await store.seek(SOURCE, GROUP, dict.fromkeys(range(4)))
        assert min(one.fence_number for one in (await beat(store)).held) > highest
        await store.close()

    asyncio.run(scenario())


def test_a_fence_that_the_store_lost_is_refused_whoever_holds_the_partition(place: Rewinding) -> None:
    given: list[Held] = []

    async def lost(store: Store) -> None:
        await store.leave(SOURCE, GROUP, "a")
        given.extend((await beat(store, "b")).held)

    async def scenario() -> None:
        store = await rewound(place, lost)
        there = Position(store.epoch, 1)
        assert await commit(store, given[0], there, "b") is LeaseLost
        await store.leave(SOURCE, GROUP, "a")
        await beat(store, "b")
        assert await commit(store, given[0], there, "b") is LeaseLost
        assert await stands(store) is None
        await store.close()

    asyncio.run(scenario())


def test_who_held_a_partition_when_the_copy_was_made_holds_it_while_its_session_lasts(
    place: Rewinding,
) -> None:
    async def lost(store: Store) -> None:
        await store.leave(SOURCE, GROUP, "a")
        await beat(store, "b")

    async def scenario() -> None:
        store = await rewound(place, lost)
        [mine, *_] = (await beat(store, "a")).held
        assert await commit(store, mine, Position(store.epoch, 1)) == ()
        await store.close()

    asyncio.run(scenario())
