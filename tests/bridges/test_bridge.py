"""A bridge between a Redis and a server that fail: nothing that was heard is lost, doubled or reordered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from gapless.bridges.bridge import Bridge, Plan
from gapless.bridges.mapping import Mapping
from gapless.core.errors import StoreRefused
from tests.bridges.ends import Redis, Server, clock, loop, on_virtual_time, until


class Ends:
    """A bridge that runs, its ends, and what it told."""

    def __init__(
        self, *patterns: str, channels: tuple[str, ...] = ("chat",), seed: int = 1, **plan: int
    ) -> None:
        self.redis, self.server, self.told = Redis(), Server(), list[str]()
        limits = {"waiting_bytes_max": 1_000_000, "drain_ms": 1_000} | plan
        self.bridge = Bridge(
            self.redis,
            self.server.post,
            Plan(channels=channels, patterns=patterns, mapping=Mapping(), **limits),
            self.told.append,
            clock(),
            Random(seed),
        )
        self.counts = self.bridge.counts
        self.asked = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it, and stop it in good order in the end."""
        task = asyncio.ensure_future(self.bridge.run(self.asked))
        try:
            await until(lambda: any(told.startswith("listening") for told in self.told))
            yield
            self.asked.set()
            await task
        finally:
            task.cancel()

    def said(self, text: str) -> bool:
        return any(text in told for told in self.told)


@on_virtual_time
async def test_what_redis_tells_is_published_in_order_and_many_at_once() -> None:
    ends = Ends()
    async with ends.running():
        for number in range(2_000):
            ends.redis.publish("chat", str(number))
        await until(lambda: ends.counts.published == 2_000)
        ends.redis.publish("chat", "last")
    assert ends.server.held == {"chat": [*range(2_000), "last"]}
    assert len(ends.server.requests) <= 2_000 // 500 + 2
    assert (ends.counts.received, ends.counts.waiting, ends.counts.waiting_bytes) == (2_001, 0, 0)


@on_virtual_time
async def test_a_message_that_several_subscriptions_match_is_published_once() -> None:
    ends = Ends("ch*", "*t", "x*", channels=("chat", "news"))
    async with ends.running():
        for number in range(3):
            assert ends.redis.publish("chat", f"{number}") == 3
            assert ends.redis.publish("cheat", f"{number}") == 2
            ends.redis.publish("news", f"{number}")
            ends.redis.publish("other", f"{number}")
    assert ends.server.held == {name: [0, 1, 2] for name in ("chat", "cheat", "news")}
    assert ends.counts.received == 9


@on_virtual_time
async def test_patterns_that_redis_takes_in_another_order_later_lose_and_double_nothing() -> None:
    ends = Ends("ch*", "*t", channels=())
    async with ends.running():
        for number in range(10):
            ends.redis.publish("chat", str(number))
            ends.redis.lines[0].patterns.reverse()
    assert ends.server.held == {"chat": [*range(10)]}


@on_virtual_time
async def test_messages_wait_while_the_server_is_away() -> None:
    ends = Ends()
    async with ends.running():
        ends.server.is_up = False
        for number in range(100):
            ends.redis.publish("chat", str(number))
            await loop().pass_ms(100)
        assert (ends.counts.waiting, ends.counts.published) == (100, 0)
        ends.server.is_up = True
        await until(lambda: not ends.counts.waiting)
    assert ends.server.held == {"chat": [*range(100)]}
    assert sum("messages wait: it is away" in told for told in ends.told) == 1
    assert ends.said("published again after 1")


@on_virtual_time
async def test_a_publication_whose_answer_got_lost_is_not_doubled() -> None:
    ends = Ends()
    async with ends.running():
        ends.server.loses_answers = True
        ends.redis.publish("chat", "1")
        await until(lambda: len(ends.server.requests) > 3)
        ends.server.loses_answers = False
    assert ends.server.held == {"chat": [1]}
    assert ends.counts.retries > 2


@on_virtual_time
async def test_what_a_batch_leaves_is_sent_again_before_what_follows() -> None:
    ends = Ends()
    async with ends.running():
        ends.server.fails_at = 3
        for number in range(10):
            ends.redis.publish("chat", str(number))
        await until(lambda: ends.counts.retries > 1)
        ends.server.fails_at = None
    assert ends.server.held == {"chat": [*range(10)]}


@on_virtual_time
async def test_beyond_its_room_the_oldest_are_dropped_and_that_is_told() -> None:
    ends = Ends(waiting_bytes_max=10_000)
    async with ends.running():
        ends.server.is_up = False
        for number in range(1_000):
            ends.redis.publish("chat", str(number))
            assert ends.counts.waiting_bytes <= 10_000
        assert ends.said("10,000 bytes wait for the server: the oldest messages are dropped")
        ends.server.is_up = True
        await until(lambda: not ends.counts.waiting)
        ends.redis.publish("chat", "new")
    held = ends.server.held["chat"]
    kept = len(held) - 1
    assert held == [*range(1_000 - kept, 1_000), "new"]
    assert ends.counts.dropped == 1_000 - kept
    assert ends.said(f"{1_000 - kept:,} messages were dropped, which had come ")


