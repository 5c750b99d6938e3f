"""Leasing jobs: which, to whom, and for how long."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from heapq import heapify, heappop, heappush
from typing import Any, Final, NamedTuple

from gapless.backends.sqlite.queues.answers import claim_id
from gapless.backends.sqlite.queues.bodies import checksum
from gapless.backends.sqlite.queues.queue import LEASED, Queue, Record
from gapless.backends.sqlite.queues.tending import Tending
from gapless.backends.sqlite.schema import array, first, rows
from gapless.core.errors import LeaseLost
from gapless.core.job_rules import check_claim, check_lease, id_of, number_of
from gapless.core.jobs import Claimed, Lease
from gapless.core.limits import CLAIM_BYTES_MAX, CLAIM_JOBS_MAX

__all__ = ["Claiming"]

COLUMNS: Final = (
    "j.number, j.key, j.priority, j.attempt, j.is_alone, b.epoch, b.enqueued_ms, b.crc, b.headers, b.data"
)
CLAIM: Final = (
    f"select {COLUMNS} from jobs j left join job_bodies b on b.number = j.number"
    " where j.queue = ? and j.rank = ? and j.due_ms <= ? and j.state = 0 order by j.due_ms, j.place"
)
# The best job of a key, of those of one rank; and which key comes after one.
TURN: Final = (
    f"select {COLUMNS}, j.due_ms, j.place from jobs j left join job_bodies b on b.number = j.number"
    " where j.queue = ? and j.key is ? and j.rank = ? and j.due_ms <= ? and j.state = 0 and j.rank >= 20"
    " order by j.due_ms, j.place limit 1 offset ?"
)
KEYS: Final = (
    "with recursive next (key) as ("
    "select (select min(key) from jobs where queue = ?1 and state = 0 and rank >= 20) union all"
    " select (select min(key) from jobs where queue = ?1 and key > next.key and state = 0 and rank >= 20)"
    " from next where next.key is not null) select key from next where key is not null"
)
FLYING: Final = "select key, count(*) from jobs where queue = ? and state = 1 group by key"
# All at once, with fences that rise in the order of the numbers given.
LEASE: Final = (
    f"update jobs set state = {LEASED}, due_ms = ?, attempt = attempt + 1, fence = ? + given.key,"
    " generation = ?, worker = ?, ends_ms = null from json_each(?) given where number = given.value"
)
DAMAGED: Final = "the job is lost or fails its checksum"

Row = tuple[Any, ...]


class _Turn(NamedTuple):
    """The best job of a key, ordered as turns are."""

    flying: int
    served: int
    rank: int
    due_ms: int
    place: int
    taken: "Counter[int]"
    row: Row


class Claiming(Tending):
    """Jobs on their way to workers."""

    def claim(self, name: str, worker: str, limit: int, lease_ms: int, request: str) -> list[Claimed]:
        """Lease jobs; see `Queues.claim`."""
        check_claim(worker, limit, lease_ms, request)
        queue = self.queue_now(name)
        id = claim_id(name, worker, request) if request else b""
        if request and (again := self._claimed_before(queue, id)):
            return again
        if queue.is_paused:
            return []
        until_ms = self.now_ms + (lease_ms or queue.options.lease_ms)
        chosen = self._choose(queue, self._room(queue, worker, limit))
        claimed = self._lease(queue, chosen, worker, until_ms)
        if request and claimed:
            leases = [(row[0], job.fence_number) for row, job in zip(chosen, claimed, strict=True)]
            self.jobs.answers.hold_claim(id, leases, self.now_ms)
        return claimed

    def _claimed_before(self, queue: Queue, id: bytes) -> list[Claimed]:
        claimed: list[Claimed] = []
        for number, fence in self.jobs.answers.find_claim(id, self.now_ms):
            job = self.jobs.find(number)
            if job and (job.state, job.fence) == (LEASED, fence):
                body = self.jobs.bodies.get(job)
                name = f"{self._epoch(job)}:{fence}"
                claimed.append(
                    Claimed(
                        id_of(number, body.epoch),
                        queue.name,
                        body.data,
                        body.headers,
                        job.key,
                        job.priority,
                        job.attempt,
                        name,
                        fence,
                        body.enqueued_ms,
                        job.due_ms,
                        bool(job.is_alone),
                        again=True,
                    )
                )
        return claimed

    def _epoch(self, job: Record) -> str:
        row = first(
            self.jobs.cursor.execute("select id from generations where number = ?", (job.generation,))
        )
        return row[0] if row else ""

    def _room(self, queue: Queue, worker: str, limit: int) -> int:
        options = queue.options
        room = min(limit, CLAIM_JOBS_MAX)
        if options.in_flight_max:
            room = min(room, options.in_flight_max - queue.leased)
        if options.in_flight_per_worker_max:
            room = min(room, options.in_flight_per_worker_max - queue.workers.get(worker, 0))
        return room

    def _choose(self, queue: Queue, room: int) -> list[Row]:
        """Return the rows of those that come first; what is damaged is buried instead."""
        chosen: list[Row] = []
        damaged: list[int] = []
        left_bytes = CLAIM_BYTES_MAX
        if room > 0:
            for row in self._fairly(queue) if queue.options.fair else self._by_rank(queue):
                number, key, priority, _, is_alone, epoch, enqueued_ms, crc, headers, data = row[:10]
                if epoch is None or crc != checksum(
                    number, queue.id, key, priority, epoch, enqueued_ms, headers, data
                ):
                    damaged.append(number)
                    continue
                left_bytes -= len(data) + len(headers)
                if chosen and (is_alone or left_bytes < 0):
                    break
                chosen.append(row)
                if is_alone or len(chosen) == room:
                    break
        for number in damaged:
            self._bury(queue, number)
        if damaged:
            self.jobs.relay(queue)  # it may have stood in another line than its row says now
        return chosen

    def _bury(self, queue: Queue, number: int) -> None:
        job = self.jobs.find(number)
        assert job is not None
        self.die(queue, job, self.now_ms, DAMAGED, "")

    def _by_rank(self, queue: Queue) -> Iterator[Row]:
        for rank in queue.claimable():
            with closing(self.jobs.cursor.connection.cursor()) as cursor:
                yield from cursor.execute(CLAIM, (queue.id, rank, self.now_ms))

    def _fairly(self, queue: Queue) -> Iterator[Row]:
        """Go through the jobs that can be claimed, of the keys by turns. It looks at every key first."""
        cursor = self.jobs.cursor
        flying = Counter(dict(rows(cursor.execute(FLYING, (queue.id,)))))
        keys: list[str | None] = [None, *(key for (key,) in rows(cursor.execute(KEYS, (queue.id,))))]
        turns = [turn for key in keys if (turn := self._turn(queue, key, Counter(), flying[key]))]
        heapify(turns)
        last = self.jobs.log.fences.last
        while turns:
            turn = heappop(turns)
            yield turn.row
            last += 1
            turn.taken[turn.rank] += 1
            if following := self._turn(queue, turn.row[1], turn.taken, turn.flying + 1, last):
                heappush(turns, following)

    def _turn(
        self, queue: Queue, key: str | None, taken: "Counter[int]", flying: int, served: int = 0
    ) -> "_Turn | None":
        """Return the best job of a key, after those that were taken of each rank."""
        for rank in queue.claimable():
            found = first(self.jobs.cursor.execute(TURN, (queue.id, key, rank, self.now_ms, taken[rank])))
            if found:
                due_ms, place = found[-2:]
                served = served or queue.served.get(key, 0)
                return _Turn(flying, served, rank, due_ms, place, taken, found)
        return None

    def _lease(self, queue: Queue, chosen: list[Row], worker: str, until_ms: int) -> list[Claimed]:
        claimed: list[Claimed] = []
        fences, name = self.jobs.log.fences, queue.name
        first_fence = fences.last + 1
        for number, key, priority, attempt, is_alone, epoch, enqueued_ms, _, headers, data, *_ in chosen:
            fence = fences.next()
            claimed.append(
                Claimed(
                    f"{number}-{epoch}",
                    name,
                    data,
                    headers,
                    key,
                    priority,
                    attempt + 1,
                    fence,
                    fences.last,
                    enqueued_ms,
                    until_ms,
                    bool(is_alone),
                )
            )
            if queue.options.fair:
                self.jobs.serve(queue, key, fences.last)
        if chosen:
            numbers = array([row[0] for row in chosen])
            leases = until_ms, first_fence, self.jobs.generation, worker, numbers
            self.jobs.cursor.execute(LEASE, leases)
            queue.waiting -= len(chosen)
            queue.claimed += len(chosen)
            queue.lease(worker, len(chosen), until_ms)
        return claimed

    # Leases

    def extend(self, lease: Lease, lease_ms: int) -> int:
        """Let a lease last until so long from now, and tell until when.

        Raises:
            LeaseLost: it has ended.
        """
        check_lease(lease_ms)
        queue, job = self.leased(lease.id, lease.fence)
        until_ms = self.now_ms + lease_ms
        self.jobs.cursor.execute("update jobs set due_ms = ? where number = ?", (until_ms, job.number))
        queue.wake_ms = min(queue.wake_ms, until_ms)
        return until_ms

    def leased(self, id: str, fence: str) -> tuple[Queue, Record]:
        """Return a job that is leased under a fence, and its queue, which may change now.

        Raises:
            LeaseLost: the lease has ended.
        """
        job = self.jobs.find(number_of(id))
        return self.held(job, id, fence)

    def held(self, job: Record | None, id: str, fence: str) -> tuple[Queue, Record]:
        """As `leased`, of the job with that number, if there is one."""
        epoch, _, number = fence.rpartition(":")
        if (
            job is None
            or job.state != LEASED
            or str(job.fence) != number
            or job.due_ms <= self.now_ms
            or self.jobs.generations.get(epoch) != job.generation
            or self.jobs.id(job.number) != id
        ):
            raise LeaseLost(f"the lease {fence!r} of job {id!r} has ended")
        return self.jobs.touch(self.jobs.by_id[job.queue]), job
