"""What was answered lately, so that a repeat is answered alike (semantics 4).

It stands in tables by minute of store time that are dropped whole, so that an ack costs one insert at
the end of a table and nothing later.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import apsw
from msgspec import msgpack

from gapless.backends.sqlite.queues.queue import Record
from gapless.backends.sqlite.schema import NUMBERS, array, first, rows
from gapless.core.jobs import Deed, Enqueued, Settled, State
from gapless.core.limits import SETTLED_MS
from gapless.core.stream import Stored

__all__ = ["Answers", "claim_id", "request_id"]

MINUTE_MS: Final = 60_000
DEEDS: Final = (Deed.ACK, Deed.RETRY, Deed.RELEASE, Deed.BURY)
STATES: Final = tuple(State)
FIND = "select number, generation, deed, state, due_ms, emitted, at_ms from settled_{} where fence = ?1"
INSERT_ACKS = (
    f"insert into settled_{{}} select fence, generation, number, {DEEDS.index(Deed.ACK)},"
    f" {STATES.index(State.GONE)}, 0, null, ? from jobs where number in {NUMBERS}"
)
FIND_REQUEST = "select answer, at_ms from requested_{} where id = ?1"
TABLES: Final = (
    "create table settled_{} (fence integer primary key, generation integer not null,"
    " number integer not null, deed integer not null, state integer not null, due_ms integer not null,"
    " emitted blob, at_ms integer not null) strict",
    "create table requested_{} (id blob primary key, answer blob not null, at_ms integer not null)"
    " strict, without rowid",
)
TABLE_NAMES = "select name from sqlite_schema where type = 'table' and name like 'settled\\_%' escape '\\'"


_encode = msgpack.Encoder().encode
_decode_emitted = msgpack.Decoder(list[tuple[Stored | None, Enqueued | None]]).decode
_decode_leases = msgpack.Decoder(list[tuple[int, int]]).decode
_decode_batches = msgpack.Decoder(list[list[Enqueued] | None]).decode


class Answers:
    """The answers that are held. Everything happens inside the caller's transaction."""

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor
        self.reload()

    def reload(self) -> None:
        """Forget what was not committed."""
        self._minutes = sorted(
            int(name.removeprefix("settled_")) for (name,) in rows(self._cursor.execute(TABLE_NAMES))
        )
        self._see()

    def _see(self) -> None:
        self._find = " union all ".join(FIND.format(minute) for minute in self._minutes)
        self._find_request = " union all ".join(FIND_REQUEST.format(minute) for minute in self._minutes)
        newest = self._minutes[-1] if self._minutes else 0
        self._insert = f"insert into settled_{newest} values (?, ?, ?, ?, ?, ?, ?, ?)"
        self._insert_acks = INSERT_ACKS.format(newest)
        self._insert_request = f"insert or replace into requested_{newest} values (?, ?, ?)"

    def due_ms(self) -> int:
        """When the oldest tables are to be dropped."""
        return (self._minutes[0] + 1) * MINUTE_MS + SETTLED_MS if self._minutes else 1 << 62

    def drop_due(self, now_ms: int) -> None:
        """Drop the tables that answer nothing any more."""
        while self.due_ms() <= now_ms:
            minute = self._minutes.pop(0)
            self._cursor.execute(f"drop table settled_{minute}")
            self._cursor.execute(f"drop table requested_{minute}")
            self._see()

    def _turn_over(self, now_ms: int) -> None:
        minute = now_ms // MINUTE_MS
        if not self._minutes or self._minutes[-1] < minute:
            for statement in TABLES:
                self._cursor.execute(statement.format(minute))
            self._minutes.append(minute)
            self._see()

    def hold(self, answered: Sequence[tuple[Record, Deed, Settled]], now_ms: int) -> None:
        """Remember settlements: the job with its fence, deed and answer of each."""
        self._turn_over(now_ms)
        self._cursor.executemany(
            self._insert,
            [
                (
                    job.fence,
                    job.generation,
                    job.number,
                    DEEDS.index(deed),
                    STATES.index(told.state),
                    told.due_ms,
                    _encode([_pack(one) for one in told.emitted]) if told.emitted else None,
                    now_ms,
                )
                for job, deed, told in answered
            ],
        )

    def hold_acks(self, numbers: Sequence[int], now_ms: int) -> None:
        """Remember that jobs, which are still there, go by an ack."""
        self._turn_over(now_ms)
        self._cursor.execute(self._insert_acks, (now_ms, array(numbers)))

    def find(self, fence: int, generation: int, number: int, deed: Deed, now_ms: int) -> Settled | None:
        """Return how the same settlement was answered, if it was."""
        row = first(self._cursor.execute(self._find, (fence,))) if self._find else None
        if row is None or row[:3] != (number, generation, DEEDS.index(deed)) or row[6] + SETTLED_MS <= now_ms:
            return None
        emitted = tuple(_unpack(*one) for one in _decode_emitted(row[5])) if row[5] else ()
        return Settled(STATES[row[3]], row[4], emitted, again=True)

    def hold_claim(self, id: bytes, leases: Sequence[tuple[int, int]], now_ms: int) -> None:
        """Remember the jobs that were claimed by a request, and the fences of their leases."""
        self._hold_request(id, leases, now_ms)

    def find_claim(self, id: bytes, now_ms: int) -> list[tuple[int, int]]:
        """Return the jobs and fences that the same request was given last."""
        found = self._find_requested(id, now_ms)
        return _decode_leases(found) if found else []

    def hold_enqueued(self, id: bytes, batches: Sequence[Sequence[Enqueued] | None], now_ms: int) -> None:
        """Remember what became of each batch of a request; None: it was refused."""
        self._hold_request(id, batches, now_ms)

    def find_enqueued(self, id: bytes, now_ms: int) -> list[list[Enqueued] | None] | None:
        """Return what became of each batch of the same request, if there was one."""
        found = self._find_requested(id, now_ms)
        return _decode_batches(found) if found else None

    def _hold_request(self, id: bytes, answer: object, now_ms: int) -> None:
        self._turn_over(now_ms)
        self._cursor.execute(self._insert_request, (id, _encode(answer), now_ms))

    def _find_requested(self, id: bytes, now_ms: int) -> bytes:
        found = rows(self._cursor.execute(self._find_request, (id,))) if self._find_request else []
        return found[-1][0] if found and found[-1][1] + SETTLED_MS > now_ms else b""


def request_id(request: str) -> bytes:
    """Return what stands for a request to enqueue."""
    return blake2b(f"enqueue {request}".encode(), digest_size=16).digest()


def claim_id(queue: str, worker: str, request: str) -> bytes:
    """Return what stands for a claim's request."""
    name = f"{len(queue)} {len(worker)} {queue}{worker}{request}"
    return blake2b(name.encode(), digest_size=16).digest()


def _pack(emitted: Stored | Enqueued) -> tuple[Stored | None, Enqueued | None]:
    return (emitted, None) if isinstance(emitted, Stored) else (None, emitted)


def _unpack(stored: Stored | None, enqueued: Enqueued | None) -> Stored | Enqueued:
    emitted = stored or enqueued
    assert emitted is not None
    return emitted
