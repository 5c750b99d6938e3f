"""A reader of one channel knows where it stands, and tells what it cannot know."""

import json
from typing import Any

import pytest

from gapless.client.following import Arrived, Following, Missed
from gapless.core.errors import BadRequest, PermissionDenied, TokenExpired, Unavailable, UsageError
from gapless.core.stream import Position

AT = Position("e", 7)
CONNECTED = {"id": 1, "connect": {"client": "c", "ping": 25, "pong": True}}


def payload(*replies: object) -> bytes:
    return b"\n".join(json.dumps(reply).encode() for reply in replies)


def commands(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


def subscribed(id: int = 2, **result: Any) -> dict[str, Any]:
    return {"id": id, "subscribe": {"recoverable": True, "epoch": "e", "positioned": True, **result}}


def push(**what: Any) -> dict[str, Any]:
    return {"push": {"channel": "news", **what}}


def test_a_first_reader_starts_at_the_end_and_hears_what_follows() -> None:
    following = Following("news", token="t")
    connect, subscribe = commands(following.hello())
    assert connect["connect"]["token"] == "t"
    assert subscribe["subscribe"] == {"channel": "news", "recoverable": True}
    events, answer = following.take(
        payload(
            CONNECTED, subscribed(offset=7), push(pub={"data": {"a": 1}, "offset": 8, "tags": {"k": "v"}})
        )
    )
    assert events == [Arrived(Position("e", 8), b'{"a": 1}', {"k": "v"})]
    assert answer == b""
    assert following.position == Position("e", 8)
    assert following.ping_ms == 25_000


def test_a_returning_reader_presents_its_position_and_gets_what_it_missed() -> None:
    following = Following("news", since=AT)
    request = commands(following.hello())[1]["subscribe"]
    assert (request["recover"], request["epoch"], request["offset"]) == (True, "e", 7)
    events, _ = following.take(
        payload(
            CONNECTED,
            subscribed(
                offset=7, was_recovering=True, recovered=True, publications=[{"data": 1, "offset": 8}]
            ),
            push(pub={"data": 2, "offset": 9}),
        )
    )
    assert events == [Arrived(Position("e", 8), b"1", {}), Arrived(Position("e", 9), b"2", {})]
    assert commands(following.hello())[1]["subscribe"]["offset"] == 9


def test_a_clean_change_of_epoch_goes_on_in_the_new_one() -> None:
    following = Following("news", since=AT)
    following.hello()
    events, _ = following.take(payload(CONNECTED, subscribed(epoch="f", offset=7, recovered=True)))
    assert events == []
    assert following.position == Position("f", 7)


def test_what_cannot_be_recovered_is_told_once() -> None:
    following = Following("news", since=AT)
    following.hello()
    events, _ = following.take(payload(CONNECTED, subscribed(epoch="f", offset=3, was_recovering=True)))
    assert events == [Missed(AT, Position("f", 3))]
    assert following.position == Position("f", 3)


def test_without_history_every_return_may_have_missed_something() -> None:
    following = Following("news")
    following.hello()
    live = {"id": 2, "subscribe": {}}
    events, _ = following.take(payload(CONNECTED, live, push(pub={"data": 1})))
    assert events == [Arrived(None, b"1", {})]
    following.hello()
    events, _ = following.take(payload({"id": 3, "connect": {"ping": 25}}, {"id": 4, "subscribe": {}}))
    assert events == [Missed(None, None)]


def test_a_ping_is_answered_and_what_is_of_others_is_let_pass() -> None:
    following = Following("news")
    following.hello()
    other = {"push": {"channel": "other", "pub": {"data": 1, "offset": 99}}}
    events, answer = following.take(payload(CONNECTED, subscribed(offset=7), other, {}, push(join={})))
    assert events == []
    assert answer == b"{}"
    assert following.position == AT


def test_an_insufficient_state_subscribes_again_from_where_it_stands() -> None:
    following = Following("news")
    following.hello()
    _, answer = following.take(
        payload(CONNECTED, subscribed(offset=7), push(unsubscribe={"code": 2500, "reason": "x"}))
    )
    (again,) = commands(answer)
    assert (again["subscribe"]["epoch"], again["subscribe"]["offset"]) == ("e", 7)
    events, _ = following.take(payload(subscribed(again["id"], offset=9)))
    assert events == [Missed(AT, Position("e", 9))]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ({"id": 1, "error": {"code": 109, "message": "token expired"}}, TokenExpired),
        ({"id": 2, "error": {"code": 103, "message": "permission denied"}}, PermissionDenied),
        ({"id": 2, "error": {"code": 999, "message": "new"}}, UsageError),
        ({"id": 2, "error": {"code": 100, "message": "internal", "temporary": True}}, Unavailable),
        (push(unsubscribe={"code": 2000, "reason": "go"}), PermissionDenied),
        ({"id": "x"}, BadRequest),
    ],
)
def test_a_refusal_is_the_error_that_it_means(reply: object, error: type[Exception]) -> None:
    following = Following("news")
    following.hello()
    with pytest.raises(error):
        following.take(payload(reply))
