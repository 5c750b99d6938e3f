"""`gapless dev` from outside: the worker of its failure lab, and how it ends."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.browser.seeding import until
from tests.browser.servers import Dev

QUEUE = "lab-jobs"
JOBS = 12


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    with Dev(tmp_path) as dev:
        yield dev


def ask(dev: Dev, method: str, **asked: Any) -> Any:
    answer = dev.api(method, **asked)
    assert "result" in answer, answer
    return answer["result"]


def worker(dev: Dev) -> dict[str, Any]:
    found: dict[str, Any] = ask(dev, "lab/faults")["faults"]["worker"]
    return found


def stats(dev: Dev) -> dict[str, int]:
    (found,) = ask(dev, "queue/stats", queue=QUEUE)["queues"]
    return dict(found)


def told(dev: Dev) -> Callable[[], str]:
    return lambda: f"{stats(dev)} {dev.output()}"


def test_jobs_of_a_worker_that_was_killed_are_done_by_the_next_one(dev: Dev) -> None:
    ask(dev, "queue/declare", queue=QUEUE)
    ask(dev, "queue/enqueue", jobs=[{"queue": QUEUE, "data": {"number": n}} for n in range(JOBS)])
    ask(dev, "lab/start_worker")
    until(lambda: stats(dev)["leased"] > 0, told(dev))
    killed = psutil.Process(worker(dev)["pid"])
    family = [killed, *killed.children(recursive=True)]
    ask(dev, "lab/stop_worker", kill=True)
    psutil.wait_procs(family, timeout=10)
    assert not any(each.is_running() for each in family)
    until(lambda: not worker(dev)["running"], told(dev))
    assert stats(dev)["acked"] == 0

    ask(dev, "lab/start_worker")
    assert worker(dev)["pid"] != killed.pid
    until(lambda: stats(dev)["acked"] == JOBS, told(dev))
    found = stats(dev)
    assert found["claimed"] > JOBS, "none was begun twice"
    assert (found["ready"], found["leased"], found["dead"]) == (0, 0, 0)

    ask(dev, "lab/stop_worker")
    until(lambda: not worker(dev)["running"], told(dev))


def test_ctrl_c_ends_everything_and_says_nothing(dev: Dev) -> None:
    ask(dev, "lab/start_worker")
    begun = psutil.Process(worker(dev)["pid"])
    said = dev.output()
    assert dev.process is not None
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(15) == 0
    psutil.wait_procs([begun], timeout=10)
    assert not begun.is_running()
    assert dev.output() == said


def test_a_worker_does_not_outlive_a_server_that_was_killed(dev: Dev) -> None:
    ask(dev, "queue/declare", queue=QUEUE)
    ask(dev, "lab/start_worker")
    begun = psutil.Process(worker(dev)["pid"])
    until(lambda: stats(dev)["claimers"] > 0, told(dev))
    dev.kill()
    psutil.wait_procs([begun], timeout=10)
    assert not begun.is_running()
