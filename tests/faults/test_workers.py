"""Workers that stand still, whose clocks are wrong, or that a job kills."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import day_off
from tests.faults.handlers import ATTEMPTS
from tests.faults.kill_workers import CONFIG
from tests.faults.scene import LEASE_MS, Scene
from tests.faults.worker_program import ROOT, until
from tests.program import Program

DAY_SECONDS = 86_400


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(Program(tmp_path, CONFIG))
    scene.program.start()
    yield scene
    scene.close()


def test_the_late_ack_of_a_worker_that_stood_still_is_refused(scene: Scene) -> None:
    late = scene.worker()
    id = scene.enqueue("slow", work_ms=LEASE_MS // 2)
    first = scene.line("start", id)
    late.pause()
    scene.worker()
    accepted = scene.line("accepted", id)
    late.resume()
    refused = scene.line("refused", id)
    assert (refused.fence, refused.deed) == (first.fence, "ack")
    assert accepted.fence > first.fence
    until(lambda: f"{id}: its lease is over, its ack was refused" in late.output())
    [ended] = scene.finish()
    assert (ended.state, ended.fence) == ("done", accepted.fence)
    assert ended.attempt in (2, 3), "its claim, which was under way, may have been answered"


def test_a_worker_that_stood_still_with_all_its_processes_gives_up_what_is_another_s(scene: Scene) -> None:
    late = scene.worker()
    id = scene.enqueue("slow", work_ms=10 * LEASE_MS)
    first = scene.line("start", id)
    for process in late.children():
        process.suspend()
    late.pause()
    scene.worker()
    until(lambda: scene.line("start", id).fence > first.fence)
    late.resume()
    for process in late.children():
        process.resume()
    until(lambda: f"{id}: its lease has run out here, it is given up" in late.output())
    [ended] = scene.finish()
    assert ended.state == "done"
    assert ended.attempt in (2, 3)


def test_workers_whose_clocks_are_a_day_off_change_nothing(scene: Scene) -> None:
    folder = Path(next(iter(day_off.__path__)))
    today = time.strftime("%Y-%m-%d", time.gmtime())
    for seconds in (DAY_SECONDS, -DAY_SECONDS):
        worker = scene.worker(PYTHONPATH=f"{folder}:{ROOT}", CLOCK_OFF_SECONDS=str(seconds))
        assert today not in worker.output(), "its clock is off"
    for number in range(20):
        scene.enqueue(f"long-{number}", key=f"key-{number % 15}", work_ms=LEASE_MS + 100)
        scene.enqueue(f"short-{number}", kind="shaky")
    scene.enqueue("doomed", kind="doomed")
    attempts = {each.task: each.attempt for each in scene.finish()}
    assert {attempts[f"long-{number}"] for number in range(20)} == {1}, "no lease ran out"
    assert {attempts[f"short-{number}"] for number in range(20)} == {2}
    assert attempts["doomed"] == ATTEMPTS


def test_a_job_that_takes_all_memory_dies_and_those_beside_it_are_done(scene: Scene) -> None:
    worker = scene.worker()
    mates = [scene.enqueue(f"mate-{number}", work_ms=500) for number in range(4)]
    poison = scene.enqueue("poison", kind="poison")
    ended = {each.job: each for each in scene.finish()}
    assert {ended[id].state for id in mates} == {"done"}
    assert {ended[id].attempt for id in mates} == {2}, "they ran alone next"
    assert ended[poison].state == "dead"
    assert "SIGABRT" in ended[poison].reason
    starts = [line for line in scene.records.read() if (line.what, line.subject) == ("start", poison)]
    assert len(starts) == ATTEMPTS + 1, "the first time it was not alone"
    assert worker.process.poll() is None
    after = scene.enqueue("after")
    assert {each.job: each.state for each in scene.finish()}[after] == "done"
