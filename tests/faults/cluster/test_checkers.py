"""Each checker passes a history in which all is well, and catches one in which something is not."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.cluster.checkers import CHECKERS, DEADLINE_MS, GRACE_MS, findings, silent
from tests.faults.cluster.events import Event, History
from tests.faults.cluster.jobs import fence_reused

CHANNEL = "kept:a"


class Story:
    """Events, told one after the other. Reader `r` follows the channel in epoch `e1`."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def tell(self, who: str, what: str, id: str = "", **rest: Any) -> "Story":
        at_ms = rest.pop("at_ms", len(self.events))
        rest = {"channel": CHANNEL} | rest
        self.events.append(Event(at_ms, who, what, id, **rest))
        return self

    def publish(
        self, id: str, offset: int, *, epoch: str = "e1", outcome: str = "ok", **rest: Any
    ) -> "Story":
        node = rest.pop("node", "n1")
        self.tell("p", "invoke", id, **{"origin": "p-1", "number": len(self.events)} | rest)
        position = {"epoch": epoch, "offset": offset, "node": node} if outcome == "ok" else {}
        return self.tell("p", outcome, id, **position)

    def follow(self, offset: int = 0, *, epoch: str = "e1", who: str = "r", **rest: Any) -> "Story":
        return self.tell(who, "subscribed", epoch=epoch, offset=offset, **rest)

    def resume(self, since: tuple[str, int], epoch: str = "e1") -> "Story":
        return self.follow(since[1], epoch=epoch, since=since, recovered=True)

    def deliver(self, id: str, offset: int, *, epoch: str = "e1", who: str = "r", **rest: Any) -> "Story":
        return self.tell(who, "delivered", id, epoch=epoch, offset=offset, **rest)

    def read(self, *ids: str, epoch: str = "e1", first: int = 1, **rest: Any) -> "Story":
        for offset, id in enumerate(ids, start=first):
            self.tell("", "held", id, epoch=epoch, offset=offset, **rest)
        return self.tell("", "read", epoch=epoch, offset=len(ids) + first - 1)

    def findings(self) -> list[str]:
        return findings(History(self.events))


def test_a_history_of_all_that_may_happen_is_clean() -> None:
    story = Story().tell("s", "stranger", channel="kept:secret").follow()
    story.publish("a", 1).deliver("a", 1).publish("b", 2, outcome="unknown").publish("c", 0, outcome="fail")
    story.tell("r", "disconnected", code=3001, channel="").resume(("e1", 1)).deliver("b", 2)
    story.tell("r", "unsubscribed", code=2500).resume(("e1", 2), epoch="e2")  # a clean restart
    story.publish("d", 3, epoch="e2").deliver("d", 3, epoch="e2")
    story.tell("", "rewound").tell("r", "unsubscribed", code=2500)
    story.follow(2, epoch="e3", since=("e2", 3)).publish("e", 3, epoch="e3").deliver("e", 3, epoch="e3")
    story.publish("f", 4, epoch="e3", key=True, outcome="unknown").publish("f", 4, epoch="e3", key=True)
    story.deliver("f", 4, epoch="e3").tell("", "head", epoch="e3", offset=4, number=len(story.events))
    assert story.read("a", "b", "e", "f", epoch="e3").findings() == []


def _cut_short(story: Story) -> Story:
    """Two messages are acknowledged; the store comes back with one."""
    story.follow().publish("a", 1).deliver("a", 1).publish("b", 2)
    return story.tell("", "rewound").tell("r", "unsubscribed", code=2500)


