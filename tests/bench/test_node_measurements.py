import pytest

from bench.node_measurements import soak
from bench.report import judge

HELD = {"drift_percent": 4.9, "descriptors_left": 0.0, "last_mib": 70.0, "connects": 90_000.0}
SERVER = "gapless on Redis"


def test_a_soak_says_how_long_it_ran() -> None:
    labels = [figure.label for figure in soak("soak", 600, 1_000).figures]
    assert all(label.startswith("10 min of churn: ") for label in labels)
    assert soak("soak", 30, 1_000).about.startswith("30 s on two nodes")


@pytest.mark.parametrize(
    ("more", "met"),
    [
        ({}, [True, True]),
        ({"drift_percent": -9.0}, [True, True]),
        ({"drift_percent": 5.1}, [False, True]),
        ({"descriptors_left": 1.0}, [True, False]),
    ],
)
def test_a_soak_is_judged_by_growth_and_by_descriptors(more: dict[str, float], met: list[bool]) -> None:
    rows = judge(soak("soak", 60, 100).figures, {SERVER: [HELD | more]})
    assert [row.met for row in rows if row.figure.target] == met
