"""The newest items of a channel: pages that overlap, floors that rise, and how much is held."""

from gapless.broker.newest import Newest
from gapless.core.limits import NEWEST_CHANNEL_BYTES_MAX, NEWEST_MESSAGES_MAX
from gapless.core.stream import Message, Page


def page(after: int, through: int, floor: int = 0) -> Page:
    messages = [Message(offset, 0, b"1") for offset in range(after + 1, through + 1)]
    return Page("e", after, through, floor, through, messages)


def items(of: Page) -> list[bytes]:
    return [b"%d" % message.offset for message in of.messages]


def held(of: Page) -> Newest:
    return Newest(of, items(of))


def test_what_two_readers_found_at_once_is_taken_in_once() -> None:
    newest = held(page(0, 3))
    for found in (page(3, 5), page(3, 6), page(3, 4)):
        newest.extend(found, items(found))
    assert list(newest.last(10).items) == [b"1", b"2", b"3", b"4", b"5", b"6"]
    assert newest.last(10).through == 6


def test_a_floor_that_rose_takes_the_oldest_along() -> None:
    newest = held(page(0, 5))
    found = page(5, 6, floor=3)
    newest.extend(found, items(found))
    scroll = newest.last(10)
    assert (scroll.after, scroll.floor, list(scroll.items)) == (3, 3, [b"4", b"5", b"6"])
    assert newest.serves(10)
    assert not scroll.has_before


def test_no_more_than_so_many_items_are_held() -> None:
    newest = held(page(0, NEWEST_MESSAGES_MAX + 7))
    assert newest.after == 7
    assert newest.serves(NEWEST_MESSAGES_MAX)
    assert not newest.serves(NEWEST_MESSAGES_MAX + 1)
    assert newest.last(2).after == NEWEST_MESSAGES_MAX + 5


def test_no_more_than_so_many_bytes_are_held() -> None:
    large = [b"x" * (NEWEST_CHANNEL_BYTES_MAX // 3)] * 5
    newest = Newest(page(0, 5), large)
    assert newest.bytes <= NEWEST_CHANNEL_BYTES_MAX
    assert (newest.after, len(newest.last(9).items)) == (3, 2)
    too_large = Newest(page(0, 1), [b"x" * NEWEST_CHANNEL_BYTES_MAX])
    assert (too_large.after, too_large.serves(1)) == (1, False)
