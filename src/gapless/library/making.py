"""What is sent, as the wire has it, of what users of the library give: publications, jobs, messages."""

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from gapless.core.errors import BadRequest
from gapless.core.stream import Position
from gapless.library.payloads import Encoded, encode, wire
from gapless.library.times import Duration, Instant, duration_ms, instant_ms
from gapless.protocol.messages import StreamPosition
from gapless.protocol.queues import NewJob
from gapless.protocol.streams import NewMessage

__all__ = ["JobOptions", "MessageOptions", "headers_of", "job", "message", "wire_position"]


class JobOptions(TypedDict, total=False):
    """What may be said of a job.

    It is due after `delay`, or `at` a time. `priority` 9 is most urgent, 0 least. Within a day, a repeat
    with the same `message_id` is the same job. Jobs of one `key` run one after the other. One that is not
    begun within `expires` of falling due is dead. While a job is not done (but for `unique_for` at most),
    another one that is `unique` under the same name is the same job.
    """

    delay: Duration
    at: Instant
    priority: int
    message_id: str
    key: str | None
    headers: Mapping[str, str]
    expires: Duration
    unique: str
    unique_for: Duration


class MessageOptions(TypedDict, total=False):
    """What may be said of a message to a stream.

    Messages of one `key` are in one partition, unless `partition` says which. Within a day, a repeat with the
    same `message_id` is the same message. `expected` is the position at which the partition must end,
    `expected_key_offset` the offset of the last message of this key (0: none), or nothing is stored.
    """

    key: str | None
    partition: int
    message_id: str
    headers: Mapping[str, str]
    expected: Position
    expected_key_offset: int


def job(queue: str, payload: object, **options: Unpack[JobOptions]) -> NewJob:
    """Return a job to be. Raises BadRequest: the payload is no JSON, or an option is malformed."""
    made = NewJob(queue=queue, **_body(payload))
    if options:  # most jobs have none, and are made in a third of the time
        _say(made, **options)
    return made


def _say(  # noqa: PLR0913 # as many as JobOptions has
    job: NewJob,
    *,
    delay: Duration = 0,
    at: Instant = 0,
    priority: int = 0,
    message_id: str | None = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    expires: Duration = 0,
    unique: str | None = None,
    unique_for: Duration = 0,
) -> None:
    job.delay_ms = duration_ms(delay)
    job.at_ms = instant_ms(at)
    job.priority = priority
    job.message_id = message_id
    job.key = key
    job.headers = headers_of(headers)
    job.expires_ms = duration_ms(expires)
    job.unique = unique
    job.unique_ms = duration_ms(unique_for)


def message(
    payload: object,
    *,
    key: str | None = None,
    partition: int | None = None,
    message_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    expected: Position | None = None,
    expected_key_offset: int | None = None,
) -> NewMessage:
    """Return a message to be. Raises BadRequest: the payload is no JSON."""
    return NewMessage(
        key=key,
        partition=partition,
        message_id=message_id,
        headers=headers_of(headers),
        expected=wire_position(expected),
        expected_key_offset=expected_key_offset,
        **_body(payload),
    )


def wire_position(position: Position | None) -> StreamPosition | None:
    """Return a position as the wire has it."""
    return None if position is None else StreamPosition(offset=position.offset, epoch=position.epoch)


def headers_of(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return headers of their own, for what is sent.

    Raises:
        BadRequest: one is not text.
    """
    given: dict[Any, Any] = dict(headers) if headers else {}
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise BadRequest(f"headers: {name!r} is {type(value).__name__}, and has to be text")
    return given


def _body(payload: object) -> dict[str, Any]:
    return wire(payload if isinstance(payload, Encoded) else encode(payload))
