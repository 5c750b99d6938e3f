"""What is asked for at the same time goes in one request; what each gets is its own."""

import asyncio
from collections.abc import Sequence

import pytest

from gapless.core.errors import BadRequest, Unavailable
from gapless.library.joining import BYTES_MAX, ITEMS_MAX, Joining
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
    joining = Joining[int, int](sender.send, lambda item: 1)
    first = [asyncio.ensure_future(joining.one(n)) for n in range(3)]
    await until(lambda: len(sender.sent) == 1)
    second = [asyncio.ensure_future(joining.one(n)) for n in range(3, 6)]
    await until(lambda: len(sender.sent) == 2)
    third = [asyncio.ensure_future(joining.one(n)) for n in range(6, 9)]
    await asyncio.sleep(0)
    assert sender.sent == [[0, 1, 2], [3, 4, 5]]  # two are under way: the others wait
    sender.answers[1].set_result(None)
    assert await asyncio.gather(*second) == [-3, -4, -5]
    await until(lambda: len(sender.sent) == 3)
    sender.answers[0].set_result(None)
    sender.answers[2].set_result(None)
    assert await asyncio.gather(*first, *third) == [0, -1, -2, -6, -7, -8]
    await joining.close()


@on_a_loop
async def test_who_asks_again_as_soon_as_all_requests_are_answered_is_not_forgotten() -> None:
    sender = Sender()
    joining = Joining[int, int](sender.send, lambda item: 1)

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

    joining = Joining[int, int](send, lambda item: item)
    asked = [1] * (ITEMS_MAX + 1) + [BYTES_MAX * 2, 1, BYTES_MAX]
    assert await asyncio.gather(*map(joining.one, asked)) == asked
    assert sent == [[1] * ITEMS_MAX, [1], [BYTES_MAX * 2], [1], [BYTES_MAX]]


@on_a_loop
async def test_an_error_is_everybody_s_and_the_next_request_is_made_all_the_same() -> None:
    calls: list[int] = []

    async def send(items: Sequence[int]) -> Sequence[int]:
        calls.append(len(items))
        if len(calls) == 1:
            raise Unavailable("not now")
        return items

    joining = Joining[int, int](send, lambda item: 1)
    outcomes = await asyncio.gather(*(joining.one(n) for n in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    assert await joining.one(7) == 7


@on_a_loop
async def test_who_gives_up_takes_nobody_along() -> None:
    sender = Sender()
    joining = Joining[int, int](sender.send, lambda item: 1)
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

    joining = Joining[int, int](send, lambda item: 1)
    asked = [*range(9), 77, *range(10, 20)]
    outcomes = await asyncio.gather(*map(joining.one, asked), return_exceptions=True)
    assert (
        [each for each in outcomes if not isinstance(each, BadRequest)] == sent == [*range(9), *range(10, 20)]
    )


@on_a_loop
async def test_what_cannot_even_be_weighed_is_refused_and_the_next_is_sent() -> None:
    async def send(items: Sequence[object]) -> Sequence[object]:
        return items

    joining = Joining[object, object](send, lambda item: len(item))  # type: ignore[arg-type]
    with pytest.raises(BadRequest):
        await joining.one(1)
    assert await joining.one("x") == "x"
