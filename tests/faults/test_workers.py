"""Workers that stand still, whose clocks are wrong, or that a job kills."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import day_off
from tests.faults.handlers import ATTEMPTS, QUEUE
from tests.faults.history import Ended, History, Sent, findings
from tests.faults.records import Line, Records
from tests.faults.worker_program import ROOT, WorkerProgram, until
from tests.program import Program

LEASE_MS = 400
DAY_SECONDS = 86_400


class Scene:
    """A server, and workers of it that write down what they do."""

    def __init__(self, folder: Path) -> None:
        self.program = Program(folder, {"log": {"level": "warn"}})
        self.records = Records(folder / "records")
        self.workers: list[WorkerProgram] = []
        self.sent: list[Sent] = []

    def worker(self, **environment: str) -> WorkerProgram:
        """Start a worker."""
        url = self.program.api_url.removesuffix("/api")
        variables = self.records.environment(GAPLESS_URL=url, LEASE_MS=str(LEASE_MS), **environment)
        worker = WorkerProgram(self.program.folder / f"worker-{len(self.workers)}", variables)
        self.workers.append(worker)
        worker.start()
        return worker

    def enqueue(self, name: str, *, key: str | None = None, **task: Any) -> str:
        """Enqueue a job, and return its id."""
        job = {"queue": QUEUE, "key": key, "data": {"name": name, **task}}
        [item] = self.program.api("queue/enqueue", jobs=[job])["result"]["jobs"]
        id: str = item["result"]["id"]
        self.sent.append(Sent(name, key, task.get("kind", "good"), {id}))
        return id

    def job(self, id: str) -> dict[str, Any]:
        """Return a job as the server has it."""
        job: dict[str, Any] = self.program.api("queue/job", id=id)["result"]
        return job

    def line(self, what: str, subject: str) -> Line:
        """Wait for something to be written of a job, and return the last of it."""

        def found() -> list[Line]:
            return [line for line in self.records.read() if (line.what, line.subject) == (what, subject)]

        until(found)
        return found()[-1]

    def finish(self) -> list[Ended]:
        """Wait until every job is done or dead, and hold all against each other."""
        ids = [id for sent in self.sent for id in sent.ids]
        until(lambda: all(self.job(id)["state"] in ("done", "dead") for id in ids))
        jobs = [self.job(id) for id in ids]
        ended = [
            Ended(
                job["id"],
                job["data"]["name"],
                job["state"],
                job["attempt"],
                job.get("result", 0),
                job.get("reason", ""),
            )
            for job in jobs
        ]
        assert findings(History(self.sent, self.records.read(), ended)) == []
        return ended


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    scene.program.start()
    yield scene
    for worker in scene.workers:
        worker.close()
    scene.program.close()


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
