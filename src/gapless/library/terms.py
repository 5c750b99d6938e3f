"""How declared functions are treated: what may be said of them, and what that means."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, TypedDict, TypeVar

from msgspec import UNSET, Struct, UnsetType

from gapless.core.errors import BadRequest, ConfigError
from gapless.core.jobs import OnDead
from gapless.core.limits import LEASE_MAX_MS, LEASE_MIN_MS, SESSION_MAX_MS, SESSION_MIN_MS
from gapless.core.retry import Retry
from gapless.library.binding import named
from gapless.library.outcomes import Backoff
from gapless.library.times import Duration, duration_ms, instant_ms
from gapless.protocol.groups import OnLost
from gapless.protocol.reading import Edge
from gapless.protocol.settings import QueueSettings, StreamSettings

__all__ = [
    "KeyOf",
    "QueueSaid",
    "QueueTerms",
    "StreamSaid",
    "StreamTerms",
    "queue_terms",
    "stream_terms",
]

KeyOf = Callable[[Any], object]
"""Gives a payload's key, or None."""
Value = TypeVar("Value")
Executor = Literal["thread", "process"]
Start = Literal["earliest", "latest"] | datetime


class QueueSaid(TypedDict, total=False):
    """What may be said of a queue and its handler. Durations are `"30s"`, timedeltas or numbers of seconds.

    What is not said of the queue stays as it is, and is the default if it is new; a rule of the
    configuration holds, whatever is said here.

    `retry`: when what failed is tried again. `lease`: how long it takes until a job of a worker that died
    is given to another. `timeout`: how long the function may take (0: for ever). `key`: gives a payload's
    key; jobs of one key run one after the other, unless not `ordered`. `fair`: serve the keys by turns.
    `in_flight`: how many jobs are handled at once, everywhere; `in_flight_per_worker`, by one worker;
    `concurrency`, in one of its processes. `waiting`: how many may wait. `executor`: where a plain
    function runs: in a thread, or in a process of a pool. `ack`: with `manual` the function settles the
    job itself. `guarantee`: with `at-most-once` a job is acknowledged before it is handled, and lost with
    a failure. `result_ttl`: how long results are kept. `unique_for`: for how long, while a job waits or
    runs, another one with the same payload is the same job. `keep_dead`: how long dead letters are kept
    (0: for ever). `on_dead`: whether a dead one holds up its key (`stop`).
    """

    retry: Backoff
    lease: Duration
    timeout: Duration
    key: KeyOf
    ordered: bool
    fair: bool
    in_flight: int
    in_flight_per_worker: int
    concurrency: int
    waiting: int
    executor: Executor
    ack: Literal["auto", "manual"]
    guarantee: Literal["at-least-once", "at-most-once"]
    result_ttl: Duration
    unique_for: Duration
    keep_dead: Duration
    on_dead: Literal["go_on", "stop"]


class StreamSaid(TypedDict, total=False):
    """What may be said of a stream and of the group that reads it. Durations as in `QueueSaid`.

    `start`: where the group begins. `on_lost`: when messages that it did not read are gone, it halts, or
    goes on with the oldest. `key`: gives a payload's key; messages of one key are in one partition, in
    order. `partitions`: into how many the stream is spread; it never changes. `keyed`: keep an index by the
    keys; `compact`: keep only the last message of each. `keep_messages`, `keep_for` and `keep_bytes` bound
    each partition (0: not at all). `audit`: have every append and commit recorded. One handler may say how a
    stream is kept for all; what none says stays as it is, and a rule of the configuration holds. If none says
    anything, they read what is there under the name: a stream, or a channel to which something was published;
    only if there is neither, a stream is made. With `channel` it is a channel, published to or not.

    `retry`: when what failed is tried again, and how often, before it is passed over. Unless it is given,
    what raises is tried again for ever, and only what ends its process five times is passed over. `dead`: the
    queue that gets what is passed over. `session`: for how long a member may be silent until its partitions
    go to others; otherwise as the worker says.
    """

    start: Start
    on_lost: Literal["halt", "oldest"]
    key: KeyOf
    partitions: int
    keyed: bool
    compact: bool
    keep_messages: int
    keep_for: Duration
    keep_bytes: int
    audit: bool
    channel: bool
    timeout: Duration
    executor: Executor
    retry: Backoff
    dead: str
    session: Duration


class QueueTerms(Struct, frozen=True, kw_only=True):
    """How a worker treats the jobs of a handler; `settings` are the queue's. 0 means no such limit."""

    settings: QueueSettings
    key: KeyOf | None = None
    timeout_ms: int = 0
    concurrency: int = 0
    executor: Executor = "thread"
    manual: bool = False
    at_most_once: bool = False
    unique_for_ms: int = 0


class StreamTerms(Struct, frozen=True, kw_only=True):
    """How a group reads a source. `start` is where it begins: an end, or milliseconds since the Unix epoch.

    `settings` are those of a declared stream, if this handler says any; or it is a `channel`. Without a
    `dead` queue, what is passed over is only recorded; `session_ms` 0 is as the worker says.
    """

    group: str
    key: KeyOf | None = None
    start: Edge | int = Edge.EARLIEST
    on_lost: OnLost = OnLost.HALT
    settings: StreamSettings | None = None
    channel: bool = False
    timeout_ms: int = 0
    executor: Executor = "thread"
    retry: Retry | None = None
    dead: str = ""
    session_ms: int = 0


