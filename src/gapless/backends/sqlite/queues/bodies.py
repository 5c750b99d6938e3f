"""What is in a job and does not change, with its checksum; and what was told of its end or failure."""

from typing import Final
from zlib import crc32

import apsw
from msgspec import Struct

from gapless.backends.sqlite.queues.queue import DEAD, DONE, Record
from gapless.backends.sqlite.schema import NUMBERS, Insert, first
from gapless.core.errors import StoreDamaged
from gapless.core.job_rules import id_of
from gapless.core.jobs import Job, State, View

__all__ = ["Bodies", "Body", "BodyRow", "checksum"]

INSERT = Insert("job_bodies", "(?, ?, ?, ?, ?, ?, ?, ?, ?)")
FIND = (
    "select epoch, enqueued_ms, crc, message_id, unique_name, expires_ms, headers, data"
    " from job_bodies where number = ?"
)
REMOVE = f"delete from job_bodies where number in {NUMBERS}"
FORGET = f"delete from job_notes where number in {NUMBERS}"
NOTE = "insert or replace into job_notes values (?, ?, ?, ?, ?)"
FIND_NOTE = "select ended_ms, reason, details, result from job_notes where number = ?"
HOLD = "insert or replace into unique_jobs values (?, ?, ?, ?)"
NAMED = (
    "select u.queue, u.name, u.number, u.until_ms from job_bodies b join unique_jobs u"
    " on u.name = b.unique_name and u.number = b.number where b.number = ? and u.queue = ?"
)
FINISH = (
    "insert into job_notes values (?1, ?2, '', '', ?3)"
    " on conflict (number) do update set ended_ms = ?2, result = ?3"
)
STATES: Final = (State.WAITING, State.LEASED, State.DEAD, State.DONE)

BodyRow = tuple[int, str, int, int, str | None, str | None, int, bytes, bytes]


class Body(Struct, array_like=True, gc=False):
    """The row of a job that does not change."""

    epoch: str
    enqueued_ms: int
    crc: int
    message_id: str | None
    unique_name: str | None
    expires_ms: int
    headers: bytes
    data: bytes


def checksum(
    number: int,
    queue: int,
    key: str | None,
    priority: int,
    epoch: str,
    enqueued_ms: int,
    headers: bytes,
    data: bytes,
) -> int:
    """Return the CRC-32 over what a job is and says, and how it is served."""
    covered = f"{number} {queue} {priority} {epoch} {enqueued_ms} {len(headers)} {key!r}".encode()
    return crc32(data, crc32(headers, crc32(covered)))


class Bodies:
    """All bodies and notes, and the names under which there is one job."""

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor

    def insert(self, bodies: list[BodyRow]) -> None:
        """Write new ones."""
        INSERT.execute(self._cursor, bodies)

    def get(self, record: Record) -> Body:
        """Return the body of a job.

        Raises:
            StoreDamaged: it is lost, or fails its checksum.
        """
        row = first(self._cursor.execute(FIND, (record.number,)))
        body = Body(*row) if row else None
        if body is None or body.crc != _sum(record, body):
            raise StoreDamaged(f"job {record.number} is lost or fails its checksum")
        return body

    def epoch(self, number: int) -> str:
        """Return the generation in which a job was enqueued."""
        row = first(self._cursor.execute("select epoch from job_bodies where number = ?", (number,)))
        return row[0] if row else ""

    def id(self, number: int) -> str:
        """Return the id of a job."""
        return id_of(number, self.epoch(number))

    def expires_ms(self, number: int) -> int:
        """Return how long after falling due a job expires; 0: never."""
        row = first(self._cursor.execute("select expires_ms from job_bodies where number = ?", (number,)))
        return row[0] if row else 0

    def view(self, record: Record, queue: str) -> View:
        """Return a job as one looks at it.

        Raises:
            StoreDamaged: it is lost, or fails its checksum.
        """
        body = self.get(record)
        note = first(self._cursor.execute(FIND_NOTE, (record.number,))) or (0, "", "", None)
        return View(
            id=id_of(record.number, body.epoch),
            queue=queue,
            state=STATES[record.state],
            data=body.data,
            headers=body.headers,
            key=record.key,
            priority=record.priority,
            attempt=record.attempt,
            enqueued_ms=body.enqueued_ms,
            due_ms=record.due_ms,
            message_id=body.message_id,
            worker=record.worker,
            reason=note[1],
            details=note[2],
            ended_ms=note[0] if record.state in (DEAD, DONE) else 0,
            result=note[3],
        )

    def edit(self, record: Record, data: bytes) -> None:
        """Replace the payload of a job."""
        body = self.get(record)
        body.data = data
        update = "update job_bodies set data = ?, crc = ? where number = ?"
        self._cursor.execute(update, (data, _sum(record, body), record.number))

    def note(
        self, number: int, ended_ms: int, reason: str = "", details: str = "", result: bytes | None = None
    ) -> None:
        """Keep what was told of a job's last failure, or of its end."""
        self._cursor.execute(NOTE, (number, ended_ms, reason, details, result))

    def finish(self, number: int, ended_ms: int, result: bytes | None) -> None:
        """Keep the result of a job, beside what was told of its last failure."""
        self._cursor.execute(FINISH, (number, ended_ms, result))

    def remove(self, numbers: str) -> None:
        """Remove all that is known of jobs; their numbers are an `array`."""
        self._cursor.execute(REMOVE, (numbers,))

    def forget(self, numbers: str) -> None:
        """Remove what was told of jobs."""
        self._cursor.execute(FORGET, (numbers,))

    # Names under which there is one job

    def holder(self, queue: int, name: str, now_ms: int) -> int:
        """Return the job that holds a name; 0 if none does any more."""
        query = "select number, until_ms from unique_jobs where queue = ? and name = ?"
        number, until_ms = first(self._cursor.execute(query, (queue, name))) or (0, 0)
        return number if not until_ms or until_ms > now_ms else 0

    def hold(self, queue: int, job: Job, number: int, now_ms: int) -> None:
        """Let a job hold its name."""
        until_ms = now_ms + job.unique_ms if job.unique_ms else 0
        self._cursor.execute(HOLD, (queue, job.unique, number, until_ms))

    def free(self, record: Record) -> tuple[int, str, int, int] | None:
        """Let go of the name of a job, if it has it still; return what was let go."""
        held: tuple[int, str, int, int] | None
        held = first(self._cursor.execute(NAMED, (record.number, record.queue)))
        if held:
            self._cursor.execute("delete from unique_jobs where queue = ? and name = ?", held[:2])
        return held

    def hold_again(self, held: tuple[int, str, int, int]) -> None:
        """Take a name back that was let go of."""
        self._cursor.execute(HOLD, held)


def _sum(record: Record, body: Body) -> int:
    return checksum(
        record.number,
        record.queue,
        record.key,
        record.priority,
        body.epoch,
        body.enqueued_ms,
        body.headers,
        body.data,
    )