BAD: dict[str, Callable[[Story], Story]] = {
    "lost": lambda story: story.publish("a", 1).publish("b", 2).read("a"),
    "two_values": lambda story: story.publish("a", 1).publish("b", 1).read("a"),
    "stored_twice": lambda story: story.publish("a", 1, key=True).read("a", "a"),
    "refused_seen": lambda story: story.publish("a", 1, outcome="fail").read("a"),
    "stored_late": lambda story: (
        story.tell("p", "invoke", "a", time_ms=1_000).tell("p", "unknown", "a")
    ).read("a", time_ms=1_001 + DEADLINE_MS),
    "unpublished": lambda story: story.follow().deliver("x", 1),
    "publishers_disorder": lambda story: story.publish("a", 2).publish("b", 1).read("b", "a"),
    "overtaken": lambda story: (
        (
            story.tell("p", "invoke", "a", origin="p-1", number=1).tell(
                "p", "invoke", "b", origin="p-1", number=2
            )
        )
        .tell("p", "fail", "a", code=100)
        .tell("p", "ok", "b", epoch="e1", offset=1)
    ),
    "skipped": lambda story: story.follow().publish("a", 1).publish("b", 2).deliver("b", 2),
    "disorder": lambda story: story.publish("a", 1).follow(1).deliver("a", 1),
    "delivered_twice": lambda story: story.publish("a", 1).follow().deliver("a", 1).deliver("a", 2),
    "unseen": lambda story: story.publish("a", 1).follow().read("a"),
    "wrong_prefix": lambda story: (
        _cut_short(story).resume(("e1", 1), epoch="e2").publish("x", 1, epoch="e2").read("x", epoch="e2")
    ),
    "untold": lambda story: _cut_short(story).resume(("e1", 1), epoch="e2").read("a", epoch="e2"),
    "false_alarm": lambda story: story.publish("a", 1).follow().follow(1, epoch="e2", since=("e1", 0)),
    "unannounced": lambda story: story.follow().publish("a", 1, epoch="e2").deliver("a", 1, epoch="e1"),
    "reply_elsewhere": lambda story: story.follow().follow(7, since=("e1", 0), recovered=True),
    "empty_epoch": lambda story: story.follow(5).follow(5, since=("", 5), recovered=True),
    "above_end": lambda story: story.publish("a", 5).tell("", "head", epoch="e1", offset=4, number=9),
    "unpermitted": lambda story: story.tell("r", "stranger").follow().publish("a", 1).deliver("a", 1),
    "sent_away": lambda story: story.follow().tell("r", "disconnected", code=3500, channel=""),
}


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.__name__)
def test_a_checker_catches_what_it_is_for(checker: Callable[..., Any]) -> None:
    history = History(BAD[checker.__name__](Story()).events)
    assert list(checker(history))


def test_what_a_store_lost_that_was_rewound_is_told_and_no_loss_of_gapless() -> None:
    story = _cut_short(Story()).follow(1, epoch="e2", since=("e1", 1))
    assert story.read("a", epoch="e2").findings() == []


def test_a_loss_that_only_a_killed_node_knew_of_cannot_be_told() -> None:
    story = _cut_short(Story()).tell("", "killed", node="n1", channel="")
    assert story.resume(("e1", 1), epoch="e2").read("a", epoch="e2").findings() == []


def test_a_right_that_was_revoked_ends_everywhere_within_its_grace() -> None:
    story = Story().follow().publish("a", 1).publish("b", 2).tell("r", "revoked")
    since_ms = story.events[-1].at_ms
    story.deliver("a", 1, at_ms=since_ms + GRACE_MS)
    assert not story.findings()
    assert story.deliver("b", 2, at_ms=since_ms + GRACE_MS + 1).findings()


def test_what_retention_dropped_from_a_short_channel_is_no_loss() -> None:
    story = Story().publish("a", 1, channel="short:a").publish("b", 2, channel="short:a")
    story.tell("", "held", "b", channel="short:a", epoch="e1", offset=2)
    assert story.tell("", "read", channel="short:a", epoch="e1", offset=2).findings() == []


def test_a_fence_that_is_given_twice_or_falls_when_the_store_is_rewound_is_told() -> None:
    assert list(fence_reused([(0, 5), (0, 4), (1, 6), (1, 7)])) == []
    assert list(fence_reused([(0, 5), (0, 6), (1, 7), (0, 4)])) == []  # asked for before, told of after
    assert list(fence_reused([(0, 5), (0, 5)]))
    assert list(fence_reused([(0, 5), (0, 6), (1, 4)]))


def test_a_silent_gap_is_told_from_other_findings() -> None:
    story = BAD["skipped"](Story())
    assert silent(story.findings())
    assert not silent(BAD["stored_twice"](Story()).findings())
