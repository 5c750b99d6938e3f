"""How entries are handed to the functions inside Redis, and what comes back."""

import msgspec

from gapless.backends import Options
from gapless.backends.redis.encoding import (
    MESSAGE,
    encode,
    entry_of,
    exact,
    message_of,
    position_of,
    raw,
    stored_of,
)
from gapless.core.errors import KeyConflict
from gapless.core.stream import Entry, Message, Position, Retention, Stored

PLAIN = Entry("s", b"x", Retention())


def test_an_entry_is_told_in_few_words() -> None:
    assert len(entry_of(PLAIN, Options())) == 4
    assert len(entry_of(Entry("s", b"x", Retention(), key="k"), Options())) == 5


def test_bytes_are_text_for_messagepack_inside_redis() -> None:
    assert encode(raw(b"\xff\x00")) == b"\xdb\x00\x00\x00\x02\xff\x00"


def test_what_is_too_large_is_left_out_and_says_so() -> None:
    for large in (Entry("s", bytes(11), Retention()), Entry("s", b"", Retention(), meta=bytes(11))):
        told = entry_of(large, Options(message_bytes_max=10))
        assert len(encode(told)) < 100
        assert told[4][5] == "the message is over 10 bytes"


def test_what_counts_for_nothing_beside_an_entry_is_left_out() -> None:
    beside = Entry("t", b"y", Retention(), key="k", expected=Position("e", 1), keyed="a", expected_keyed=7)
    also = entry_of(Entry("s", b"x", Retention(), also=beside), Options())[4][7]
    assert also[4] == [False, False, False, "a", False, False, False, False]


def test_versions_are_compared_as_text_of_one_length() -> None:
    told = [
        entry_of(Entry("s", b"", Retention(), version=version), Options())[4][1][0]
        for version in (9, 10, 2**63 - 1, 2**63, -1)
    ]
    assert told[:3] == sorted(told[:3])
    assert {*map(len, told[:3])} == {19}
    assert told[3:] == ["!", "!"]


def test_offsets_stay_where_doubles_are_exact() -> None:
    assert [exact(offset) for offset in (-5, 0, 7, 2**53, 2**63)] == [-1, 0, 7, 2**53 - 1, 2**53 - 1]
    assert position_of(Position("e", 2**60)) == ("e", 2**53 - 1)


def test_a_message_is_read_whatever_follows_it() -> None:
    record = MESSAGE.pack(7, 5, 2, 3) + b"{}" + b"abc" + b"kkey"
    assert message_of(record) == Message(7, 5, b"abc", b"{}")


def test_answers_are_outcomes() -> None:
    beside = [b"e", 1, 5, 1, None]
    assert stored_of([b"e", 3, 5, 1, beside]) == Stored("e", 3, 5, also=Stored("e", 1, 5))
    assert stored_of([b"e", 3, 5, 0, None]) == Stored("e", 3, 5, fresh=False)
    refused = stored_of([b"key_conflict", b"another payload"])
    assert (type(refused), str(refused)) == (KeyConflict, "another payload")


def test_a_retention_is_the_same_text_each_time() -> None:
    told = [bytes(msgspec.Raw(entry_of(PLAIN, Options())[3])) for _ in range(2)]
    assert told[0] == told[1]
