"""What every engine refuses about declared streams and groups alike. Each raises `BadRequest`."""

from collections.abc import Mapping

from gapless.core.bounds import check_range, check_size, check_text, text_bytes
from gapless.core.groups import Commit
from gapless.core.limits import (
    CHANNEL_NAME_BYTES_MAX,
    JOB_EMITS_MAX,
    OFFSET_MAX,
    PARTITIONS_MAX,
    QUEUE_NAME_BYTES_MAX,
    SESSION_MAX_MS,
    SESSION_MIN_MS,
)
from gapless.core.stream import Position

__all__ = [
    "check_commit",
    "check_group",
    "check_member",
    "check_partitions",
    "check_session",
    "check_sought",
    "check_source",
    "check_stream",
]

# The id of a generation that nobody has, in a position that is sought.
EPOCH_BYTES_MAX = 64


def check_stream(name: str) -> None:
    """A declared stream's name has 1 to QUEUE_NAME_BYTES_MAX bytes."""
    check_text("a stream's name", name, QUEUE_NAME_BYTES_MAX)


def check_partitions(partitions: int) -> None:
    """There are 1 to PARTITIONS_MAX partitions."""
    check_range("partitions", partitions, 1, PARTITIONS_MAX)


def check_source(source: str) -> None:
    """The name of what is read has 1 to CHANNEL_NAME_BYTES_MAX bytes."""
    check_text("a source", source, CHANNEL_NAME_BYTES_MAX)


def check_group(source: str, group: str) -> None:
    """A group's name has 1 to CHANNEL_NAME_BYTES_MAX bytes, as that of what it reads."""
    check_source(source)
    check_text("a group", group, CHANNEL_NAME_BYTES_MAX)


def check_member(member: str) -> None:
    """A member's name has 1 to CHANNEL_NAME_BYTES_MAX bytes."""
    check_text("a member", member, CHANNEL_NAME_BYTES_MAX)


def check_session(session_ms: int) -> None:
    """A session lasts SESSION_MIN_MS to SESSION_MAX_MS."""
    check_range("session_ms", session_ms, SESSION_MIN_MS, SESSION_MAX_MS)


def check_commit(commit: Commit) -> None:
    """A commit emits no more than a settlement does."""
    check_range("the number of emits", len(commit.emit), 0, JOB_EMITS_MAX)


def check_sought(partitions: int, positions: Mapping[int, Position | None]) -> None:
    """Positions are sought in partitions that there are, and can be stored."""
    for partition, position in positions.items():
        check_range("partition", partition, 0, partitions - 1)
        if position is not None:
            check_size("epoch", text_bytes("epoch", position.epoch), EPOCH_BYTES_MAX)
            check_range("offset", position.offset, 0, OFFSET_MAX)
