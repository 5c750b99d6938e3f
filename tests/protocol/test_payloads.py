"""Payloads of jobs and messages between the wire and a store, and errors on their way to a caller."""

import msgspec
import pytest

from gapless.core import errors
from gapless.core.errors import BadRequest, GaplessError
from gapless.core.limits import JOB_HEADERS_BYTES_MAX, JSON_DEPTH_MAX
from gapless.protocol import queues, streams
from gapless.protocol.messages import payload
from gapless.protocol.payloads import Body, Carried, Failure, failure_of


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b'{"data":{"a":1}}', b'{"data":{"a":1}}'),
        (b'{"data":null}', b'{"data":null}'),
        (b'{"data":1,"headers":{"a":"b"}}', b'{"data":1,"headers":{"a":"b"}}'),
        (b'{"b64data":"/wA="}', b'{"b64data":"/wA="}'),
        (b'{"b64data":""}', b'{"b64data":""}'),
        (b'{"b64data":"eyJhIjoxfQ=="}', b'{"data":{"a":1}}'),
        (b'{"b64data":"/wA=","headers":{"a":"b"}}', b'{"b64data":"/wA=","headers":{"a":"b"}}'),
    ],
)
def test_a_payload_comes_back_as_it_was(written: bytes, told: bytes) -> None:
    data, beside, _ = msgspec.json.decode(written, type=Body).stored()
    carried = Carried()
    carried.carry(data, beside)
    assert msgspec.json.encode(carried) == told
    assert carried.body() == data
    assert msgspec.json.encode(msgspec.json.decode(told, type=Carried)) == told


def deep(depth: int) -> Body:
    return Body(data=payload(b"[" * depth + b" " * 300 + b"]" * depth))


@pytest.mark.parametrize(
    "body",
    [
        Body(),
        Body(headers={"a": "b"}),
        Body(data=payload(b"1"), b64data=b"1"),
        Body(data=payload(b"1"), headers={"a": "ä" * (JOB_HEADERS_BYTES_MAX // 2)}),
        Body(data=payload(b"1"), headers={"a": '"' * (JOB_HEADERS_BYTES_MAX // 2)}),
        Body(data=payload(b"1"), headers={f"{n:06}": "" for n in range(JOB_HEADERS_BYTES_MAX // 10)}),
        Body(data=payload(b"1"), headers={"gapless-key": "b"}),
        deep(JSON_DEPTH_MAX + 1),
    ],
)
def test_what_is_no_payload_is_refused(body: Body) -> None:
    with pytest.raises(BadRequest):
        body.stored()


def test_headers_that_are_taken_have_room_in_a_job() -> None:
    body = Body(b64data=b"\xff", headers={"a": "b" * (JOB_HEADERS_BYTES_MAX - 31)})
    _, beside, binary = body.stored()
    assert binary
    assert len(beside) == JOB_HEADERS_BYTES_MAX


def test_a_payload_may_be_as_deep_as_the_limit() -> None:
    assert deep(JSON_DEPTH_MAX).stored()[1] == b""


@pytest.mark.parametrize("kind", [getattr(errors, name) for name in errors.__all__])
def test_an_error_is_the_same_on_the_other_side(kind: type[GaplessError]) -> None:
    told = msgspec.json.decode(msgspec.json.encode(failure_of(kind("why"))), type=Failure)
    error = told.error()
    assert (error.code, error.number, error.temporary, str(error)) == (
        kind.code,
        kind.number,
        kind.temporary,
        "why",
    )


def test_an_error_that_is_not_known_yet_is_one_all_the_same() -> None:
    assert type(Failure(1_999, "later", "of_the_future", False).error()) is GaplessError


@pytest.mark.parametrize("verb", [*queues.VERBS, *streams.VERBS])
def test_every_verb_has_a_request_and_an_answer_with_names_of_their_own(verb: str) -> None:
    request, answer = (queues.VERBS | streams.VERBS)[verb]
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"no such field":1}', type=request)
    assert msgspec.json.Decoder(answer)
    assert request.__doc__


def test_types_with_one_name_are_one_type() -> None:
    found: dict[str, object] = {}
    for kinds in (queues.VERBS | streams.VERBS).values():
        for kind in kinds:
            assert found.setdefault(kind.__name__, kind) is kind
