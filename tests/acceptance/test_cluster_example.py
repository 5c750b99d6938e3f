"""The example of a cluster does what it says: a rolling restart and a failover, with clients that count."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT

COMMAND = [sys.executable, "-m", "examples.cluster"]
SECONDS_MAX = 90


@pytest.fixture(autouse=True)
def programs() -> None:
    """Redis and HAProxy, without which there is no cluster."""
    found = [
        shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("redis-server", "haproxy")
    ]
    if not all(found):
        pytest.skip("no Redis or no HAProxy: tools/install-programs installs them")


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path)}


def demonstrated(environment: Mapping[str, str], *what: str) -> dict[str, Any]:
    ran = subprocess.run(
        [*COMMAND, *what, "--json", "--clients", "10"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert ran.returncode == 0, (ran.stdout, ran.stderr)
    score: dict[str, Any] = json.loads(ran.stdout)
    return {**score, "said": ran.stderr.decode()}


def test_a_rolling_restart_is_a_reconnect_and_nothing_else(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    score = demonstrated(environment, "roll")
    faults = ("lost", "missing_and_told", "forgotten", "told", "doubled", "disordered")
    assert {name: score[name] for name in faults} == dict.fromkeys(faults, 0), score
    assert score["deliveries"] == score["messages"] * score["clients"] > 1_000
    assert score["clients"] <= score["reconnects"] <= 2 * score["clients"], score
    assert [name for name in "ab" if f"node {name}: back" in score["said"]] == ["a", "b"]
    assert not list(tmp_path.iterdir())


def test_a_failover_of_redis_loses_nothing_without_a_word(environment: Mapping[str, str]) -> None:
    score = demonstrated(environment, "failover")
    assert (score["kept"], score["lost"], score["doubled"], score["disordered"]) == (True, 0, 0, 0), score
    assert "Sentinel promoted" in score["said"]
    assert "is started again" in score["said"]


def test_a_failover_to_a_replica_that_lags_is_told_to_every_reader(environment: Mapping[str, str]) -> None:
    score = demonstrated(environment, "failover", "--behind-ms", "500")
    assert score["forgotten"] > 0, score
    assert (score["told"], score["lost"], score["kept"]) == (score["clients"], 0, True), score


def test_an_interrupt_stops_all_that_was_started_and_nothing_else(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--port", "0"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        while "Ctrl-C ends it" not in (line := process.stdout.readline()):
            assert line, process.communicate()
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 130
    assert "Traceback" not in said
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) >= 8, "two nodes, two Redis, three Sentinels, HAProxy"
    assert not alive
    assert not list(tmp_path.iterdir())
