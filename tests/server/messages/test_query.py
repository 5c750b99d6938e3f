"""What is asked for, read from a query."""

import pytest

from gapless.core.cursor import cursor
from gapless.core.errors import BadRequest
from gapless.core.limits import SCROLL_MESSAGES
from gapless.core.stream import Position
from gapless.server.messages.query import PARAMETERS, Question, read

AT = Position("0123456789abcdef", 7)
CURSOR = cursor("chat:1", AT)


@pytest.mark.parametrize(
    ("query", "question"),
    [
        ("", Question("newest", None, SCROLL_MESSAGES)),
        ("&", Question("newest", None, SCROLL_MESSAGES)),
        ("size=1000", Question("newest", None, 1000)),
        ("api_key=k", Question("newest", None, SCROLL_MESSAGES)),
        (f"before={CURSOR}&size=3", Question("before", AT, 3)),
        (f"after={CURSOR}", Question("after", AT, SCROLL_MESSAGES)),
        (f"around={CURSOR}", Question("around", AT, SCROLL_MESSAGES)),
        ("at=1700000000000", Question("around", 1_700_000_000_000, SCROLL_MESSAGES)),
        ("before=1700000000000", Question("before", 1_700_000_000_000, SCROLL_MESSAGES)),
        ("after=0", Question("after", 0, SCROLL_MESSAGES)),
        ("at=2023-11-14T22:13:20Z", Question("around", 1_700_000_000_000, SCROLL_MESSAGES)),
        ("at=2023-11-14t22:13:20z", Question("around", 1_700_000_000_000, SCROLL_MESSAGES)),
        ("at=2023-11-14T23:13:20+01:00", Question("around", 1_700_000_000_000, SCROLL_MESSAGES)),
        ("at=2023-11-14T23%3A13%3A20%2B01%3A00", Question("around", 1_700_000_000_000, SCROLL_MESSAGES)),
        ("at=2023-11-14T21:13:20.123987654-01:00", Question("around", 1_700_000_000_123, SCROLL_MESSAGES)),
        ("after=1969-12-31T23:59:59.999Z", Question("after", -1, SCROLL_MESSAGES)),
    ],
)
def test_a_sound_query_is_understood(query: str, question: Question) -> None:
    assert read("chat:1", query.encode()) == question


@pytest.mark.parametrize(
    "query",
    [
        "limit=3", "=", "Before=1", "size", "size=", "size=0", "size=1001", "size=-1", "size=+1", "size=1.5",
        "size=0x10", "size=%31%30%30%30%30", "size=1&size=1", "size=%ff", "%ff=1",
        f"before={CURSOR}&after={CURSOR}", f"around={CURSOR}&at=1", "before=1&after=2", "before=1&before=1",
        "before=", "after=", "around=", "at=", "before=AQAA", f"before={CURSOR}A", f"before={CURSOR}%00",
        "around=1700000000000", "around=2023-11-14T22:13:20Z", f"at={CURSOR}", "at=now", "at=-1",
        "at=9999999999999999", "at=2023-11-14", "at=2023-11-14T22:13Z", "at=2023-11-14T22:13:20",
        "at=2023-13-14T22:13:20Z", "at=2023-11-14T22:13:61Z", "at=2023-11-14T22:13:20+99:99",
        "at=20231114T221320Z", "at=0000-01-01T00:00:00Z", "at=1e3", "at=٣", "before=2023-11-14",
        f"before={cursor('chat:2', AT)}",
    ],
)  # fmt: skip
def test_anything_else_is_refused(query: str) -> None:
    with pytest.raises(BadRequest):
        read("chat:1", query.encode())


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_the_ends_of_the_calendar_do_no_harm(time: str) -> None:
    assert read("chat:1", f"at={time}".encode()).where == "around"


def test_an_unknown_parameter_is_told_which_there_are() -> None:
    with pytest.raises(BadRequest) as raised:
        read("chat:1", b"limit=3")
    assert all(name in str(raised.value) for name in PARAMETERS)
