import pytest

from bench.measurement import Measurement
from bench.measurements import MEASUREMENTS
from bench.nodes import PAIRS, SEVERAL
from bench.queue_measurements import BACKLOG
from bench.report import Target, judge
from bench.servers import NO_SERVER, SERVERS

EACH = pytest.mark.parametrize("measurement", MEASUREMENTS, ids=lambda measurement: measurement.name)
CLAIMED = {"few_per_second": 50_000.0, "waiting_per_second": 45_000.0, "delayed_per_second": 30_000.0}
MEMORY = {"before_mib": 60.0, "with_waiting_mib": 130.0, "with_delayed_mib": 131.0, "after_mib": 140.0}


@EACH
def test_every_server_that_is_measured_can_be_run(measurement: Measurement) -> None:
    assert set(measurement.loads) <= {*SERVERS, *PAIRS, *SEVERAL, NO_SERVER}


@EACH
def test_every_figure_is_of_servers_that_are_measured(measurement: Measurement) -> None:
    named = {server for figure in measurement.figures for server in (figure.server, figure.beside)}
    assert named - {""} <= set(measurement.loads)


@EACH
def test_every_server_that_is_measured_is_in_a_figure(measurement: Measurement) -> None:
    named = {server for figure in measurement.figures for server in (figure.server, figure.beside)}
    assert set(measurement.loads) <= named


@EACH
def test_what_is_asked_beside_a_peer_is_a_ratio_and_what_stands_alone_is_not(
    measurement: Measurement,
) -> None:
    targets = [(figure.beside, figure.target) for figure in measurement.figures if figure.target]
    alone = [beside for beside, target in targets if target.ratio and not beside]
    assert not alone


def test_no_row_is_there_twice() -> None:
    rows = [(figure.label, figure.server, figure.beside) for each in MEASUREMENTS for figure in each.figures]
    assert len(set(rows)) == len(rows)


def test_a_backlog_is_judged_by_claims_beside_few_jobs_and_by_memory_beyond_the_cache() -> None:
    rows = judge(BACKLOG.figures, {"gapless on SQLite": [CLAIMED | MEMORY]})
    judged = [(row.gapless, row.met) for row in rows if row.figure.target]
    assert judged == [(0.9, True), (0.6, False), (16.0, True)]


def test_memory_that_grows_misses_its_target() -> None:
    rows = judge(BACKLOG.figures, {"gapless on SQLite": [CLAIMED | MEMORY | {"after_mib": 200.0}]})
    assert (rows[-1].gapless, rows[-1].met) == (76.0, False)
    assert rows[-1].figure.target == Target(64, ratio=False)
