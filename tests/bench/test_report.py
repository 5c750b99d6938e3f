import pytest

from bench.report import Figure, Row, Target, judge, notes, number, section, table, with_section

CPU = Figure("CPU", "µs", lambda sample: sample["cpu"], Target(0.6))
RATE = Figure(
    "rate", "/s", lambda sample: sample["rate"], Target(50_000, at_least=True, ratio=False), beside=""
)


def samples(name: str, *values: float) -> list[dict[str, float]]:
    return [{name: value} for value in values]


def test_the_median_of_each_server_makes_the_ratio() -> None:
    (row,) = judge([CPU], {"gapless": samples("cpu", 5, 90, 6), "peer": samples("cpu", 11, 12, 1)})
    assert (row.gapless, row.beside, row.ratio) == (6, 11, 6 / 11)


def test_a_figure_may_stand_beside_another_server() -> None:
    figure = Figure("CPU", "µs", CPU.of, server="mine", beside="theirs")
    (row,) = judge(
        [figure], {"mine": samples("cpu", 2), "theirs": samples("cpu", 4), "peer": samples("cpu", 9)}
    )
    assert row.ratio == 0.5


@pytest.mark.parametrize(("gapless", "met"), [(5.9, True), (6, True), (6.1, False), (None, None)])
def test_a_ratio_is_judged_by_its_limit(gapless: float | None, met: bool | None) -> None:
    assert Row(CPU, gapless, 10).met is met


@pytest.mark.parametrize(("gapless", "met"), [(49_999, False), (50_000, True)])
def test_a_figure_alone_is_judged_by_its_value(gapless: float, met: bool) -> None:
    assert Row(RATE, gapless, None).met is met


def test_without_a_peer_there_is_no_verdict() -> None:
    assert Row(CPU, 5, None).met is None


def test_without_a_target_there_is_no_verdict() -> None:
    assert Row(Figure("CPU", "µs", CPU.of), 5, 10).met is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.0123, "0.012"),
        (0.5, "0.5"),
        (1.286, "1.29"),
        (12.34, "12.3"),
        (100.4, "100"),
        (779_779.3, "779,779"),
    ],
)
def test_a_number_has_about_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_the_table_shows_the_verdict_beside_the_target() -> None:
    head, line, met, missed = table([Row(CPU, 5, 10), Row(RATE, 1, None)]).splitlines()
    assert [cell.strip() for cell in met.split("|")[1:-1]] == [
        "CPU",
        "µs",
        "5",
        "10",
        "peer",
        "0.5",
        "≤ 0.6 ×",
        "met",
    ]
    assert [cell.strip() for cell in missed.split("|")[1:-1]][-2:] == ["≥ 50,000", "**missed**"]
    assert len({len(head), len(line), len(met), len(missed)}) == 1


def test_notes_keep_what_explains_the_figures() -> None:
    taken = [{"p50_ms": 2.0, "count": 7.0}, {"p50_ms": 4.0, "count": 7.0}]
    assert notes(taken) == "p50_ms 3"


def test_no_samples_leave_no_notes() -> None:
    assert notes([]) == ""


@pytest.mark.parametrize("page", ["# Page\n\ntext\n", "# Page\n\n## A\n\na\n\n## Z\n\nz\n"])
def test_a_section_is_found_where_it_was_put_and_leaves_the_others(page: str) -> None:
    once = with_section(page, "New", "one\n\ntwo")
    assert section(once, "New") == "one\n\ntwo"
    assert once.startswith(page.rstrip())
    assert with_section(once, "New", "other") == once.replace("one\n\ntwo", "other")


def test_a_section_between_others_is_replaced_without_them() -> None:
    page = "# Page\n\n## A\n\na\n\n## Z\n\nz\n"
    assert section(page, "A") == "a"
    assert with_section(page, "A", "b") == "# Page\n\n## Z\n\nz\n\n## A\n\nb\n"


def test_no_section_is_added_without_text() -> None:
    assert section("# Page\n", "New") == ""
    assert with_section("# Page\n", "New", "") == "# Page\n"
