"""Every job of a database held against its checksum, its queue and its place in its line, in slices."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final

import apsw

from gapless.backends.sqlite.queues.bodies import checksum
from gapless.backends.sqlite.queues.jobs import EARLIER
from gapless.backends.sqlite.queues.queue import FAIR, HELD, WAITING
from gapless.backends.sqlite.schema import first

__all__ = ["check_jobs"]

# A slice: so many rows, or bytes of payloads, are read, then others have their turn.
ROWS: Final = 256
ROW_BYTES: Final = 512 * 1024
JOBS: Final = (
    "select jobs.number, queue, key, priority, state, rank, b.epoch, b.enqueued_ms, b.crc, b.headers, b.data,"
    f" {EARLIER}, (select name from queues where id = queue)"
    " from jobs left join job_bodies b on b.number = jobs.number where jobs.number > ? order by jobs.number"
)
LEFT: Final = (
    "select (select count(*) from job_bodies) - (select count(*) from jobs),"
    " (select count(*) from job_notes where number not in (select number from jobs)),"
    " (select seq from store) - coalesce((select max(number) from jobs), 0)"
)


def check_jobs(connection: apsw.Connection, found: Callable[[str], None]) -> Iterator[None]:
    """Read every job; tell `found` of each that is wrong."""
    at = 0
    taken = 1
    while taken:
        taken = size = 0
        try:
            with closing(connection.cursor()) as cursor:
                for row in cursor.execute(JOBS, (at,)):
                    at = row[0]
                    taken += 1
                    size += len(row[-3] or b"")
                    if wrong := _wrong(*row):
                        found(f"job {at} {wrong}")
                    if taken >= ROWS or size >= ROW_BYTES:
                        break
        except (apsw.Error, UnicodeDecodeError) as error:
            found(f"SQLite cannot read the jobs after number {at}: {error}")
            return
        yield
    bodies, notes, ahead = first(connection.execute(LEFT))
    if bodies > 0:
        found(f"{bodies} payloads belong to no job")
    if notes:
        found(f"{notes} notes belong to no job")
    if ahead < 0:
        found(f"the store's head lies {-ahead} before its newest job")


def _wrong(number: int, queue: int, key: str | None, priority: int, state: int, rank: int, *rest: Any) -> str:
    epoch, enqueued_ms, crc, headers, data, is_behind, name = rest
    if name is None:
        return "belongs to no queue"
    if epoch is None:
        return f"of queue {name!r} has lost its payload"
    if crc != checksum(number, queue, key, priority, epoch, enqueued_ms, headers, data):
        return f"of queue {name!r} fails its checksum"
    if state == WAITING and bool(is_behind) != (HELD <= rank < FAIR):
        return f"of queue {name!r} stands {'ahead of' if is_behind else 'behind'} its turn"
    return ""
