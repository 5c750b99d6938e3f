"""What is asked for at the same time goes in one request; what each gets is its own."""

import asyncio
from collections.abc import Sequence

import pytest

from gapless.core.errors import BadRequest, OutcomeUnknown, Unavailable
from gapless.library.joining import BYTES_MAX, FLIGHTS_MAX, ITEMS_MAX, Joining
from tests.server.serving import on_a_loop, until


class Sender:
    """Answers when it is let, with what it was sent."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.answers: list[asyncio.Future[None]] = []

    async def send(self, items: Sequence[int]) -> Sequence[int]:
        self.sent.append(list(items))
        self.answers.append(asyncio.get_running_loop().create_future())
        await self.answers[-1]
        return [-item for item in items]


@on_a_loop
async def test_what_waits_joins_the_next_request_and_is_answered_in_its_place() -> None:
    sender = Sender()
    joining = Joining[int, int](sender.send, lambda item: 1, apart=(BadRequest,))
    asked = []
    for start in range(0, 3 * FLIGHTS_MAX, 3):
        asked.append([joining.one(n) for n in range(start, start + 3)])
        await until(lambda: len(sender.sent) == len(asked))
    last = [joining.one(n) for n in (97, 98, 99)]
    await asyncio.sleep(0)
    assert sender.sent == [[n, n + 1, n + 2] for n in range(0, 3 * FLIGHTS_MAX, 3)]  # the others wait
    sender.answers[1].set_result(None)
    assert await asyncio.gather(*asked[1]) == [-3, -4, -5]
    await until(lambda: len(sender.sent) == FLIGHTS_MAX + 1)
    for answer in sender.answers:
        if not answer.done():
            answer.set_result(None)
    assert await asyncio.gather(*asked[0], *last) == [0, -1, -2, -97, -98, -99]
    await joining.finish()


@on_a_loop
async def test_who_asks_again_as_soon_as_all_requests_are_answered_is_not_forgotten() -> None:
    sender = Sender()
    joining = Joining[int, int](sender.send, lambda item: 1, apart=(BadRequest,))

    async def twice() -> tuple[int, int]:
        return await joining.one(1), await joining.one(2)

    asking = asyncio.ensure_future(twice())
    await until(lambda: len(sender.sent) == 1)
    other = asyncio.ensure_future(joining.one(3))
    await until(lambda: len(sender.sent) == 2)
    for answer in sender.answers:
        answer.set_result(None)
    assert await other == -3
    await until(lambda: len(sender.sent) == 3)
    sender.answers[2].set_result(None)
    assert await asking == (-1, -2)


@on_a_loop
async def test_a_request_is_bounded_in_items_and_in_bytes() -> None:
    sent: list[list[int]] = []

    async def send(items: Sequence[int]) -> Sequence[int]:
        sent.append(list(items))
        return items

    joining = Joining[int, int](send, lambda item: item, apart=(BadRequest,))
    asked = [1] * (ITEMS_MAX + 1) + [BYTES_MAX * 2, 1, BYTES_MAX]
    assert await asyncio.gather(*map(joining.one, asked)) == asked
    assert sorted(sent) == sorted([[1] * ITEMS_MAX, [1], [BYTES_MAX * 2], [1], [BYTES_MAX]])


@on_a_loop
async def test_an_error_is_everybody_s_and_the_next_request_is_made_all_the_same() -> None:
    calls: list[int] = []

    async def send(items: Sequence[int]) -> Sequence[int]:
        calls.append(len(items))
        if len(calls) == 1:
            raise Unavailable("not now")
        return items

    joining = Joining[int, int](send, lambda item: 1, apart=(BadRequest,))
    outcomes = await asyncio.gather(*(joining.one(n) for n in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    assert await joining.one(7) == 7


@on_a_loop
async def test_who_gives_up_takes_nobody_along() -> None:
    sender = Sender()
    joining = Joining[int, int](sender.send, lambda item: 1, apart=(BadRequest,))
    given_up, kept = (asyncio.ensure_future(joining.one(n)) for n in (1, 2))
    await until(lambda: bool(sender.sent))
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    sender.answers[0].set_result(None)
    assert await kept == -2


@on_a_loop
async def test_whose_fault_it_is_that_a_request_is_refused_takes_nobody_along() -> None:
    sent: list[int] = []

    async def send(items: Sequence[int]) -> Sequence[int]:
        if 77 in items:
            raise BadRequest("77 is no item")
        sent.extend(items)
        return items

    joining = Joining[int, int](send, lambda item: 1, apart=(BadRequest,))
    asked = [*range(9), 77, *range(10, 20)]
    outcomes = await asyncio.gather(*map(joining.one, asked), return_exceptions=True)
    assert (
        [each for each in outcomes if not isinstance(each, BadRequest)] == sent == [*range(9), *range(10, 20)]
    )


@on_a_loop
async def test_what_is_refused_together_is_sent_in_halves_until_it_is_known_whose_fault_it_is() -> None:
    sent: list[list[int]] = []

    async def send(items: Sequence[int]) -> Sequence[int]:
        sent.append(list(items))
        if 5 in items:
            raise BadRequest("5 is no item")
        return items

    joining = Joining[int, int](send, lambda item: 1, apart=(BadRequest,))
    await asyncio.gather(*map(joining.one, range(8)), return_exceptions=True)
    assert sent == [[*range(8)], [0, 1, 2, 3], [4, 5, 6, 7], [4, 5], [4], [5], [6, 7]]


@on_a_loop
async def test_what_is_given_up_is_not_sent_and_nobody_is_told() -> None:
    sender = Sender()
    joining = Joining[int, int](sender.send, lambda item: 1, apart=(BadRequest,))
    told: list[object] = []
    for n in range(FLIGHTS_MAX):
        joining.put(n, told.append)
        await until(lambda: len(sender.sent) == n + 1)  # noqa: B023 # it is over before the next turn
    joining.put(99, told.append)
    joining.give_up()
    await joining.finish()
    assert not told
    assert len(sender.sent) == FLIGHTS_MAX


@pytest.mark.parametrize("answered", [[], [1], [1, 2, 3]])
@on_a_loop
async def test_who_is_not_answered_alone_is_told_that_nothing_is_known(answered: list[int]) -> None:
    async def send(items: Sequence[int]) -> Sequence[int]:
        return answered if len(items) == 2 else items

    joining = Joining[int, int](send, lambda item: 1, apart=(BadRequest,))
    outcomes = await asyncio.gather(*map(joining.one, (1, 2)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown] * 2
    assert await joining.one(7) == 7
