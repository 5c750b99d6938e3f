"""The main job, on real input: every client gets every message once, in order, whatever befalls it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT

COMMAND = [sys.executable, "-m", "examples.tunnel"]
SECONDS_MAX = 120


def run(*options: str) -> tuple[int, dict[str, Any]]:
    limit = ["--seconds-max", str(SECONDS_MAX)]
    ran = subprocess.run(
        [*COMMAND, "--json", *limit, *options], cwd=ROOT, stdout=subprocess.PIPE, check=False
    )
    score: dict[str, Any] = json.loads(ran.stdout)
    return ran.returncode, score


@pytest.mark.usefixtures("node")
def test_two_hundred_clients_get_every_message_once_in_order() -> None:
    code, score = run()
    faults = ("lost", "doubled", "disordered", "unrecovered")
    assert {name: score[name] for name in faults} == dict.fromkeys(faults, 0), score
    assert (score["complete"], score["deliveries"]) == (200, 200_000)
    assert (code, score["kept"], score["kills"]) == (0, True, 2)
    assert score["sdks"] == {"python": 100, "javascript": 100}
    assert score["reconnects"] > 400, "each client comes back at least after each kill"
    assert min(score["proxy"][fault] for fault in ("cuts", "stalls", "half_opens")) > 0
    assert score["retries"] > 0


def test_a_store_that_forgets_is_noticed() -> None:
    code, score = run("--clients", "4", "--messages", "40", "--store", "memory:")
    assert (code, score["kept"]) == (1, False)
    assert score["unrecovered"] > 0
    assert score["lost"] > 0


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--clients", "4"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        assert "published" in process.stderr.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 130
    assert "Traceback" not in said
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) >= 2
    assert not alive
    assert not list(tmp_path.iterdir())
