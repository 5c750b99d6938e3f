"""What may be said of how a queue or a stream is kept: by a declaration, or by a rule of the configuration.

What is not said stays as it is; of what is new it is the default.
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from gapless.core.jobs import Limit, OnDead
from gapless.core.limits import LEASE_MAX_MS, LEASE_MIN_MS, PARTITIONS_MAX
from gapless.core.retry import Retry
from gapless.protocol.payloads import Count, DurationMs

__all__ = ["FullStreamSettings", "QueueSettings", "StreamSettings", "said"]

Partitions = Annotated[int, Meta(ge=1, le=PARTITIONS_MAX)]
Lease = Annotated[int, Meta(ge=LEASE_MIN_MS, le=LEASE_MAX_MS)]


class QueueSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said of how a queue behaves; what is left out stays as it is. 0 means no such limit.

    Each field is as in `QueueOptions`, as a queue behaves. In Python, `retry` is a `Backoff`'s `policy`.
    """

    retry: Retry | UnsetType = UNSET
    lease_ms: Lease | UnsetType = UNSET
    in_flight_max: Limit | UnsetType = UNSET
    in_flight_per_worker_max: Limit | UnsetType = UNSET
    ordered: bool | UnsetType = UNSET
    fair: bool | UnsetType = UNSET
    on_dead: OnDead | UnsetType = UNSET
    result_ms: Limit | UnsetType = UNSET
    dead_ms: Limit | UnsetType = UNSET
    waiting_max: Limit | UnsetType = UNSET


class StreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said of how a stream is kept; what is left out stays as it is. 0 means no such limit.

    The number of partitions never changes. `retention_messages`, `retention_ms` and `retention_bytes` hold
    for each partition. `keyed` keeps an index by the messages' keys: reading by key, expecting a key's last
    offset, and compaction need it; it does not change any more once there were messages. `compact` keeps the
    last message of each key only. With `audit` every append and commit is recorded in the audit stream. What
    is kept of a partition is cut by a smaller count or age at once, else with its next message.
    """

    partitions: Partitions | UnsetType = UNSET
    retention_messages: Count | UnsetType = UNSET
    retention_ms: DurationMs | UnsetType = UNSET
    retention_bytes: Count | UnsetType = UNSET
    keyed: bool | UnsetType = UNSET
    compact: bool | UnsetType = UNSET
    audit: bool | UnsetType = UNSET


class FullStreamSettings(StreamSettings, frozen=True, kw_only=True):
    """How a stream is kept: all that `StreamSettings` may say."""

    partitions: Partitions = 1
    retention_messages: Count = 0
    retention_ms: DurationMs = 0
    retention_bytes: Count = 0
    keyed: bool = False
    compact: bool = False
    audit: bool = False


def said(settings: Struct, kind: type[Struct]) -> dict[str, Any]:
    """Return those fields of a kind that settings say, by their names."""
    found = {name: getattr(settings, name) for name in kind.__struct_fields__}
    return {name: value for name, value in found.items() if value is not UNSET}
