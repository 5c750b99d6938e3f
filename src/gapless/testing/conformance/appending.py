"""What `append` promises, and `close`."""

import asyncio
from collections.abc import Sequence

import pytest

from gapless.backends import Options
from gapless.core.errors import (
    BadRequest,
    PositionConflict,
    StoreFailed,
    TooManyRequests,
    Unavailable,
)
from gapless.core.stream import Entry, Head, Outcome, Position, Stored
from gapless.ports import Streams
from gapless.testing.conformance.places import (
    Place,
    append,
    entry,
    fill,
    head,
    offsets,
    promise,
    put,
    read,
)

__all__ = ["Appending"]


class Appending:
    """What `append` promises, and `close`."""

    @promise
    async def test_offsets_are_dense_from_one(self, place: Place, store: Streams) -> None:
        outcomes = await put(store, entry("a"), entry("b"), entry("a"), entry("a"))
        assert [one.offset for one in outcomes if isinstance(one, Stored)] == [1, 1, 2, 3]
        assert {one.epoch for one in outcomes if isinstance(one, Stored)} == {store.epoch}

    @promise
    async def test_entries_of_one_call_are_answered_together_and_in_their_order(
        self, place: Place, store: Streams
    ) -> None:
        wrong = Position(store.epoch, 7)
        entries = [entry("a"), entry("b", expected=wrong), entry("a"), entry("b", transient=True)]
        told = asyncio.get_running_loop().create_future()
        before = store.statistics().commits
        store.append(entries, lambda *answer: told.set_result(answer))
        answered, outcomes = await told
        assert answered is entries
        assert isinstance(outcomes[1], PositionConflict)
        assert [one.offset for one in outcomes if isinstance(one, Stored)] == [1, 2, 0]
        assert store.statistics().commits == before + 1

    @promise
    async def test_done_is_called_in_the_order_of_the_calls(self, place: Place, store: Streams) -> None:
        told: list[int] = []
        for number in range(3_000):
            store.append(
                [entry(f"s{number % 7}", context=number)], lambda one, _: told.append(one[0].context)
            )
        await append(store)
        assert told == list(range(3_000))

    @promise
    async def test_done_is_never_called_inside_append(self, place: Place, store: Streams) -> None:
        told: list[object] = []
        store.append([entry()], lambda *outcome: told.append(outcome))
        assert told == []
        await append(store)
        assert len(told) == 1

    @promise
    async def test_a_message_is_readable_when_its_append_is_answered(
        self, place: Place, store: Streams
    ) -> None:
        for number in range(1, 20):
            stored = await append(store, data=b"%d" % number)
            page = await read(store, after=Position(stored.epoch, stored.offset - 1))
            assert [message.data for message in page.messages] == [b"%d" % number]

    @promise
    async def test_appends_made_inside_done_join_a_later_commit(self, place: Place, store: Streams) -> None:
        second = asyncio.get_running_loop().create_future()
        store.append(
            [entry()], lambda *_: store.append([entry()], lambda _, outcomes: second.set_result(outcomes[0]))
        )
        assert (await second).offset == 2

    @promise
    async def test_a_done_that_fails_keeps_no_other_from_its_answer(
        self, place: Place, store: Streams
    ) -> None:
        failures: list[str] = []

        def fail(*outcome: object) -> None:
            raise ValueError

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context["message"]))
        store.append([entry()], fail)
        assert (await append(store)).offset == 2
        assert len(failures) == 1

    @promise
    async def test_a_refused_entry_leaves_the_others_alone(self, place: Place, store: Streams) -> None:
        wrong = Position(store.epoch, 7)
        outcomes = await put(store, entry(), entry(expected=wrong), entry())
        assert isinstance(outcomes[1], PositionConflict)
        assert [one.offset for one in outcomes if isinstance(one, Stored)] == [1, 2]

    @promise
    async def test_what_an_origin_queued_behind_its_refused_entry_is_refused(
        self, place: Place, store: Streams
    ) -> None:
        wrong = Position(store.epoch, 7)
        outcomes = await put(
            store,
            entry(origin="a", expected=wrong),
            entry(origin="a"),
            entry("t", origin="a"),
            entry(origin="b"),
            entry(),
        )
        assert isinstance(outcomes[0], PositionConflict)
        assert isinstance(outcomes[1], Unavailable)
        assert all(isinstance(one, Stored) for one in outcomes[2:])
        assert (await append(store, origin="a")).offset == 3

    def test_what_an_origin_queued_is_refused_in_later_commits_too(self, place: Place) -> None:
        async def scenario() -> None:
            place.options["commit_entries_max"] = 1
            store = await place.open()
            wrong = Position(store.epoch, 7)
            again: list[Outcome] = []

            def retry(_: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
                store.append([entry(origin="a")], lambda _, outcomes: again.extend(outcomes))

            store.append([entry(origin="a", expected=wrong)], retry)
            outcomes = await put(store, *(entry(origin="a") for _ in range(5)))
            assert [type(one) for one in outcomes] == [Unavailable] * 5
            assert (await append(store, origin="a")).offset == 2
            assert [one.offset for one in again if isinstance(one, Stored)] == [1]
            await store.close()

        asyncio.run(scenario())

    @promise
    async def test_a_commit_is_told_in_one_callback_of_the_loop(self, place: Place, store: Streams) -> None:
        loop = asyncio.get_running_loop()
        turns = [0]
        told: list[int] = []

        def turn() -> None:
            turns[0] += 1
            if len(told) < 500:
                loop.call_soon(turn)

        turn()
        for _ in range(500):
            store.append([entry()], lambda *_: told.append(turns[0]))
        await append(store)
        assert len(told) == 500
        assert len(set(told)) <= store.statistics().commits

    @promise
    async def test_a_message_over_the_limit_is_refused(self, place: Place, store: Streams) -> None:
        size = Options().message_bytes_max
        outcomes = await put(store, entry(data=bytes(size + 1)), entry(meta=bytes(size + 1)))
        assert [type(one) for one in outcomes] == [BadRequest, BadRequest]
        await append(store, data=bytes(size))

    def test_a_full_queue_refuses_and_queues_nothing(self, place: Place) -> None:
        async def scenario(sizes: Sequence[int], accepted: int, **options: int) -> None:
            place.options |= options
            store = await place.open()
            told: list[object] = []
            for size in sizes:
                try:
                    store.append([entry(data=bytes(size))], lambda *outcome: told.append(outcome))
                except TooManyRequests:
                    pass
            await asyncio.sleep(0)
            while len(told) < accepted:
                await store.heads([])
            await append(store)
            assert len(told) == accepted
            await store.close()

        asyncio.run(scenario([0] * 5, 3, writer_entries_max=3))
        asyncio.run(scenario([40, 40, 40, 10], 3, writer_entries_max=100, writer_bytes_max=100))

    @promise
    async def test_a_transient_entry_passes_in_order_and_is_not_stored(
        self, place: Place, store: Streams
    ) -> None:
        outcomes = await put(store, entry(), entry(transient=True), entry())
        assert [one.offset for one in outcomes if isinstance(one, Stored)] == [1, 0, 2]
        assert offsets(await read(store)) == [1, 2]
        [alone] = await put(store, entry("t", transient=True))
        assert alone == Stored(store.epoch, 0, place.time_ms)
        assert await head(store, "t") == Head(0, 0)

    @promise
    async def test_close_finishes_what_is_queued(self, place: Place, store: Streams) -> None:
        told: list[object] = []
        for _ in range(50):
            store.append([entry()], lambda _, outcomes: told.extend(outcomes))
        await store.close()
        assert [one.offset for one in told if isinstance(one, Stored)] == list(range(1, 51))

    @promise
    async def test_a_closed_store_refuses_every_call(self, place: Place, store: Streams) -> None:
        await store.close()
        with pytest.raises(StoreFailed):
            store.append([entry()], lambda *_: None)
        calls = (read(store), store.heads(["s"]), store.find("s", 0), store.trim("s", 0), store.generations())
        for call in calls:
            with pytest.raises(StoreFailed):
                await call
        await store.close()

    @promise
    async def test_statistics_count_commits_and_entries(self, place: Place, store: Streams) -> None:
        await fill(store, "s", 10)
        await append(store)
        told = store.statistics()
        assert told.entries == 11
        assert 2 <= told.commits <= 11
        assert told.entries_max <= 10
        assert (told.queue_entries, told.queue_bytes) == (0, 0)