@on_virtual_time
async def test_one_that_is_refused_for_good_keeps_no_other_back() -> None:
    ends = Ends("*", channels=())
    ends.server.unknown_channels.add("nowhere")
    async with ends.running():
        for number in range(4):
            ends.redis.publish("chat", str(number))
            ends.redis.publish("nowhere", "1")
            ends.redis.publish("chat", "x" * 5_000)
            ends.redis.publish("chat", b"\xff")
    assert ends.server.held == {"chat": [*range(4)]}
    assert (ends.counts.published, ends.counts.refused, ends.counts.waiting_bytes) == (4, 12, 0)
    assert ends.said("not published (1 so far): to channel 'chat': it is neither JSON nor UTF-8")
    assert sum(told.startswith("not published (") for told in ends.told) == 2, "not a line for each"


@on_virtual_time
async def test_a_redis_that_comes_back_is_listened_to_again_and_it_is_told_what_that_means() -> None:
    ends = Ends()
    async with ends.running():
        ends.redis.publish("chat", "1")
        ends.redis.is_up = False
        ends.redis.drop()
        assert ends.redis.publish("chat", "2") == 0
        await loop().pass_ms(10_000)
        ends.redis.is_up = True
        await until(lambda: ends.said("Redis answers again"))
        ends.redis.publish("chat", "3")
    assert ends.server.held == {"chat": [1, 3]}
    assert ends.counts.redis_losses == 1
    assert ends.said("Redis Pub/Sub keeps nothing")
    assert sum("trying again" in told for told in ends.told) == 1


@on_virtual_time
async def test_a_connection_that_is_half_open_is_given_up() -> None:
    ends = Ends()
    async with ends.running():
        ends.redis.is_deaf = True
        await until(lambda: not ends.redis.lines)
        ends.redis.is_deaf = False
        await until(lambda: ends.redis.reached == 2)
        await loop().pass_ms(60_000)
        assert ends.redis.reached == 2, "a quiet one is asked, and answers"


@on_virtual_time
async def test_a_redis_that_was_never_there_is_waited_for() -> None:
    ends = Ends()
    ends.redis.is_up = False
    loop().after_ms(5_000, setattr, ends.redis, "is_up", True)
    async with ends.running():
        ends.redis.publish("chat", "1")
    assert ends.server.held == {"chat": [1]}
    assert ends.counts.redis_losses == 0
    assert not ends.said("keeps nothing")


@on_virtual_time
async def test_a_redis_that_refuses_ends_the_bridge() -> None:
    ends = Ends()
    ends.redis.refuses = "NOPERM this user has no permissions to access one of the channels"
    with pytest.raises(StoreRefused, match="no permissions"):
        await ends.bridge.run(ends.asked)


@on_virtual_time
async def test_a_stop_publishes_what_waits_and_does_not_take_for_ever() -> None:
    ends = Ends(drain_ms=2_000)
    async with ends.running():
        for number in range(1_200):
            ends.redis.publish("chat", str(number))
    assert ends.server.held == {"chat": [*range(1_200)]}
    assert not ends.redis.lines

    ends = Ends(drain_ms=2_000)
    async with ends.running():
        ends.server.is_up = False
        ends.redis.publish("chat", "1")
        before_ms = loop().now_ms
    assert loop().now_ms - before_ms == 2_000
    assert ends.counts.waiting == 1


@pytest.mark.parametrize("seed", range(50))
@on_virtual_time
async def test_whatever_fails_each_message_that_was_heard_is_there_once_in_order(seed: int) -> None:
    dice = Random(seed)
    ends = Ends("b*", channels=("a",), seed=seed)
    heard: dict[str, list[int]] = {"a": [], "b": []}
    async with ends.running():
        for number in range(300):
            await loop().pass_ms(dice.choice((0, 0, 1, 50)))
            fault = dice.randrange(16)
            if fault == 0:
                ends.redis.drop()
            ends.server.is_up = fault != 1
            ends.server.loses_answers = fault == 2
            ends.server.fails_at = dice.randrange(5) if fault == 3 else None
            channel = dice.choice("ab")
            if ends.redis.publish(channel, str(number)):
                heard[channel].append(number)
        ends.server.is_up, ends.server.loses_answers, ends.server.fails_at = True, False, None
    assert ends.server.held == {name: numbers for name, numbers in heard.items() if numbers}
    assert sum(map(len, heard.values())) > 50