def queue_terms(  # noqa: PLR0913 # as many as QueueSaid has
    function: Callable[..., Any],
    *,
    retry: Backoff | None = None,
    lease: Duration | None = None,
    timeout: Duration = 0,
    key: KeyOf | None = None,
    ordered: bool | None = None,
    fair: bool | None = None,
    in_flight: int | None = None,
    in_flight_per_worker: int | None = None,
    concurrency: int = 0,
    waiting: int | None = None,
    executor: Executor = "thread",
    ack: Literal["auto", "manual"] = "auto",
    guarantee: Literal["at-least-once", "at-most-once"] = "at-least-once",
    result_ttl: Duration | None = None,
    unique_for: Duration = 0,
    keep_dead: Duration | None = None,
    on_dead: Literal["go_on", "stop"] | None = None,
) -> QueueTerms:
    """Return what was said of `function`. Raises ConfigError: an option is malformed."""
    said = _Said(function)
    said.one_of("ack", ack, "auto", "manual")
    said.one_of("guarantee", guarantee, "at-least-once", "at-most-once")
    if (ack, guarantee) == ("manual", "at-most-once"):
        raise ConfigError(f"{named(function)}: what is acknowledged first cannot be so by hand")
    return QueueTerms(
        settings=QueueSettings(
            retry=_if_set(said.policy, retry),
            lease_ms=_if_set(said.lease_ms, lease),
            in_flight_max=_set(in_flight),
            in_flight_per_worker_max=_set(in_flight_per_worker),
            ordered=_set(ordered),
            fair=_set(fair),
            on_dead=_if_set(lambda value: OnDead(said.one_of("on_dead", value, *OnDead)), on_dead),
            result_ms=_if_set(lambda value: said.ms("result_ttl", value), result_ttl),
            dead_ms=_if_set(lambda value: said.ms("keep_dead", value), keep_dead),
            waiting_max=_set(waiting),
        ),
        key=key,
        timeout_ms=said.ms("timeout", timeout),
        concurrency=concurrency,
        executor=said.executor(executor),
        manual=ack == "manual",
        at_most_once=guarantee == "at-most-once",
        unique_for_ms=said.ms("unique_for", unique_for),
    )


def stream_terms(  # noqa: PLR0913 # as many as StreamSaid has
    function: Callable[..., Any],
    group: str,
    *,
    start: Start = "earliest",
    on_lost: Literal["halt", "oldest"] = "halt",
    key: KeyOf | None = None,
    partitions: int | None = None,
    keyed: bool | None = None,
    compact: bool | None = None,
    keep_messages: int | None = None,
    keep_for: Duration | None = None,
    keep_bytes: int | None = None,
    audit: bool | None = None,
    channel: bool = False,
    timeout: Duration = 0,
    executor: Executor = "thread",
    retry: Backoff | None = None,
    dead: str = "",
    session: Duration = 0,
) -> StreamTerms:
    """Return what was said of `function`. Raises ConfigError: an option is malformed."""
    said = _Said(function)
    settings = StreamSettings(
        partitions=_set(partitions or None),
        retention_messages=_set(keep_messages),
        retention_ms=_if_set(lambda value: said.ms("keep_for", value), keep_for),
        retention_bytes=_set(keep_bytes),
        keyed=_set(compact or keyed),
        compact=_set(compact),
        audit=_set(audit),
    )
    if channel and settings != StreamSettings():
        raise ConfigError(f"{named(function)}: how a channel is kept, its namespace says")
    return StreamTerms(
        group=group,
        key=key,
        start=said.start(start),
        on_lost=OnLost(said.one_of("on_lost", on_lost, *OnLost)),
        settings=settings if settings != StreamSettings() else None,
        channel=channel,
        timeout_ms=said.ms("timeout", timeout),
        executor=said.executor(executor),
        retry=said.policy(retry) if retry is not None else None,
        dead=dead,
        session_ms=said.session_ms(session),
    )


def _set(value: Value | None) -> Value | UnsetType:
    return UNSET if value is None else value


def _if_set(read: Callable[[Any], Value], value: Any) -> Value | UnsetType:
    return UNSET if value is None else read(value)


class _Said:
    """Reads what was said of a function; mistakes name it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def ms(self, option: str, value: Duration) -> int:
        try:
            return duration_ms(value)
        except BadRequest as error:
            raise ConfigError(f"{named(self._function)}: {option}: {error}") from error

    def lease_ms(self, value: Duration) -> int:
        ms = self.ms("lease", value)
        if not LEASE_MIN_MS <= ms <= LEASE_MAX_MS:
            raise ConfigError(f"{named(self._function)}: lease: {value!r} is not from 100ms to 24h")
        return ms

    def session_ms(self, value: Duration) -> int:
        ms = self.ms("session", value)
        if ms and not SESSION_MIN_MS <= ms <= SESSION_MAX_MS:
            raise ConfigError(f"{named(self._function)}: session: {value!r} is not from 1s to 10m")
        return ms

    def one_of(self, option: str, value: str, *allowed: str) -> str:
        if value not in allowed:
            choices = ", ".join(repr(str(choice)) for choice in allowed)
            raise ConfigError(f"{named(self._function)}: {option}: {value!r} is none of {choices}")
        return value

    def policy(self, value: Backoff) -> Retry:
        if not isinstance(value, Backoff):
            raise ConfigError(f"{named(self._function)}: retry: {value!r} is no Backoff, as Backoff(5) is")
        return value.policy

    def executor(self, value: Executor) -> Executor:
        self.one_of("executor", value, "thread", "process")
        return value

    def start(self, value: Start) -> Edge | int:
        try:
            return instant_ms(value) if isinstance(value, datetime) else Edge(value)
        except (ValueError, BadRequest) as error:
            where = f"{named(self._function)}: start"
            raise ConfigError(f'{where}: "earliest", "latest" or a datetime: {error}') from error
