"""Held against each other: what was enqueued, what handlers and workers wrote down, what became of the jobs.

Each checker takes a history and tells what should not be. None needs a clock: fences rise, and lines stand in
their order.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.handlers import ATTEMPTS
from tests.faults.records import Line

__all__ = ["CHECKERS", "Ended", "History", "Sent", "ended_of", "findings"]


@dataclass
class Sent:
    """A job that was enqueued under a message id (`task`), and the ids that the server ever answered."""

    task: str
    key: str | None
    kind: str
    ids: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Ended:
    """Where the server says a job is in the end; `fence` is of the run whose ack was accepted."""

    job: str
    task: str
    state: str
    attempt: int
    fence: int = 0
    reason: str = ""


def ended_of(job: Mapping[str, Any]) -> Ended:
    """Return where a job is that the server API tells of."""
    fence, reason = job.get("result", 0), job.get("reason", "")
    return Ended(job["id"], job["data"]["name"], job["state"], job["attempt"], fence, reason)


@dataclass
class History:
    """All of it: `sent` in the order in which they were acknowledged, key by key.

    `emitted` are the tasks of which something was stored that their handlers emitted.
    """

    sent: list[Sent]
    lines: list[Line]
    ended: list[Ended]
    emitted: list[str]

    def __post_init__(self) -> None:
        self.starts: dict[str, list[tuple[int, Line]]] = defaultdict(list)
        self.acks: dict[str, dict[int, int]] = defaultdict(dict)  # by job, fence: where that is written
        self.ends: dict[tuple[str, int], int] = {}
        self.failures: dict[str, int] = defaultdict(int)
        for place, line in enumerate(self.lines):
            if line.what == "start":
                self.starts[line.subject].append((place, line))
            elif line.what == "end":
                self.ends[line.subject, line.fence] = place
            elif line.what == "failed":
                self.failures[line.subject] += 1
            elif line.what == "accepted" and line.deed == "ack":
                self.acks[line.subject].setdefault(line.fence, place)
        for each in self.ended:
            if each.state == "done" and (each.job, each.fence) in self.ends:
                self.acks[each.job].setdefault(each.fence, self.ends[each.job, each.fence])


def findings(history: History) -> list[str]:
    """Return what all checkers have found."""
    return [f"{checker.__name__}: {found}" for checker in CHECKERS for found in checker(history)]


def lost(history: History) -> Iterator[str]:
    """Every acknowledged enqueue was handled, or is a dead letter; what was acknowledged to be done, is."""
    ended = {each.job: each for each in history.ended}
    for sent in history.sent:
        for job in sent.ids:
            if job not in ended:
                yield f"{sent.task} was enqueued as {job}, and is neither done nor dead"
            elif ended[job].state == "done" and (job, ended[job].fence) not in history.ends:
                yield f"{sent.task} is done, and no handler has ended it"
    for job, acks in history.acks.items():
        end = ended.get(job)
        if end is None or end.state != "done" or end.fence not in acks:
            yield f"an ack of {job} was accepted, and does not hold: {end}"


def ran_again(history: History) -> Iterator[str]:
    """No job was given to anybody after its ack was accepted."""
    for job, acks in history.acks.items():
        for fence, accepted in acks.items():
            for place, start in history.starts[job]:
                if start.fence > fence and place > accepted:
                    yield f"{job} was acknowledged under {fence}, and then started under {start.fence}"


def stale_accepted(history: History) -> Iterator[str]:
    """No ack was accepted under a fence after which another was given, and none after another."""
    for job, acks in history.acks.items():
        if len(acks) > 1:
            yield f"{job} was acknowledged under several fences: {sorted(acks)}"
        for fence, accepted in acks.items():
            for place, start in history.starts[job]:
                if start.fence > fence and place < accepted:
                    yield f"{job} was started under {start.fence}, and then acknowledged under {fence}"


def disorder(history: History) -> Iterator[str]:
    """Jobs of a key were started for the first time in the order in which they were enqueued."""
    for key, sents in _by_key(history).items():
        before = -1
        for sent in sents:
            first = _first_start(history, sent)
            if first is not None and first < before:
                yield f"{sent.task} of {key} was started before one that was enqueued before it"
            before = max(before, first if first is not None else before)


def overlap(history: History) -> Iterator[str]:
    """No job of a key was started before the one ahead of it was done."""
    done = {each.job: (each.job, each.fence) for each in history.ended if each.state == "done"}
    for key, sents in _by_key(history).items():
        before = -1
        for sent in sents:
            first = _first_start(history, sent)
            if first is not None and first < before:
                yield f"{sent.task} of {key} was started while one ahead of it was being handled"
            for job in sent.ids & done.keys():
                before = max(before, history.ends.get(done[job], -1))


def unearned(history: History) -> Iterator[str]:
    """Dead are those that used up their attempts or were rejected, and no others."""
    kinds = {job: sent.kind for sent in history.sent for job in sent.ids}
    for each in history.ended:
        kind = kinds.get(each.job, "good")
        rejected = kind == "rejected" and history.failures[each.job] > 0
        if each.state == "dead" and each.attempt < ATTEMPTS and not rejected:
            yield f"{each.task} ({kind}) is dead after {each.attempt} attempts: {each.reason}"
        elif each.state == "done" and kind in ("doomed", "rejected"):
            yield f"{each.task} ({kind}) is done"


def doubled(history: History) -> Iterator[str]:
    """One message id is one job."""
    for sent in history.sent:
        if len(sent.ids) > 1:
            yield f"{sent.task} was enqueued as {sorted(sent.ids)}"
    jobs: dict[str, str] = {}
    for each in history.ended:
        if jobs.setdefault(each.task, each.job) != each.job:
            yield f"{each.task} is both {jobs[each.task]} and {each.job}"


def unfenced(history: History) -> Iterator[str]:
    """Each run has a fence of its own, and later ones have higher ones."""
    for job, starts in history.starts.items():
        runs = sorted((start.fence, start.attempt) for _, start in starts)
        if len({fence for fence, _ in runs}) < len(runs):
            yield f"{job} was started twice under one fence: {runs}"
        if [attempt for _, attempt in runs] != sorted(attempt for _, attempt in runs):
            yield f"{job} has a higher fence for an earlier attempt: {runs}"


def emitted_apart(history: History) -> Iterator[str]:
    """What a job emits is stored once, together with its ack."""
    done = {each.task for each in history.ended if each.state == "done"}
    for task, times in Counter(history.emitted).items():
        if times > 1 or task not in done:
            yield f"{task}, which is {'' if task in done else 'not '}done, has emitted {times} times"
    for task in done.difference(history.emitted):
        yield f"{task} is done, and what it emitted is not there"


def _by_key(history: History) -> dict[str, list[Sent]]:
    keys: dict[str, list[Sent]] = defaultdict(list)
    for sent in history.sent:
        if sent.key is not None:
            keys[sent.key].append(sent)
    return keys


def _first_start(history: History, sent: Sent) -> int | None:
    return min((place for job in sent.ids for place, _ in history.starts[job]), default=None)


CHECKERS: list[Callable[[History], Iterator[str]]] = [
    lost,
    ran_again,
    stale_accepted,
    disorder,
    overlap,
    unearned,
    doubled,
    unfenced,
    emitted_apart,
]
