"""Settling in batches: what is refused together is settled apart, what fails for now is settled again."""

import asyncio
from functools import partial
from random import Random
from typing import Any

from gapless import Gapless
from gapless.core.errors import BadRequest, Unavailable
from gapless.core.jobs import Deed, State
from gapless.library.outcomes import Outcome
from gapless.protocol.queues import SettleAnswer, SettledItem, SettledJob, SettleRequest
from gapless.worker.settling import settlement, settling
from tests.server.serving import HandClock, on_a_loop, until


class Store(Gapless):
    """Answers settlements, but for those of which it was told to refuse any."""

    def __init__(self) -> None:
        super().__init__("memory:")
        self.asked: list[list[str]] = []
        self.refused = ""
        self.away = 0

    async def ask(self, verb: str, request: Any) -> Any:
        assert isinstance(request, SettleRequest)
        ids = [each.id for each in request.settlements]
        self.asked.append(ids)
        await asyncio.sleep(0)
        if self.away:
            self.away -= 1
            raise Unavailable("not now")
        if self.refused in ids:
            raise BadRequest("one of them will not do")
        return SettleAnswer(settlements=[SettledItem(result=SettledJob(state=State.GONE)) for _ in ids])


def ack(id: str) -> Any:
    return settlement(id, "f:1", Outcome(deed=Deed.ACK))


@on_a_loop
async def test_what_is_put_in_one_turn_is_one_request() -> None:
    store = Store()
    told: list[SettledItem | Exception] = []
    settles = settling(store, HandClock(), Random(7))
    for n in range(3):
        settles.put(ack(str(n)), told.append)
    await settles.finish()
    assert store.asked == [["0", "1", "2"]]
    assert [isinstance(item, SettledItem) and item.error for item in told] == [None] * 3


@on_a_loop
async def test_one_that_is_refused_takes_no_other_with_it() -> None:
    store = Store()
    told: dict[int, bool] = {}
    store.refused = "1"

    def tell(n: int, item: SettledItem | Exception) -> None:
        told[n] = isinstance(item, SettledItem)

    settles = settling(store, HandClock(), Random(7))
    for n in range(3):
        settles.put(ack(str(n)), partial(tell, n))
    await settles.finish()
    assert told == {0: True, 1: False, 2: True}


@on_a_loop
async def test_a_store_that_is_away_is_asked_until_it_answers() -> None:
    store, clock = Store(), HandClock()
    told: list[SettledItem | Exception] = []
    store.away = 2
    settles = settling(store, clock, Random(7))
    settles.put(ack("0"), told.append)
    while not told:
        await asyncio.sleep(0)
        clock.move(1_000)
    assert store.asked == [["0"]] * 3


class SlowStore(Store):
    """Answers all settlements at once, when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.held = 0
        self.answering = asyncio.Event()

    async def ask(self, verb: str, request: Any) -> Any:
        answer = await super().ask(verb, request)
        self.held += 1
        await self.answering.wait()
        return answer


@on_a_loop
async def test_what_is_put_as_soon_as_all_requests_are_answered_is_not_forgotten() -> None:
    store = SlowStore()
    told: list[SettledItem | Exception] = []
    settles = settling(store, HandClock(), Random(7))

    def put_another(item: SettledItem | Exception) -> None:
        told.append(item)
        asyncio.get_running_loop().call_soon(settles.put, ack("2"), told.append)

    settles.put(ack("0"), put_another)
    await until(lambda: store.held == 1)
    settles.put(ack("1"), told.append)
    await until(lambda: store.held == 2)
    store.answering.set()
    await until(lambda: len(told) == 3)
    await settles.finish()
    assert store.asked == [["0"], ["1"], ["2"]]
