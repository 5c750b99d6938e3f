"""Which tokens and users are refused, decision by decision."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.broker.revocations import OVER_MS, Kind, Revocation, Revocations
from gapless.core.errors import PermissionDenied, Unauthorized

NOW_MS = 1_000_000


def block(user: str, at_ms: int, ends_ms: int = 0) -> Revocation:
    return Revocation(Kind.BLOCK, user, at_ms, ends_ms)


def of_user(user: str, before_ms: int, *, at_ms: int = 1, ends_ms: int = 0) -> Revocation:
    return Revocation(Kind.USER, user, at_ms, ends_ms, before_ms)


def of_token(id: str, *, at_ms: int = 1, ends_ms: int = 0) -> Revocation:
    return Revocation(Kind.TOKEN, id, at_ms, ends_ms)


def refused(
    *decisions: Revocation, user: str = "ann", id: str = "t", issued_ms: int = 50, now_ms: int = NOW_MS
) -> type[Exception] | None:
    revocations = Revocations()
    revocations.take(decisions)
    return refusal(revocations, user, id, issued_ms, now_ms)


def refusal(
    revocations: Revocations, user: str, id: str, issued_ms: int, now_ms: int
) -> type[Exception] | None:
    try:
        revocations.check(user, id, issued_ms, now_ms)
    except (PermissionDenied, Unauthorized) as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("decisions", "answer"),
    [
        ([], None),
        ([block("ann", 1)], PermissionDenied),
        ([block("bob", 1)], None),
        ([block("ann", 1), block("ann", 2, OVER_MS)], None),
        ([block("ann", 2, OVER_MS), block("ann", 1)], None),
        ([block("ann", 1), block("ann", 2, OVER_MS), block("ann", 3)], PermissionDenied),
        ([block("ann", 1, NOW_MS)], None),
        ([block("ann", 1, NOW_MS + 1)], PermissionDenied),
        ([of_user("ann", 51)], Unauthorized),
        ([of_user("ann", 50)], None),
        ([of_user("bob", 51)], None),
        ([of_user("ann", 51, ends_ms=NOW_MS)], None),
        ([of_user("ann", 51), of_user("ann", 40)], Unauthorized),
        ([of_user("ann", 51, ends_ms=NOW_MS), of_user("ann", 40, ends_ms=NOW_MS + 1)], Unauthorized),
        ([of_user("ann", 51, ends_ms=5), of_user("ann", 40, at_ms=6)], None),
        ([of_token("t")], Unauthorized),
        ([of_token("u")], None),
        ([of_token("t", ends_ms=NOW_MS)], None),
        ([of_token("t", ends_ms=NOW_MS), of_token("t")], Unauthorized),
        ([of_token("t"), of_token("t", ends_ms=NOW_MS)], Unauthorized),
        ([of_token("t"), block("ann", 1)], PermissionDenied),
    ],
)
def test_what_is_decided_is_refused(decisions: list[Revocation], answer: object) -> None:
    assert refused(*decisions) is answer


def test_a_token_that_does_not_say_when_it_was_issued_is_older_than_all() -> None:
    assert refused(of_user("ann", 1), issued_ms=0) is Unauthorized


def test_a_token_without_id_and_an_anonymous_user_are_nobody_that_is_revoked() -> None:
    assert refused(of_token("t"), block("ann", 1), of_user("ann", 9**9), user="", id="", issued_ms=0) is None


DECISIONS = st.lists(
    st.builds(
        Revocation,
        st.sampled_from(list(Kind)),
        st.sampled_from("ab"),
        st.integers(2, 9),
        st.sampled_from([0, OVER_MS, 5, 50]),
        st.integers(0, 20),
    ),
    max_size=8,
).map(lambda decisions: sorted(decisions, key=lambda each: each.at_ms))


@given(DECISIONS, st.integers(0, 8))
def test_decisions_that_are_taken_again_change_nothing(decisions: list[Revocation], since: int) -> None:
    once, again = Revocations(), Revocations()
    once.take(decisions)
    again.take(decisions)
    again.take(once)
    assert list(again) == list(once)
    assert not once.beyond(again)


@given(DECISIONS, st.integers(9, 60))
def test_what_is_over_is_forgotten_without_a_difference(decisions: list[Revocation], now_ms: int) -> None:
    held, pruned = Revocations(), Revocations()
    held.take(decisions)
    pruned.take(decisions)
    pruned.drop_over(now_ms)
    assert len(pruned) <= len(held)
    for user in "ab":
        for issued_ms in range(22):
            asked = user, user, issued_ms, now_ms
            assert refusal(held, *asked) is refusal(pruned, *asked)


def test_what_only_one_side_knows_is_found() -> None:
    here, there = Revocations(), Revocations()
    here.take([block("ann", 2), of_token("t"), of_user("ann", 51)])
    there.take([block("ann", 1, OVER_MS), of_user("ann", 60), of_token("t")])
    assert here.beyond(there) == [block("ann", 2)]
    assert there.beyond(here) == [of_user("ann", 60)]
