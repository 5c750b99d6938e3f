"""What `fair` promises: keys are served by turns."""

from gapless.core.jobs import Deed
from gapless.ports import Store
from gapless.testing.conformance.places import Place, promise
from gapless.testing.conformance.queues.verbs import (
    acked,
    claim,
    claim_one,
    counted,
    declare,
    enqueue,
    payloads,
    settle,
)

__all__ = ["Sharing"]


class Sharing:
    """What `fair` promises: keys are served by turns."""

    @promise
    async def test_the_key_that_was_served_longest_ago_comes_first(self, place: Place, store: Store) -> None:
        await declare(store, fair=True)
        await enqueue(store, b"a1", b"a2", b"a3", key="a")
        await enqueue(store, b"b1", b"b2", key="b")
        await enqueue(store, b"c1", key="c")
        assert await acked(store) == [b"a1", b"b1", b"c1", b"a2", b"b2", b"a3"]

    @promise
    async def test_the_key_with_the_fewest_jobs_in_flight_comes_first(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, fair=True, ordered=False)
        await enqueue(store, b"a1", b"a2", b"a3", b"a4", key="a")
        await enqueue(store, b"b1", b"b2", key="b")
        first = await claim(store, 4)
        assert payloads(first) == [b"a1", b"b1", b"a2", b"b2"]
        await settle(store, first[1], Deed.RELEASE)
        assert payloads(await claim(store, 2)) == [b"b1", b"a3"]

    @promise
    async def test_fairness_goes_before_priority_which_ranks_within_a_key(
        self, place: Place, store: Store
    ) -> None:
        await declare(store, fair=True, ordered=False)
        await enqueue(store, b"a2", key="a", priority=5)
        await enqueue(store, b"a1", key="a", priority=9)
        await enqueue(store, b"b1", key="b")
        assert payloads(await claim(store)) == [b"a1", b"b1", b"a2"]

    @promise
    async def test_jobs_without_a_key_take_turns_as_one_key(self, place: Place, store: Store) -> None:
        await declare(store, fair=True)
        await enqueue(store, b"1", b"2", b"3")
        await enqueue(store, b"a1", b"a2", key="a")
        assert await acked(store) == [b"1", b"a1", b"2", b"a2", b"3"]

    @promise
    async def test_a_key_that_comes_back_is_as_if_never_served(self, place: Place, store: Store) -> None:
        await declare(store, fair=True)
        await enqueue(store, b"a1", key="a")
        await enqueue(store, b"b1", b"b2", key="b")
        await settle(store, await claim_one(store))
        await settle(store, await claim_one(store))
        await enqueue(store, b"a2", key="a")
        assert await acked(store) == [b"a2", b"b2"]

    @promise
    async def test_fairness_may_be_given_up_and_asked_for_while_jobs_wait_behind_others(
        self, place: Place, store: Store
    ) -> None:
        for fair in (True, False):
            await declare(store, fair=fair)
            await enqueue(store, b"a1", b"a2", key="a", priority=5)
            claimed = await claim_one(store)
            await declare(store, fair=not fair)
            await settle(store, claimed)
            assert (await counted(store)).oldest_ms == 0
            assert await acked(store) == [b"a2"]

    @promise
    async def test_without_fairness_a_backlog_goes_first(self, place: Place, store: Store) -> None:
        await declare(store)
        await enqueue(store, b"a1", b"a2", key="a")
        await enqueue(store, b"b1", key="b")
        assert await acked(store) == [b"a1", b"a2", b"b1"]
