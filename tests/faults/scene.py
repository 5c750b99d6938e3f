"""A server and workers, of which a test decides step by step what happens to them."""

from typing import Any

from tests.faults.handlers import ECHOES, QUEUE
from tests.faults.history import Ended, History, Sent, ended_of, findings
from tests.faults.kill_workers import PAGE
from tests.faults.records import Line, Records
from tests.faults.worker_program import WorkerProgram, until
from tests.program import Program

__all__ = ["LEASE_MS", "Scene"]

LEASE_MS = 400


class Scene:
    """A server, and workers of it that write down what they do."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.records = Records(program.folder / "records")
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

    def settled(self, id: str, fence: int) -> None:
        """Wait until a worker was told what became of what it settled under a fence."""

        def told() -> bool:
            lines = {(line.what, line.subject, line.fence) for line in self.records.read()}
            return bool(lines & {("accepted", id, fence), ("refused", id, fence)})

        until(told)

    def finish(self) -> list[Ended]:
        """Wait until every job is done or dead; nothing may be found then."""
        ended = self.ended()
        assert self.findings(ended) == []
        return ended

    def ended(self) -> list[Ended]:
        """Wait until every job is done or dead, and return them."""
        ids = [id for sent in self.sent for id in sent.ids]
        until(lambda: all(self.job(id)["state"] in ("done", "dead") for id in ids))
        return [ended_of(self.job(id)) for id in ids]

    def findings(self, ended: list[Ended]) -> list[str]:
        """Hold all against each other."""
        request = {"queue": ECHOES, "state": "waiting", "limit": PAGE}
        emitted = [job["data"] for job in self.program.api("queue/browse", **request)["result"]["jobs"]]
        return findings(History(self.sent, self.records.read(), ended, emitted))

    def close(self) -> None:
        """End all, without ceremony."""
        for worker in self.workers:
            worker.close()
        self.program.close()
