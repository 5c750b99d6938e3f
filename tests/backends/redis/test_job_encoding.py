"""Jobs as they are handed to the functions inside Redis, and as these tell of them."""

import msgspec
import pytest

from gapless.backends import Options
from gapless.backends.redis.job_encoding import (
    NOWHERE,
    digest_of,
    emits_of,
    emitted_of,
    enqueued_of,
    known_text,
    name_of,
    names_of,
    settled_of,
)
from gapless.core.errors import KeyConflict, LeaseLost
from gapless.core.jobs import Enqueued, Job, Settled, State
from gapless.core.stream import Stored
from gapless.testing.conformance.places import entry

EPOCH = "0123456789abcdef"


def test_an_id_is_taken_apart() -> None:
    assert name_of(f"17-{EPOCH}") == (17, EPOCH)


@pytest.mark.parametrize(
    "id",
    ["", "-", "17", "17-", f"017-{EPOCH}", f"0-{EPOCH}", f"x17-{EPOCH}", f"17-{EPOCH}\n", "17-\ud800", "²-x"],
)
def test_what_is_no_id_names_no_job(id: str) -> None:
    assert name_of(id) == NOWHERE


def test_a_number_beyond_what_redis_can_tell_apart_is_no_jobs() -> None:
    assert name_of(f"{2**63 - 1}-{EPOCH}") == (2**53 - 1, EPOCH)


def test_all_jobs_are_selected_or_those_that_are_named() -> None:
    assert msgspec.msgpack.decode(names_of(None)) is False
    assert msgspec.msgpack.decode(names_of([f"3-{EPOCH}", "none"])) == [[3, EPOCH], [0, ""]]


def test_requests_are_told_apart_by_each_of_their_names() -> None:
    digests = {digest_of(*names) for names in (("a", "b", "r"), ("ab", "", "r"), ("", "ab", "r"), ("r",))}
    assert len(digests) == 4
    assert digest_of("a", "b", "") == ""


def test_what_cannot_be_sent_is_replaced() -> None:
    assert known_text("q\ud800") == "q?"


def test_what_is_beyond_its_limits_is_refused_when_its_turn_comes() -> None:
    kinds = [
        kind for kind, _ in emits_of([Job("q", b"x"), Job("q", b"x", priority=10), entry("s")], Options())
    ]
    assert kinds == ["job", "refused", "entry"]


def test_what_was_emitted_is_told_in_its_order() -> None:
    told = emitted_of([[b"3-x", 0], [b"e", 7, 1_000, 1, None], [b"4-x", 1]])
    assert told == (Enqueued("3-x", fresh=False), Stored("e", 7, 1_000), Enqueued("4-x"))


def test_a_refusal_stands_in_place_of_an_answer() -> None:
    assert enqueued_of([1, b"3-x", 1, b"3-x", 0]) == [Enqueued("3-x"), Enqueued("3-x", fresh=False)]
    assert isinstance(enqueued_of([0, b"key_conflict", b"why"]), KeyConflict)
    assert settled_of([1, 0, 5, 1, []]) == Settled(State.WAITING, 5, again=True)
    assert isinstance(settled_of([0, b"lease_lost", b"why"]), LeaseLost)
