"""Replays: order across partitions, pace, what is left out, and import of what was exported."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gapless.broker.streams.replaying import Replaying
from gapless.core.errors import BadRequest, PositionLost, PositionTrimmed
from gapless.ports import Clock, Timer
from gapless.protocol.reading import ReplayedMessage, ReplayRequest
from gapless.protocol.streams import NewMessage, TrimRequest, imported
from tests.broker.streaming import Run, Streams, new, said
from tests.conversation import T


class LeapClock(Clock):
    """A clock that leaps to whatever is waited for."""

    def __init__(self) -> None:
        self._now_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    def after(self, delay_ms: int, callback: Callable[[], object]) -> Timer:
        self._now_ms += delay_ms
        return asyncio.get_running_loop().call_soon(callback)


async def three(streams: Streams) -> None:
    """Append to three partitions by turns, a second apart."""
    await streams.declare(partitions=3)
    for n in range(9):
        streams.clock.pass_ms(1_000)
        await streams.append(new(n, partition=n % 3))


async def replayed(streams: Streams, **fields: Any) -> list[ReplayedMessage]:
    request = ReplayRequest(source="orders", factor=0, **fields)
    return [message async for page in streams.streaming.replay(request) for message in page]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ({"partition": 1}, [1, 4, 7]),
        ({"partition": 1, "offset": 2}, [4, 7]),
        ({"at_ms": T + 3_500, "until_ms": T + 8_000}, [3, 4, 5, 6]),
    ],
)
def test_an_export_is_in_the_order_of_time(
    with_streams: Run, asked: dict[str, Any], expected: list[int]
) -> None:
    async def scene(streams: Streams) -> None:
        await three(streams)
        assert said(await replayed(streams, **asked)) == expected

    with_streams(scene)


def test_a_replay_takes_as_long_as_it_took_by_the_factor_and_no_pause_is_too_long(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await three(streams)
        paces: list[tuple[dict[str, Any], list[int]]] = [
            ({"factor": 1.0}, [n * 1_000 for n in range(9)]),
            ({"factor": 4.0}, [n * 250 for n in range(9)]),
            ({"factor": 0.5, "pause_ms": 1_500}, [n * 1_500 for n in range(9)]),
        ]
        for fields, expected in paces:
            clock, told = LeapClock(), list[int]()
            replaying = Replaying(streams.store, clock, streams.streaming.sources)
            async for page in replaying.replay(ReplayRequest(source="orders", **fields)):
                told += [clock.now_ms()] * len(page)
            assert told == expected

    with_streams(scene)


def test_what_was_exported_is_imported_once(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare(partitions=2)
        await streams.append(new("a", key="k", headers={"h": "1"}), NewMessage(b64data=b"\xff"), new(None))
        lines = msgspec.json.Encoder().encode_lines(await replayed(streams))
        await streams.declare("copy", partitions=2)
        for _ in range(2):
            read = msgspec.json.Decoder(ReplayedMessage).decode_lines(lines)
            await streams.append(*(imported(line, 2) for line in read), stream="copy")
        pages = streams.streaming.replay(ReplayRequest(source="copy", factor=0))
        copied = [each async for page in pages for each in page]
        assert len(copied) == 3
        assert {(each.key, each.body(), json.dumps(each.headers)) for each in copied} == {
            ("k", b'"a"', '{"h": "1"}'),
            ("", b"\xff", "{}"),
            ("", b"null", "{}"),
        }

    with_streams(scene)


def test_a_replay_that_retention_overtakes_says_so(with_streams: Run) -> None:
    async def scene(streams: Streams) -> None:
        await streams.declare()
        for n in range(10):
            streams.clock.pass_ms(1_000)
            await streams.append(*(new(f"{n}" + "x" * 10_000) for _ in range(10)))
        playing = asyncio.ensure_future(drained(streams))
        while not playing.done():
            for _ in range(50):
                await asyncio.sleep(0)
            if not playing.done() and (await streams.read()).floor == 0:
                await streams.streaming.trim(TrimRequest(stream="orders", offset=99))
            streams.clock.pass_ms(1_000)
        with pytest.raises(PositionTrimmed, match="offsets 100 to 100"):
            await playing

    with_streams(scene)


async def drained(streams: Streams) -> None:
    async for _ in streams.streaming.replay(ReplayRequest(source="orders")):
        pass


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"offset": 12, "partition": 0}, PositionLost),
        ({"offset": 1}, BadRequest),
        ({"offset": 1, "at_ms": 1, "partition": 0}, BadRequest),
        ({"key": "k"}, BadRequest),
        ({"partition": 3}, BadRequest),
    ],
)
def test_a_malformed_replay_is_refused(
    with_streams: Run, asked: dict[str, Any], error: type[Exception]
) -> None:
    async def scene(streams: Streams) -> None:
        await three(streams)
        with pytest.raises(error):
            await replayed(streams, **asked)

    with_streams(scene)
