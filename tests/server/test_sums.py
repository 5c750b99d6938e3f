"""The numbers of several processes are told as those of one server, and what only rises never falls."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.histogram import Histogram
from gapless.server.metrics import METRICS, Kind, Samples, Several
from gapless.server.sums import Counts, Measured, heard, kept, summed, told

COUNTER = "gapless_publications_total"
GAUGE = "gapless_channels"
MOST = "gapless_uptime_seconds"
LEAST = "process_start_time_seconds"
WRITER = "gapless_store_entries_total"
HISTOGRAM = "gapless_recovered_messages"
BOUNDS = (1, 10)


def of(numbers: dict[str, float], *, writes: bool = False) -> Measured:
    return Measured(writes, {name: [((), number)] for name, number in numbers.items()})


def number(measured: Measured, name: str) -> float | Counts | None:
    return dict(measured.rows[name]).get(())


def histogram(*values: float) -> Histogram:
    made = Histogram(BOUNDS)
    for value in values:
        made.observe(value)
    return made


def test_numbers_pass_as_they_are() -> None:
    samples: Samples = {COUNTER: [((), 3)], HISTOGRAM: [(("a",), histogram(1, 2, 30))]}
    passed = msgspec.json.decode(msgspec.json.encode(told(samples, owns_writer=True)), type=Measured)
    found = heard(passed)
    assert found[COUNTER] == [((), 3)]
    [(labels, value)] = found[HISTOGRAM]
    assert isinstance(value, Histogram)
    assert (labels, list(value.cumulative()), value.sum) == (
        ("a",),
        list(histogram(1, 2, 30).cumulative()),
        33,
    )


def test_each_number_is_told_as_its_row_says() -> None:
    one = of({COUNTER: 1, GAUGE: 10, MOST: 5, LEAST: 100})
    other = of({COUNTER: 2, GAUGE: 20, MOST: 9, LEAST: 90})
    total = summed([one, other])
    assert [number(total, name) for name in (COUNTER, GAUGE, MOST, LEAST)] == [3, 30, 9, 90]


def test_labels_are_kept_apart_and_histograms_added() -> None:
    def one(code: str, *values: float) -> Measured:
        return told(
            {COUNTER: [((code,), 1), (("all",), 1)], HISTOGRAM: [((), histogram(*values))]}, owns_writer=False
        )

    total = summed([one("a", 1, 2), one("b", 20)])
    assert dict(total.rows[COUNTER]) == {("a",): 1, ("all",): 2, ("b",): 1}
    assert number(total, HISTOGRAM) == Counts([1, 10], [1, 1, 1], 23)


def test_the_writer_is_told_of_once() -> None:
    """Who joined knows the numbers of the process that writes, which tells them itself."""
    assert number(summed([of({WRITER: 7}), of({WRITER: 8}, writes=True)]), WRITER) == 8
    both = summed([of({WRITER: 7}, writes=True), of({WRITER: 8}, writes=True)])
    assert number(both, WRITER) == 15, "on Redis each is a writer"
    assert number(summed([of({WRITER: 7}), of({WRITER: 7})]), WRITER) == 7, "another process writes"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.booleans()), max_size=40))
def test_what_only_rises_never_falls_whoever_ends(steps: list[tuple[int, int, bool]]) -> None:
    counts = [0] * 4
    ended: Measured | None = None
    before = 0.0
    for process, more, ends in steps:
        counts[process] += more
        if ends:
            ended = kept(of({COUNTER: counts[process], GAUGE: 5}), ended)
            counts[process] = 0
        total = summed([of({COUNTER: count, GAUGE: 1}) for count in counts], ended)
        after = number(total, COUNTER)
        assert isinstance(after, int | float)
        assert after >= before
        assert number(total, GAUGE) == 4, "what ended is not there any more"
        before = after


def test_no_gauge_of_the_store_is_added_for_processes_that_only_joined() -> None:
    assert {metric.name for metric in METRICS if metric.name.startswith("gapless_store_")} == {
        metric.name for metric in METRICS if metric.several is Several.WRITER
    } | {
        "gapless_store_recent_commit_seconds",
        "gapless_store_info",
    }
    assert all(
        metric.kind is Kind.GAUGE for metric in METRICS if metric.several in (Several.MOST, Several.LEAST)
    )
