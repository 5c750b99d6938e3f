from hypothesis import given
from hypothesis import strategies as st

from gapless.core.tail import Tail


def tail_of(*items: bytes, floor: int = 0, messages_max: int = 8) -> Tail:
    tail = Tail(floor, messages_max)
    tail.extend(items)
    return tail


def test_a_page_is_what_follows() -> None:
    tail = tail_of(b"a", b"b", b"c", floor=4)
    assert tail.last == 7
    assert tail.page(5, 100) == [b"b", b"c"]
    assert tail.page(7, 100) == []


def test_what_is_not_all_here_is_no_page() -> None:
    tail = tail_of(b"a", b"b", floor=4)
    assert tail.page(3, 100) is None
    assert tail.page(7, 100) is None


def test_a_page_stops_at_its_bytes_but_has_one() -> None:
    tail = tail_of(b"aaa", b"bbb", b"ccc")
    assert tail.page(0, 6) == [b"aaa", b"bbb"]
    assert tail.page(0, 1) == [b"aaa"]


def test_no_more_is_served_than_the_stream_keeps() -> None:
    tail = tail_of(*[b"x"] * 9, messages_max=8)  # slack holds nine, retention eight
    assert tail.page(0, 100) is None
    assert tail.page(1, 100) == [b"x"] * 8


def test_older_ones_are_put_before_as_far_as_there_is_room() -> None:
    tail = tail_of(b"f", b"g", floor=5, messages_max=4)
    tail.prepend([b"c", b"d", b"e"])
    assert tail.floor == 3
    assert tail.page(3, 100) == [b"d", b"e", b"f", b"g"]


def test_a_full_tail_takes_nothing_before_it() -> None:
    tail = tail_of(b"a", b"b", floor=5, messages_max=2)
    tail.prepend([b"z"])
    assert (tail.floor, tail.last, tail.bytes) == (5, 7, 2)


def test_a_raised_floor_evicts() -> None:
    tail = tail_of(b"a", b"b", b"c")
    tail.raise_floor(2)
    assert tail.page(2, 100) == [b"c"]
    assert tail.page(1, 100) is None
    tail.raise_floor(1)
    assert tail.floor == 2


def test_a_restart_forgets() -> None:
    tail = tail_of(b"a", b"b")
    tail.restart(7)
    assert (tail.floor, tail.last, tail.bytes) == (7, 7, 0)


@given(st.lists(st.lists(st.binary(max_size=4), max_size=5), max_size=10), st.integers(1, 6))
def test_a_tail_holds_the_newest_and_counts_its_bytes(batches: list[list[bytes]], messages_max: int) -> None:
    tail = Tail(0, messages_max)
    published: list[bytes] = []
    for batch in batches:
        tail.extend(batch)
        published += batch
    assert tail.last == len(published)
    for after in range(max(tail.floor, tail.last - messages_max), tail.last + 1):
        assert tail.page(after, 10**6) == published[after:]
    assert tail.bytes == sum(map(len, published[tail.floor :]))
    assert tail.last - tail.floor <= messages_max + messages_max // 4
