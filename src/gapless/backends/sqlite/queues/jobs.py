"""All jobs of the file: their rows, the lines of their keys, and the counts of their queues."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import apsw
from msgspec import json

from gapless.backends import Options
from gapless.backends.sqlite.keys import Keys
from gapless.backends.sqlite.queues.answers import Answers
from gapless.backends.sqlite.queues.bodies import Bodies
from gapless.backends.sqlite.queues.queue import (
    DEAD,
    FOREVER_MS,
    HELD,
    LEASED,
    WAITING,
    Queue,
    Record,
)
from gapless.backends.sqlite.schema import NUMBERS, Insert, array, first, number, rows
from gapless.core.errors import UnknownQueue
from gapless.core.job_rules import id_of
from gapless.core.jobs import OnDead, QueueOptions
from gapless.core.limits import PRIORITY_MAX

if TYPE_CHECKING:
    from gapless.backends.sqlite.log import Log

__all__ = ["EARLIER", "Jobs"]

INSERT = Insert("jobs", "(?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, ?, '')")
FIND = f"select {Record.COLUMNS} from jobs where number = ?"
FIND_ALL = f"select {Record.COLUMNS} from jobs where number in {NUMBERS}"
REMOVE = f"delete from jobs where number in {NUMBERS}"
UPDATE = (
    "update jobs set state = ?, rank = ?, due_ms = ?, is_lined = ?, first_ms = ?, place = ?, attempt = ?,"
    " strikes = ?, is_alone = ?, fence = ?, generation = ?, ends_ms = ?, worker = ? where number = ?"
)
HEAD = (
    f"select {Record.COLUMNS} from jobs where queue = ? and key = ? and is_lined"
    " order by first_ms, place limit 1"
)
FIRST = "(select number from jobs where queue = ? and key = ? and is_lined order by first_ms, place limit 1)"
GO_ON = f"update jobs set rank = ? - priority where number = {FIRST} and state = 0 and rank between 10 and 19"
HOLD_BACK = f"update jobs set rank = {HELD + PRIORITY_MAX} - priority where number = {FIRST} and state = 0"
HEAD_MS = "select first_ms from jobs where queue = ? and key = ? and is_lined order by first_ms limit 1"
TURNED = "select count(*) from jobs where queue = ? and rank = ? and due_ms > ? and due_ms <= ? and state = 0"
TURNS = (
    "select due_ms from jobs where queue = ? and rank = ? and due_ms > ? and state = 0"
    " order by due_ms limit 1"
)
LEASE_ENDS = "select due_ms from jobs where queue = ? and state = 1 order by due_ms limit 1"
ENDS = "select ends_ms from jobs where queue = ? and ends_ms is not null order by ends_ms limit 1"
LIVING: Final = (
    "select 1 from jobs where queue = ? and key is ? and state = 0 and rank >= 20 limit 1",
    "select 1 from jobs where queue = ? and key = ? and is_lined and state = 0 limit 1",
    "select 1 from jobs where queue = ? and key is ? and state = 1 limit 1",
)
EARLIER = (
    "is_lined and exists (select 1 from jobs e where e.queue = jobs.queue and e.key = jobs.key and e.is_lined"
    " and (e.first_ms, e.place) < (jobs.first_ms, jobs.place))"
)
STRAYS = f"select number, key from jobs where queue = ? and state = 1 and {EARLIER}"
RELAY: Final = (
    "update jobs set is_lined = ?2 and key is not null and (state < 2 or (state = 2 and ?3))"
    " where queue = ?1",
    "update jobs set rank = ?2 - priority where queue = ?1 and state = 0",
    f"update jobs set rank = {HELD + PRIORITY_MAX} - priority where queue = ?1 and state = 0 and {EARLIER}",
)
COUNTS: Final = (
    "select state, rank, count(*) from jobs where queue = ? and state = 0 group by rank",
    "select state, worker, count(*) from jobs where queue = ? and state = 1 group by worker",
    "select state, 0, count(*) from jobs where queue = ? and state > 1 group by state",
)
decode_options = json.Decoder(QueueOptions).decode


class Jobs:
    """The only copy of the counts. What changes anything happens inside the caller's transaction."""

    def __init__(self, cursor: apsw.Cursor, log: "Log", keys: Keys, settings: Options, epoch: str) -> None:
        self.cursor = cursor
        self.log = log
        self.keys = keys
        self.options = settings
        self.epoch = epoch
        self.generations: dict[str, int] = dict(rows(cursor.execute("select id, number from generations")))
        self.generation = self.generations[epoch]
        self._since = number(cursor.execute("select seq from store"))  # higher numbers are of this generation
        self.answers = Answers(cursor)
        self.bodies = Bodies(cursor)
        self.queues: dict[str, Queue] = {}
        self.by_id: dict[int, Queue] = {}
        self.woken: set[str] = set()  # queues whose jobs may have become claimable in this transaction
        self._before: dict[int, Queue | None] = {}
        for id, name, options, is_paused in rows(cursor.execute("select * from queues")):
            self._enter(self._counted(Queue(id, name, decode_options(options), is_paused=bool(is_paused))))

    def _enter(self, queue: Queue) -> None:
        self.queues[queue.name] = self.by_id[queue.id] = queue

    def _counted(self, queue: Queue) -> Queue:
        """Count the jobs of a queue in the table."""
        for query in COUNTS:
            for state, what, count in rows(self.cursor.execute(query, (queue.id,))):
                if state == WAITING:
                    queue.waiting += count
                    queue.see_rank(what)
                elif state == LEASED:
                    queue.leased += count
                    queue.workers[what] = count
                elif state == DEAD:
                    queue.dead = count
                else:
                    queue.done = count
        queue.strays = dict(rows(self.cursor.execute(STRAYS, (queue.id,))))
        served = "select key, fence from served_keys where queue = ?"
        queue.served = dict(rows(self.cursor.execute(served, (queue.id,))))
        queue.delayed, queue.turn_ms, queue.wake_ms = queue.waiting, 0, 0
        return queue

    # Queues

    def relay(self, queue: Queue) -> None:
        """Give every job its rank and place anew: the queue's options are others than before."""
        ordered, stops = queue.options.ordered, queue.options.on_dead is OnDead.STOP
        for statement, bindings in zip(
            RELAY, ((queue.id, ordered, stops), (queue.id, queue.lowest), (queue.id,)), strict=True
        ):
            self.cursor.execute(statement, bindings)
        queue.strays = dict(rows(self.cursor.execute(STRAYS, (queue.id,))))
        for key in set(queue.strays.values()):
            self.hold_back(queue, key)
        ranks = rows(
            self.cursor.execute("select distinct rank from jobs where queue = ? and state = 0", (queue.id,))
        )
        queue.ranks.clear()  # which of them go together is another matter now
        for (rank,) in ranks:
            queue.see_rank(rank)

    def queue(self, name: str) -> Queue:
        """Return a queue that may change now.

        Raises:
            UnknownQueue: there is no such queue.
        """
        queue = self.queues.get(name)
        if queue is None:
            raise UnknownQueue(f"there is no queue {name!r}; declare it first")
        return self.touch(queue)

    def touch(self, queue: Queue) -> Queue:
        """Remember how a queue stands, in case that what follows does not hold."""
        if queue.id not in self._before:
            self._before[queue.id] = queue.snapshot()
        return queue

    def add_queue(self, queue: Queue) -> None:
        """Know one more queue."""
        self._before.setdefault(queue.id, None)
        self._enter(queue)

    def drop_queue(self, queue: Queue) -> None:
        """Know one less."""
        del self.queues[queue.name], self.by_id[queue.id]

    def commit(self) -> None:
        """What was done so far holds, once the transaction does."""
        self._before.clear()

    def reload(self) -> None:
        """Forget what was not committed."""
        for id, queue in self._before.items():
            if now := self.by_id.pop(id, None):
                del self.queues[now.name]
            if queue is not None:
                self._enter(queue)
        self._before.clear()
        self.woken.clear()
        self.answers.reload()

    def see(self, queue: Queue, now_ms: int) -> None:
        """Count those of the jobs that wait which fell due."""
        if queue.turn_ms <= now_ms:
            turns_ms = FOREVER_MS
            for rank in queue.ranks:
                since = queue.id, rank, queue.seen_ms, now_ms
                queue.delayed -= number(self.cursor.execute(TURNED, since))
                row = first(self.cursor.execute(TURNS, (queue.id, rank, now_ms)))
                turns_ms = min(turns_ms, row[0]) if row else turns_ms
            queue.turn_ms = turns_ms
        queue.seen_ms = now_ms

    def look_ahead(self, queue: Queue) -> None:
        """Find out when the next lease, wait or keeping ends."""
        found = [first(self.cursor.execute(query, (queue.id,))) for query in (LEASE_ENDS, ENDS)]
        queue.wake_ms = min([row[0] for row in found if row], default=FOREVER_MS)

    # Rows

    def find(self, number: int) -> Record | None:
        """Return the row of a job, if there is such a job."""
        row = first(self.cursor.execute(FIND, (number,)))
        return Record(row) if row else None

    def find_all(self, numbers: Sequence[int]) -> dict[int, Record]:
        """Return the rows of those jobs that there are."""
        found = rows(self.cursor.execute(FIND_ALL, (array(numbers),)))
        return {row[0]: Record(row) for row in found}

    def id(self, number: int) -> str:
        """Return the id of a job that is there."""
        return id_of(number, self.epoch) if number > self._since else self.bodies.id(number)

    def select(self, condition: str, bindings: tuple[object, ...]) -> list[Record]:
        """Return the rows for which a condition holds."""
        found = rows(self.cursor.execute(f"select {Record.COLUMNS} from jobs where {condition}", bindings))
        return [Record(row) for row in found]

    def insert(self, inserted: Sequence[list[object]]) -> None:
        """Write new rows, without what is 0 and the worker: these wait, and were never claimed."""
        INSERT.execute(self.cursor, inserted)

    def save(self, job: Record) -> None:
        """Write a row that changed."""
        self.cursor.execute(
            UPDATE,
            (
                job.state,
                job.rank,
                job.due_ms,
                job.is_lined,
                job.first_ms,
                job.place,
                job.attempt,
                job.strikes,
                job.is_alone,
                job.fence,
                job.generation,
                job.ends_ms,
                job.worker,
                job.number,
            ),
        )

    def remove(self, queue: Queue, gone: Sequence[Record]) -> None:
        """Remove jobs, and let their lines go on."""
        numbers = array([job.number for job in gone])
        noted = [
            job.number for job in gone if job.attempt > 1 or job.strikes or job.is_alone or job.state > LEASED
        ]
        for job in gone:
            queue.take(job)
            if job.is_unique:
                self.bodies.free(job)
        self.cursor.execute(REMOVE, (numbers,))
        self.bodies.remove(numbers)
        if noted:
            self.bodies.forget(array(noted))
        self.go_on(queue, {job.key for job in gone if job.is_lined})
        self.forget_served(queue, gone)

    def move(
        self, queue: Queue, job: Record, state: int, *, due_ms: int = 0, ends_ms: int | None = None
    ) -> None:
        """Write a job that changed, also its state. One that is to wait finds its place in its line."""
        was_lined, was_stray = job.is_lined, job.number in queue.strays
        queue.take(job)
        job.state, job.due_ms, job.ends_ms = state, due_ms, ends_ms
        if state == WAITING:
            self.join(queue, job)
        elif job.is_lined and state > LEASED:
            job.is_lined = queue.options.on_dead is OnDead.STOP and state == DEAD
        queue.add(job)
        self.save(job)
        if was_lined and (was_stray or state > LEASED):
            self.go_on(queue, [job.key])
        if state > LEASED:
            if job.is_unique:
                self.bodies.free(job)
            self.forget_served(queue, [job])

    def serve(self, queue: Queue, key: str | None, fence: int) -> None:
        """Remember that a key of a fair queue had its turn."""
        statement = (
            "update served_keys set fence = ? where queue = ? and key is ?"
            if key in queue.served
            else "insert into served_keys (fence, queue, key) values (?, ?, ?)"
        )
        self.cursor.execute(statement, (fence, queue.id, key))
        queue.served[key] = fence

    def unserve(self, queue: Queue, key: str | None) -> None:
        """Forget that a key had its turn."""
        self.cursor.execute("delete from served_keys where queue = ? and key is ?", (queue.id, key))
        del queue.served[key]

    def forget_served(self, queue: Queue, gone: Sequence[Record]) -> None:
        """Let a fair queue forget the keys of which nothing waits or is leased any more."""
        if queue.served:
            for key in {job.key for job in gone if job.key in queue.served}:
                if not any(first(self.cursor.execute(query, (queue.id, key))) for query in LIVING):
                    self.unserve(queue, key)

    # Lines

    def head(self, queue: Queue, key: str | None) -> Record | None:
        """Return the first in a key's line."""
        row = first(self.cursor.execute(HEAD, (queue.id, key)))
        return Record(row) if row else None

    def go_on(self, queue: Queue, keys: Iterable[str | None]) -> None:
        """Let the first in the lines of keys be claimed, if they wait."""
        if queue.strays:
            keys = set(keys) - set(queue.strays.values())
        self.cursor.executemany(GO_ON, [(queue.lowest, queue.id, key) for key in keys])

    def head_ms(self, queue: Queue, key: str) -> int | None:
        """Return when the first in a key's line first fell or falls due."""
        row = first(self.cursor.execute(HEAD_MS, (queue.id, key)))
        return row[0] if row else None

    def join(self, queue: Queue, job: Record) -> None:
        """Give a job that is to wait its place in the line of its key, if there are lines."""
        job.rank = queue.lowest - job.priority
        job.is_lined = False
        if job.key is None or not queue.options.ordered:
            return
        job.is_lined = True
        head = self.head(queue, job.key)
        if queue.strays and job.key in queue.strays.values():
            job.rank = HELD + PRIORITY_MAX - job.priority
        elif head is None or head.number == job.number:
            return
        elif (head.first_ms, head.place) < (job.first_ms, job.place):
            job.rank = HELD + PRIORITY_MAX - job.priority
        else:
            self.hold_back(queue, job.key)

    def leave_line(self, queue: Queue, job: Record) -> None:
        """Let the line of a dead job go on."""
        job.is_lined = False
        self.cursor.execute("update jobs set is_lined = 0 where number = ?", (job.number,))
        self.go_on(queue, [job.key])

    def hold_back(self, queue: Queue, key: str | None) -> None:
        """Let the first in a key's line wait behind another that is to head the line."""
        self.cursor.execute(HOLD_BACK, (queue.id, key))
