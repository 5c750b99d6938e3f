"""A partition in a worker's hands, whose runners are the test's."""

from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, Literal, cast

import pytest

from gapless import Backoff, Gapless
from gapless.library.handlers import StreamHandler
from gapless.protocol.groups import CommitAnswer, CommitRequest, CommittedItem, NewCommit
from gapless.protocol.messages import StreamPosition, payload
from gapless.protocol.reading import ReadAnswer, StreamMessage
from gapless.worker.frames import HandlePage
from gapless.worker.partitions import Place, Serving
from gapless.worker.runners import End, How, Task
from gapless.worker.shared import Counters, Shared
from tests.server.serving import HandClock, on_a_loop
from tests.worker.test_inside import until

PLACE = Place(0, "e:1", 1, StreamPosition(0, "e"))


class Scene:
    """What a partition has of its worker: each run ends as `runs` says; commits are kept."""

    def __init__(self, *runs: Callable[[Task], End]) -> None:
        self.runners = self.gl = self
        self.name = "w"
        self.clock = HandClock()
        self.random = Random(7)
        self.counters = Counters()
        self.numbers = count(1)
        self.freed: set[Callable[[], object]] = set()
        self.runs = list(runs)
        self.solo: list[bool] = []
        self.commits: list[NewCommit] = []

    def room(self, *, solo: bool) -> int:
        """Return that there is room."""
        return 1

    def cancel(self, number: int, *, soft: bool = False) -> None:
        """Have nothing to cancel."""

    def start(self, task: Task) -> None:
        """Let a run end."""
        self.solo.append(task.solo)
        task.ended(self.runs.pop(0)(task))

    async def ask(self, verb: str, request: CommitRequest) -> CommitAnswer:
        """Take commits."""
        self.commits += request.commits
        return CommitAnswer(commits=[CommittedItem() for _ in request.commits])


def crashed(task: Task) -> End:
    return End(How.CRASHED, why="its process ended")


def done(task: Task) -> End:
    assert isinstance(task.frame, HandlePage)
    assert task.moved is not None
    for message in task.frame.messages:
        task.moved(message.offset, [])
    return End(How.DONE)


def handler(executor: Literal["thread", "process"]) -> StreamHandler[Any]:
    gl = Gapless("memory:")

    @gl.stream("orders", group="billing", retry=Backoff(1), executor=executor)
    def bill(n: int) -> None: ...

    return bill


@pytest.mark.parametrize(
    ("executor", "runs", "solo", "is_passed_over"),
    [
        ("thread", [crashed, done], [False, True], False),
        ("thread", [crashed, crashed], [False, True], True),
        ("process", [crashed], [True], True),
    ],
)
@on_a_loop
async def test_a_message_is_passed_over_only_for_the_end_of_a_process_that_ran_nothing_else(
    executor: Literal["thread", "process"],
    runs: list[Callable[[Task], End]],
    solo: list[bool],
    is_passed_over: bool,
) -> None:
    scene = Scene(*runs)
    serving = Serving(handler(executor), cast("Shared", scene), PLACE, lambda: None, lambda lost: None)
    message = StreamMessage(partition=0, offset=1, time_ms=1, data=payload(b"1"))
    serving.put(ReadAnswer(after=0, through=1, floor=0, last=1, epoch="e", messages=[message]))

    def is_committed() -> bool:
        scene.clock.move(100)
        return bool(scene.commits)

    await until(is_committed)
    assert scene.solo == solo
    assert bool(scene.commits[0].passed_over) is is_passed_over
    serving.stop()
    await serving.ended()
