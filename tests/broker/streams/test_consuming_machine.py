"""Members that come, go and stop anywhere: nothing is skipped, and each partition is handled in order."""

import asyncio
from random import Random

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.protocol.groups import LeaveRequest
from gapless.protocol.messages import StreamPosition
from tests.broker.streaming import Streams, new, said
from tests.conversation import HandClock

MEMBERS = ("a", "b", "c")
STEPS = 120


@pytest.mark.parametrize("seed", range(20))
def test_whatever_members_do_every_message_is_handled_in_order(seed: int) -> None:
    asyncio.run(_play(Random(seed)))


async def _play(random: Random) -> None:
    clock = HandClock()
    store = await backends.open("memory:", Options(now_ms=clock.now_ms))
    streams = Streams(store, clock, ())
    await streams.open()
    await streams.declare(partitions=3)
    handled: dict[int, list[int]] = {0: [], 1: [], 2: []}  # each message when its commit was accepted
    count = 0
    for _ in range(STEPS):
        step = random.random()
        if step < 0.3:
            more = [new(count + n, key=f"k{random.randrange(9)}") for n in range(random.randrange(1, 6))]
            await streams.append(*more)
            count += len(more)
        elif step < 0.4:
            clock.pass_ms(random.choice((100, 1_200)))
        elif step < 0.45:
            member = random.choice(MEMBERS)
            await streams.streaming.leave(LeaveRequest(source="orders", group="billing", member=member))
        else:
            await _work(streams, random, random.choice(MEMBERS), handled)
    clock.pass_ms(10_000)  # all sessions are over
    while sum(map(len, handled.values())) < count:
        clock.pass_ms(500)  # who else joined is gone soon
        await _work(streams, random, "last", handled)
    kept = [said((await streams.read(partition=partition, limit=1_000)).messages) for partition in range(3)]
    assert [handled[partition] for partition in range(3)] == kept
    await streams.close()
    await store.close()


async def _work(streams: Streams, random: Random, member: str, handled: dict[int, list[int]]) -> None:
    """Fetch for a member, and commit some of it, late or not at all, as a process would that may stop."""
    held = {each.partition: each for each in await streams.heartbeat(member, session_ms=1_000)}
    if not held:
        return
    asked: list[tuple[int, StreamPosition]] = [(at, each.position) for at, each in held.items()]
    pages = await streams.fetch(*asked, member=member, limit=random.randrange(1, 9))
    if member != "last" and random.random() < 0.1:
        streams.clock.pass_ms(1_000)
        await streams.heartbeat(random.choice(MEMBERS), session_ms=1_000)
    for partition, page in pages.items():
        if random.random() < 0.2:
            continue
        done = page.messages[: random.randrange(len(page.messages)) + 1]
        if (await streams.commit(held[partition], done[-1].offset, member)).error is None:
            handled[partition] += said(done)
