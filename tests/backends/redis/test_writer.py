"""The queue of appends: in the order of the calls, no stream in two of them at once, told as it is."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from gapless.backends import Options
from gapless.backends.redis.calls import Calls
from gapless.backends.redis.writer import CALL_ENTRIES_MAX, Writer
from gapless.core.errors import GaplessError, OutcomeUnknown, StoreFailed, Unavailable
from gapless.core.limits import CALL_LATE_MS
from gapless.core.stream import Entry, Outcome, Stored
from gapless.testing.conformance.places import entry

decode = msgspec.msgpack.decode
# Data are handed over as text that is no UTF-8.
entries = msgspec.msgpack.Decoder(list[list[msgspec.Raw]]).decode


class Line(Calls):
    """Calls that a test answers; `error` is what sending fails with."""

    def __init__(self) -> None:
        self.opener = "o" * 16
        self.said: list[tuple[Callable[[Any], object], tuple[Any, ...]]] = []
        self.error: GaplessError | None = None

    def send(self, answered: Callable[[Any], object], name: str, *arguments: Any) -> None:
        if self.error is not None:
            raise self.error
        assert name == "append"
        self.said.append((answered, arguments))

    def time_ms(self) -> int:
        return 1_000

    def streams(self) -> list[list[str]]:
        """The streams of each call's entries."""
        return [[decode(one[0], type=str) for one in entries(arguments[2])] for _, arguments in self.said]

    def answer(self, number: int, told: Any = None) -> None:
        answered, arguments = self.said[number]
        offsets = list(range(1, len(entries(arguments[2])) + 1))
        answered([b"epoch", 5, offsets] if told is None else told)


class Told:
    """What became of each entry, by its context, in the order in which that was told."""

    def __init__(self) -> None:
        self.outcomes: dict[Any, Outcome] = {}

    def done(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        for one, outcome in zip(entries, outcomes, strict=True):
            self.outcomes[one.context] = outcome

    def kinds(self) -> dict[Any, type]:
        return {context: type(outcome) for context, outcome in self.outcomes.items()}


Test = Callable[[Line, Writer, Told], Awaitable[None]]


def writing(test: Test) -> Callable[[], None]:
    """Turn a coroutine that tests a writer into a test."""

    def run() -> None:
        async def scenario() -> None:
            line = Line()
            await test(line, Writer(line, Options()), Told())

        asyncio.run(scenario())

    run.__name__ = test.__name__
    return run


def append(writer: Writer, told: Told, *streams: str, number: int | str = "", **rest: Any) -> None:
    """Append a message to each stream, by one call each."""
    for stream in streams:
        writer.append([entry(stream, context=f"{stream}{number}", **rest)], told.done)


async def turn() -> None:
    """Let all that is due on the loop happen."""
    for _ in range(5):
        await asyncio.sleep(0)


@writing
async def test_what_waits_joins_the_next_call(line: Line, writer: Writer, told: Told) -> None:
    append(writer, told, "a", "b", "a")
    await turn()
    assert line.streams() == [["a", "b", "a"]]
    assert told.outcomes == {}
    line.answer(0)
    assert told.outcomes == {"a": Stored("epoch", 3, 5), "b": Stored("epoch", 2, 5)}


@writing
async def test_no_stream_is_in_two_calls_at_once(line: Line, writer: Writer, told: Told) -> None:
    append(writer, told, "a")
    await turn()
    append(writer, told, "a", "b")
    await turn()
    assert line.streams() == [["a"]]
    line.answer(0)
    await turn()
    assert line.streams() == [["a"], ["a", "b"]]


@writing
async def test_what_is_stored_with_an_entry_counts_as_its_stream_too(
    line: Line, writer: Writer, told: Told
) -> None:
    writer.append([entry("a", also=entry("b"))], told.done)
    await turn()
    append(writer, told, "b")
    await turn()
    assert line.streams() == [["a"]]


@writing
async def test_other_streams_go_on_meanwhile_and_are_told_in_their_order(
    line: Line, writer: Writer, told: Told
) -> None:
    append(writer, told, "a")
    await turn()
    append(writer, told, "b")
    await turn()
    append(writer, told, "c")
    await turn()
    assert line.streams() == [["a"], ["b"]]
    line.answer(1)
    assert list(told.outcomes) == []
    line.answer(0)
    assert list(told.outcomes) == ["a", "b"]
    await turn()
    assert line.streams() == [["a"], ["b"], ["c"]]


@writing
async def test_a_call_takes_only_so_many(line: Line, writer: Writer, told: Told) -> None:
    append(writer, told, *["a"] * (CALL_ENTRIES_MAX + 1))
    await turn()
    line.answer(0)
    await turn()
    assert list(map(len, line.streams())) == [CALL_ENTRIES_MAX, 1]


@writing
async def test_a_call_says_how_late_it_may_be(line: Line, writer: Writer, told: Told) -> None:
    append(writer, told, "a")
    await turn()
    [(_, arguments)] = line.said
    assert arguments[:2] == (1_000 + CALL_LATE_MS, "o" * 16)


@writing
async def test_what_was_sent_when_the_connection_was_lost_is_unknown_and_what_stood_behind_it_refused(
    line: Line, writer: Writer, told: Told
) -> None:
    append(writer, told, "a", origin="o", number=1)
    await turn()
    append(writer, told, "a", origin="o", number=2)
    append(writer, told, "a", origin="p", number=3)
    append(writer, told, "b", origin="o", number=4)
    line.answer(0, OutcomeUnknown("lost"))
    append(writer, told, "a", origin="o", number=5)
    await turn()
    assert told.kinds() == {"a1": OutcomeUnknown}
    assert line.streams()[1:] == [["a", "b", "a"]]
    line.answer(1)
    assert told.kinds() == {"a1": OutcomeUnknown, "a2": Unavailable, "a3": Stored, "b4": Stored, "a5": Stored}


@writing
async def test_without_a_connection_everything_is_refused_and_nothing_is_said(
    line: Line, writer: Writer, told: Told
) -> None:
    line.error = Unavailable("not there")
    append(writer, told, "a", "b")
    assert told.outcomes == {}
    await turn()
    assert told.kinds() == {"a": Unavailable, "b": Unavailable}
    assert (writer.statistics(0).queue_entries, writer.statistics(0).queue_bytes) == (0, 0)


@writing
async def test_draining_waits_for_what_was_appended_before(line: Line, writer: Writer, told: Told) -> None:
    await writer.drain()
    append(writer, told, "a")
    draining = asyncio.ensure_future(writer.drain())
    await turn()
    append(writer, told, "a")
    await turn()
    assert not draining.done()
    line.answer(0)
    await draining
    assert len(told.outcomes) == 1


@writing
async def test_a_closed_writer_takes_nothing_more(line: Line, writer: Writer, told: Told) -> None:
    append(writer, told, "a")
    closing = asyncio.ensure_future(writer.close())
    await turn()
    with pytest.raises(StoreFailed):
        append(writer, told, "a")
    line.answer(0)
    await closing
    assert told.kinds() == {"a": Stored}
