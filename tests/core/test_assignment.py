"""Assignment is balanced and sticky; the partition of a key never changes."""

from collections import Counter
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.assignment import assign, partition_of

PARTITIONS_MAX = 40


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], int, dict[int, str]]:
    """Members, how many partitions, and who holds which; some holders have gone."""
    members = draw(st.lists(st.sampled_from("abcdefghij"), unique=True, min_size=1))
    count = draw(st.integers(0, PARTITIONS_MAX))
    holders = st.sampled_from([*members, "gone", "gone too"])
    held = draw(st.dictionaries(st.integers(0, max(count - 1, 0)), holders)) if count else {}
    return members, count, held


def moved(shares: dict[str, tuple[int, ...]], held: dict[int, str]) -> int:
    """How many partitions leave a member that stays."""
    return sum(holder in shares and at not in shares[holder] for at, holder in held.items())


@given(cases())
def test_every_partition_has_one_member(case: tuple[list[str], int, dict[int, str]]) -> None:
    members, count, held = case
    shares = assign(members, count, held)
    assert list(shares) == members
    assert sorted(at for share in shares.values() for at in share) == list(range(count))
    assert all(share == tuple(sorted(share)) for share in shares.values())


@given(cases())
def test_no_member_has_two_more_than_another(case: tuple[list[str], int, dict[int, str]]) -> None:
    sizes = [len(share) for share in assign(*case).values()]
    assert max(sizes) - min(sizes) <= 1


@given(cases())
def test_a_partition_leaves_its_member_only_for_balance(
    case: tuple[list[str], int, dict[int, str]],
) -> None:
    members, count, held = case
    least, more = divmod(count, len(members))
    has = Counter(held.values())
    # No balanced assignment leaves members more of what they hold: `more` of them may have one more.
    kept_max = sum(min(has[member], least) for member in members)
    kept_max += min(more, sum(has[member] > least for member in members))
    shares = assign(members, count, held)
    assert moved(shares, held) == sum(has[member] for member in members) - kept_max
    for member, share in shares.items():
        mine = {at for at, holder in held.items() if holder == member}
        assert mine <= set(share) or set(share) <= mine


@given(
    st.lists(st.sampled_from("abc"), unique=True, min_size=1), st.lists(st.sampled_from("abcx"), max_size=6)
)
def test_no_other_balanced_assignment_moves_less(members: list[str], holders: list[str]) -> None:
    held = dict(enumerate(holders))
    others = []
    for takers in product(members, repeat=len(holders)):
        shares = {one: tuple(at for at, taker in enumerate(takers) if taker == one) for one in members}
        sizes = [len(share) for share in shares.values()]
        if max(sizes) - min(sizes) <= 1:
            others.append(moved(shares, held))
    assert moved(assign(members, len(holders), held), held) == min(others)


@given(cases())
def test_what_is_balanced_stays_as_it_is(case: tuple[list[str], int, dict[int, str]]) -> None:
    members, count, held = case
    shares = assign(members, count, held)
    assert assign(members, count, {at: member for member, share in shares.items() for at in share}) == shares


@given(cases(), st.randoms())
def test_it_hangs_on_nothing_but_what_is_handed_in(
    case: tuple[list[str], int, dict[int, str]], random: Random
) -> None:
    members, count, held = case
    shuffled = list(held.items())
    random.shuffle(shuffled)
    assert assign(members, count, dict(shuffled)) == assign(members, count, held)


@pytest.mark.parametrize(
    ("members", "held", "shares"),
    [
        ("", {}, {}),
        ("a", {}, {"a": (0, 1, 2, 3, 4)}),
        ("ab", {}, {"a": (0, 1, 2), "b": (3, 4)}),
        ("ab", {0: "b", 3: "b", 4: "b"}, {"a": (1, 2), "b": (0, 3, 4)}),
        ("abc", dict.fromkeys(range(5), "a"), {"a": (0, 1), "b": (2, 3), "c": (4,)}),
        ("abcdefg", {4: "g"}, {"a": (0,), "b": (1,), "c": (2,), "d": (3,), "e": (), "f": (), "g": (4,)}),
    ],
)
def test_equals_go_by_the_order_of_members_and_numbers(
    members: str, held: dict[int, str], shares: dict[str, tuple[int, ...]]
) -> None:
    assert assign(list(members), 5, held) == shares


def test_partitions_come_by_their_numbers_whoever_is_first() -> None:
    for members in product("ab", "cd"):
        assert assign(members, 3, {}) == {members[0]: (0, 1), members[1]: (2,)}


@pytest.mark.parametrize(
    ("key", "of_12", "of_1024"),
    [  # computed with `b2sum --length 64`
        ("", 0, 692),
        ("order-7", 9, 753),
        ("user:42", 2, 642),
        ("Grüße", 10, 914),
        ("\N{GRINNING FACE}", 0, 880),
    ],
)
def test_the_partition_of_a_key_never_changes(key: str, of_12: int, of_1024: int) -> None:
    """Whoever sees this fail has broken the order of every stream that there is."""
    assert [partition_of(key, count) for count in (1, 12, 1024)] == [0, of_12, of_1024]


def test_keys_are_spread_evenly() -> None:
    found = Counter(partition_of(f"user:{n}", 8) for n in range(8_000))
    assert set(found) == set(range(8))
    assert max(found.values()) < 1_150
