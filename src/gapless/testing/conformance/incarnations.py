"""What outlives the process, and which positions hold in the next one."""

import asyncio

import pytest

from gapless.core.errors import (
    PositionConflict,
    PositionLost,
)
from gapless.core.lineage import Fate
from gapless.core.stream import Head, Position, Retention
from gapless.ports import Streams
from gapless.testing.conformance.places import (
    Place,
    append,
    fill,
    head,
    offsets,
    promise,
    read,
)

__all__ = ["Incarnations"]


class Incarnations:
    """What outlives the process, and which positions hold in the next one."""

    @promise
    async def test_the_last_generation_is_the_epoch(self, place: Place, store: Streams) -> None:
        generations = await store.generations()
        assert (generations[-1].id, generations[-1].fate) == (store.epoch, Fate.CLEAN)

    def test_every_incarnation_is_a_new_generation(self, place: Place) -> None:
        async def scenario() -> None:
            seen: list[str] = []
            for number in range(3):
                store = await place.open()
                generations = await store.generations()
                assert [one.id for one in generations] == [*seen, store.epoch]
                assert generations[-1].cut_seq == number
                assert generations[-1].fate is Fate.CLEAN
                await append(store)
                seen.append(store.epoch)
                await store.close()

        asyncio.run(scenario())

    def test_a_position_holds_across_a_clean_restart(self, place: Place) -> None:
        async def scenario() -> None:
            store = await place.open()
            await fill(store, "s", 5)
            old = store.epoch
            await store.close()
            store = await place.open()
            page = await read(store, after=Position(old, 3))
            assert (page.epoch, offsets(page)) == (store.epoch, [4, 5])
            assert (await append(store, expected=Position(old, 5))).offset == 6
            assert offsets(await read(store, after=Position(old, 5))) == [6]
            assert offsets(await read(store, before=Position(old, 6))) == [1, 2, 3, 4, 5]
            await store.close()

        asyncio.run(scenario())

    def test_the_floor_of_what_was_forgotten_holds_from_the_generation_that_forgot_it(
        self, place: Place
    ) -> None:
        async def scenario() -> None:
            epochs: list[str] = []
            for number in range(4):
                store = await place.open()
                epochs.append(store.epoch)
                if number == 0:
                    await append(store, "brief", retention=Retention(meta_ttl_ms=1_000))
                elif number == 1:
                    place.time_ms += 1_000
                    await append(store, "any")  # by now the stream is forgotten for good
                elif number == 2:
                    await append(store, "new")
                for stream, head_offset in (("other", 1), ("new", 1 + (number >= 2))):
                    for old, epoch in enumerate(epochs):
                        reading = read(store, stream, after=Position(epoch, 1))
                        if number == 0 or old == 0:
                            with pytest.raises(PositionLost):
                                await reading
                        else:
                            assert (await reading).head == head_offset
                await store.close()

        asyncio.run(scenario())

    def test_an_old_position_beyond_its_cut_is_lost(self, place: Place) -> None:
        async def scenario() -> None:
            store = await place.open()
            await fill(store, "s", 5)
            old = store.epoch
            await store.close()
            store = await place.open()
            await fill(store, "s", 5)
            for wrong in (6, 10):
                with pytest.raises(PositionLost, match="a later generation wrote other messages there"):
                    await read(store, after=Position(old, wrong))
                with pytest.raises(PositionLost):
                    await read(store, before=Position(old, wrong + 1))
            with pytest.raises(PositionConflict):
                await append(store, expected=Position(old, 10))
            await store.close()

        asyncio.run(scenario())

    def test_everything_is_there_after_reopening(self, place: Place) -> None:
        async def scenario() -> None:
            store = await place.open()
            await append(store, "gone", retention=Retention(meta_ttl_ms=10))
            await append(store, "gone", retention=Retention(meta_ttl_ms=10))
            await append(store, "t", b"held", key="k")
            await fill(store, "s", 5, retention=Retention(count=3))
            await store.trim("s", 3)
            before = await read(store)
            place.time_ms += 10
            await head(store, "gone")
            await store.close()
            place.time_ms -= 5_000
            store = await place.open()
            assert await store.heads(["s", "t", "gone"]) == (
                store.epoch,
                {"s": Head(3, 5), "t": Head(0, 1), "gone": Head(2, 2)},
            )
            assert (await read(store)).messages == before.messages
            again = await append(store, "t", b"held", key="k")
            assert (again.offset, again.fresh) == (1, False)
            assert (await append(store)).time_ms >= before.messages[-1].time_ms
            await store.close()

        asyncio.run(scenario())

    def test_only_so_many_generations_are_kept(self, place: Place) -> None:
        async def scenario() -> None:
            place.options["generations_max"] = 3
            epochs = []
            for _ in range(4):
                store = await place.open()
                await append(store)
                epochs.append(store.epoch)
                await store.close()
            store = await place.open()
            assert [one.id for one in await store.generations()] == [*epochs[2:], store.epoch]
            with pytest.raises(PositionLost, match="of a generation that the store does not know"):
                await read(store, after=Position(epochs[1], 1))
            assert offsets(await read(store, after=Position(epochs[2], 3))) == [4]
            await store.close()

        asyncio.run(scenario())
