"""What `Presence` promises."""

import asyncio
from collections import Counter

from gapless.ports import Present, Store
from gapless.testing.conformance.places import Place, promise

__all__ = ["PresenceConformance"]

TTL_MS = 4_000


async def alive(store: Store, *nodes: str) -> None:
    """Let nodes live, as from now."""
    for node in nodes:
        await store.beat(node, TTL_MS)


def ann(channel: str = "c", info: bytes = b"1") -> Present:
    """Return somebody."""
    return Present(channel, "ann", info)


def bob(channel: str = "c", info: bytes = b"2") -> Present:
    """Return somebody else."""
    return Present(channel, "bob", info)


class PresenceConformance:
    """Who is in which channel, by the node through which they are there."""

    # Nodes --------------------------------------------------------------------------------

    @promise
    async def test_a_node_lives_from_its_first_beat_for_the_time_it_named(
        self, place: Place, store: Store
    ) -> None:
        assert await store.beat("n", TTL_MS) is False
        await store.enter("n", [ann()])
        place.time_ms += TTL_MS - 1
        assert await store.present("c") == {"ann": b"1"}
        assert await store.beat("n", TTL_MS) is True
        place.time_ms += TTL_MS - 1
        assert await store.present("c") == {"ann": b"1"}
        place.time_ms += 1
        assert await store.present("c") == {}

    @promise
    async def test_a_node_whose_time_was_over_has_nobody_until_it_enters_them_again(
        self, place: Place, store: Store
    ) -> None:
        await alive(store, "n")
        await store.enter("n", [ann(), bob()])
        place.time_ms += TTL_MS
        assert await store.beat("n", TTL_MS) is False
        assert await store.present("c") == {}
        await store.enter("n", [bob()])
        assert await store.present("c") == {"bob": b"2"}
        place.time_ms += TTL_MS
        assert await store.bury(10) == [bob()]

    @promise
    async def test_a_shorter_time_counts_from_the_last_beat(self, place: Place, store: Store) -> None:
        await store.beat("n", TTL_MS)
        await store.enter("n", [ann()])
        await store.beat("n", 1_000)
        place.time_ms += 1_000
        assert await store.present("c") == {}

    @promise
    async def test_nobody_comes_through_a_node_that_does_not_live(self, place: Place, store: Store) -> None:
        await store.enter("never", [ann()])
        await alive(store, "n")
        place.time_ms += TTL_MS
        await store.enter("n", [ann()])
        assert await store.present("c") == {}
        assert await store.bury(10) == []

    # Coming and going ---------------------------------------------------------------------

    @promise
    async def test_all_who_are_there_are_told_of_through_whichever_node(
        self, place: Place, store: Store
    ) -> None:
        await alive(store, "n", "m")
        await store.enter("n", [ann(), ann("d", b"\x00\xff")])
        await store.enter("m", [bob()])
        assert await store.present("c") == {"ann": b"1", "bob": b"2"}
        assert await store.present("d") == {"ann": b"\x00\xff"}
        assert await store.present("e") == {}

    @promise
    async def test_who_is_there_already_is_told_of_anew(self, place: Place, store: Store) -> None:
        await alive(store, "n")
        await store.enter("n", [ann()])
        await store.enter("n", [ann(info=b"new")])
        assert await store.present("c") == {"ann": b"new"}

    @promise
    async def test_who_comes_through_another_node_is_there_through_that_one(
        self, place: Place, store: Store
    ) -> None:
        await alive(store, "n", "m")
        await store.enter("n", [ann()])
        await store.enter("m", [ann(info=b"m")])
        await store.depart("n", [("c", "ann")])
        assert await store.present("c") == {"ann": b"m"}
        await store.end("n")
        assert await store.present("c") == {"ann": b"m"}
        place.time_ms += TTL_MS
        assert await store.bury(10) == [ann(info=b"m")]

    @promise
    async def test_who_went_is_there_no_more_and_going_twice_is_harmless(
        self, place: Place, store: Store
    ) -> None:
        await alive(store, "n")
        await store.enter("n", [ann(), bob(), ann("d")])
        for _ in range(2):
            await store.depart("n", [("c", "ann"), ("x", "nobody")])
        assert await store.present("c") == {"bob": b"2"}
        assert await store.present("d") == {"ann": b"1"}
        await store.depart("unheard of", [("c", "bob")])
        assert await store.present("c") == {"bob": b"2"}

    @promise
    async def test_many_come_and_go_at_once(self, place: Place, store: Store) -> None:
        await alive(store, "n")
        many = [Present(f"c{number % 7}", f"u{number}", b"%d" % number) for number in range(1_000)]
        await store.enter("n", many)
        assert sum([len(await store.present(f"c{number}")) for number in range(7)]) == 1_000
        await store.depart("n", [(one.channel, one.client) for one in many[::2]])
        assert sum([len(await store.present(f"c{number}")) for number in range(7)]) == 500

    @promise
    async def test_nobody_coming_or_going_is_fine(self, place: Place, store: Store) -> None:
        await alive(store, "n")
        await store.enter("n", [])
        await store.depart("n", [])
        assert await store.present("c") == {}

    # Burying ------------------------------------------------------------------------------

    @promise
    async def test_those_whose_node_lives_are_not_buried(self, place: Place, store: Store) -> None:
        await alive(store, "n", "m")
        await store.enter("n", [ann()])
        await store.enter("m", [bob()])
        place.time_ms += TTL_MS - 1
        assert await store.bury(10) == []
        await alive(store, "m")
        place.time_ms += 1
        assert await store.bury(10) == [ann()]
        assert await store.present("c") == {"bob": b"2"}

    @promise
    async def test_each_is_buried_once_and_no_more_than_asked_for_at_once(
        self, place: Place, store: Store
    ) -> None:
        await alive(store, "n", "m")
        many = [Present("c", f"u{number}", b"") for number in range(25)]
        await store.enter("n", many[:12])
        await store.enter("m", many[12:])
        place.time_ms += TTL_MS
        buried = [await store.bury(10) for _ in range(4)]
        assert [len(one) <= 10 for one in buried] == [True] * 4
        assert Counter(one for some in buried for one in some) == Counter(many)

    @promise
    async def test_each_is_returned_to_one_of_those_who_bury_at_the_same_time(
        self, place: Place, store: Store
    ) -> None:
        await alive(store, "n")
        many = [Present("c", f"u{number}", b"") for number in range(50)]
        await store.enter("n", many)
        place.time_ms += TTL_MS
        buried = await asyncio.gather(*(store.bury(10) for _ in range(8)))
        assert Counter(one for some in buried for one in some) == Counter(many)

    @promise
    async def test_what_was_buried_stays_so_when_the_node_is_back(self, place: Place, store: Store) -> None:
        await alive(store, "n")
        await store.enter("n", [ann()])
        place.time_ms += TTL_MS
        assert await store.bury(10) == [ann()]
        assert await store.beat("n", TTL_MS) is False
        assert await store.present("c") == {}

    # Ending -------------------------------------------------------------------------------

    @promise
    async def test_a_node_that_ended_leaves_nobody_behind(self, place: Place, store: Store) -> None:
        await alive(store, "n")
        await store.enter("n", [ann()])
        for _ in range(2):
            await store.end("n")
        assert await store.present("c") == {}
        place.time_ms += TTL_MS
        assert await store.bury(10) == []
        assert await store.beat("n", TTL_MS) is False

    @promise
    async def test_ending_a_node_that_never_was_is_harmless(self, place: Place, store: Store) -> None:
        await store.end("never")
        assert await store.present("c") == {}
