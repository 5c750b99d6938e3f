"""Members of a group that are killed and stopped: every message is handled, in order, commits go forward."""

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.group_history import Group, findings
from tests.faults.member import GROUP, PARTITIONS, SESSION_MS, STREAM
from tests.faults.records import Records
from tests.faults.worker_program import WorkerProgram, until
from tests.program import Program

MEMBERS = 3
ROUNDS = 8
BATCH = 40


class Scene:
    """A server with a stream, and members of a group that write down what they do."""

    def __init__(self, folder: Path) -> None:
        self.program = Program(folder, {"log": {"level": "warn"}})
        self.records = Records(folder / "records")
        self.members: list[WorkerProgram] = []
        self.ends: Counter[str] = Counter()

    def member(self) -> WorkerProgram:
        """Start a member."""
        url = self.program.api_url.removesuffix("/api")
        path = self.program.folder / f"member-{len(self.members)}"
        command = [sys.executable, "-m", "tests.faults.member"]
        member = WorkerProgram(path, self.records.environment(GAPLESS_URL=url), command)
        self.members.append(member)
        member.start()
        return member

    def append(self, count: int, work_ms: int) -> None:
        """Append messages with keys of their own."""
        messages = [{"key": f"k{n}", "data": {"work_ms": work_ms}} for n in range(count)]
        answer = self.program.api("stream/append", stream=STREAM, messages=messages)["result"]
        for item in answer["messages"]:
            self.ends[str(item["result"].get("partition", 0))] += 1

    def count(self, what: str) -> int:
        """Return how often something was written down."""
        self.records.read()
        return self.records.counts[what]

    def finish(self) -> None:
        """Wait until all is committed, and hold it against what was handled."""
        request = {"source": STREAM, "group": GROUP}
        until(lambda: not self.program.api("stream/lag", **request)["result"]["lag"])
        assert findings(Group(self.ends, self.records.read())) == []


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    scene.program.start()
    yield scene
    for member in scene.members:
        member.close()
    scene.program.close()


def test_what_members_leave_when_they_are_killed_others_handle(scene: Scene) -> None:
    dice = random.Random(1)
    for _ in range(MEMBERS):
        scene.member()
    stopped: list[WorkerProgram] = []
    for number in range(ROUNDS):
        enough = scene.count("handled") + BATCH // 2
        scene.append(BATCH, work_ms=5)
        until(lambda: scene.count("handled") >= enough)  # noqa: B023 # called before it changes
        while stopped:
            stopped.pop().resume()
        victim = dice.choice(scene.members)
        if number % 4 == 0:
            scene.program.kill()
            scene.program.start()
        elif number % 4 == 1:
            victim.pause()
            stopped.append(victim)
        else:
            victim.kill()
            victim.start()
    while stopped:
        stopped.pop().resume()
    scene.finish()
    assert sum(scene.ends.values()) == ROUNDS * BATCH
    assert len(scene.ends) == PARTITIONS


def test_the_late_commit_of_a_member_that_stood_still_is_refused(scene: Scene) -> None:
    late = scene.member()
    scene.append(BATCH, work_ms=SESSION_MS // 4)
    until(lambda: scene.count("committed"))
    late.pause()
    scene.member()
    fences = {line.subject: line.fence for line in scene.records.read()}
    until(
        lambda: any(
            line.what == "committed" and line.fence > fences.get(line.subject, line.fence)
            for line in scene.records.read()
        )
    )
    late.resume()
    until(lambda: scene.count("refused"))
    until(lambda: "is another's: the commit of offset" in late.output())
    scene.finish()
