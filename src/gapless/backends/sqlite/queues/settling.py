"""What becomes of claimed jobs, with what they emit, in one transaction."""

from collections.abc import Mapping, Sequence
from typing import Final

from gapless.backends.sqlite.emitting import emit
from gapless.backends.sqlite.queues.claiming import Claiming
from gapless.backends.sqlite.queues.enqueueing import Enqueueing
from gapless.backends.sqlite.queues.queue import CODES, DONE, WAITING, Queue, Record
from gapless.backends.sqlite.work import Undo
from gapless.core.errors import GaplessError, LeaseLost
from gapless.core.job_rules import EXPIRED, check_settlement, cut_details, cut_reason, number_of
from gapless.core.jobs import Deed, Enqueued, Settled, Settlement, State
from gapless.core.stream import Stored

__all__ = ["Settling"]

ACKED: Final = Settled(State.GONE)


class Settling(Claiming, Enqueueing):
    """Settlements. Acks are the hot path: their rows go together, at the end or before anything else."""

    def settle(
        self, settlements: Sequence[Settlement], refused: Mapping[int, GaplessError]
    ) -> list[Settled | GaplessError]:
        """Carry out settlements, but for those that are `refused`; see `Queues.settle`.

        Raises:
            Undo: what one emits was refused only when it was done.
        """
        answers: list[Settled | GaplessError] = []
        acks = _Acks(self, [number_of(settlement.id) for settlement in settlements])
        for item, settlement in enumerate(settlements):
            try:
                if item in refused:
                    raise refused[item]
                answers.append(self._settle(settlement, acks.asked[item], acks))
            except Undo as undo:
                undo.item = item
                raise
            except GaplessError as error:
                answers.append(error)
        acks.flush()
        return answers

    def _settle(self, asked: Settlement, number: int, acks: "_Acks") -> Settled:
        check_settlement(asked, self.jobs.options.message_bytes_max)
        if asked.emit or asked.deed is not Deed.ACK or number in acks.numbers:
            acks.flush()
        try:
            queue, job = self.held(acks.find(number), asked.id, asked.fence)
        except LeaseLost:
            if again := self._settled_before(asked):
                return again
            raise
        self.jobs.log.seq += 1
        self.jobs.woken.add(queue.name)
        if asked.deed is Deed.ACK and not asked.emit and not queue.options.result_ms:
            acks.add(queue, job)
            return ACKED
        emitted = self._emit(queue, job, asked)
        state = self._carry_out(queue, job, asked)
        answer = Settled(state, job.due_ms if state is State.WAITING else 0, emitted)
        self.jobs.answers.hold([(job, asked.deed, answer)], self.now_ms)
        return answer

    def _settled_before(self, asked: Settlement) -> Settled | None:
        epoch, _, fence = asked.fence.rpartition(":")
        generation = self.jobs.generations.get(epoch)
        if generation is None or not (fence.isascii() and fence.isdigit() and len(fence) < 19):
            return None
        number = number_of(asked.id)
        return self.jobs.answers.find(int(fence), generation, number, asked.deed, self.now_ms)

    def _emit(self, queue: Queue, job: Record, asked: Settlement) -> tuple[Stored | Enqueued, ...]:
        """Emit; what ends the job has freed its unique name by then."""
        if not asked.emit:
            return ()
        frees = job.is_unique and asked.deed in (Deed.ACK, Deed.BURY)
        held = self.jobs.bodies.free(job) if frees else None
        try:
            return emit(self.jobs.log, asked.emit)
        except GaplessError:
            if held is not None:
                self.jobs.bodies.hold_again(held)
            raise

    def _carry_out(self, queue: Queue, job: Record, asked: Settlement) -> State:
        reason, details = cut_reason(asked.reason), cut_details(asked.details)
        match asked.deed:
            case Deed.ACK:
                return self._ack(queue, job, asked.result)
            case Deed.RETRY:
                job.strikes += 1
                job.is_alone = False
                self.fail(queue, job, self.now_ms, reason, details, asked.delay_ms)
            case Deed.RELEASE:
                self._release(queue, job, asked.delay_ms or 0)
            case _:
                self.die(queue, job, self.now_ms, reason, details)
        return CODES[job.state]

    def _release(self, queue: Queue, job: Record, delay_ms: int) -> None:
        job.attempt -= 1
        ends_ms = None if job.attempt else self.expires_at_ms(job)
        if ends_ms is not None and ends_ms <= self.now_ms:
            self.die(queue, job, ends_ms, EXPIRED, "", fails=False)
        else:
            self.jobs.move(queue, job, WAITING, due_ms=self.now_ms + delay_ms, ends_ms=ends_ms)

    def _ack(self, queue: Queue, job: Record, result: bytes | None) -> State:
        queue.acked += 1
        kept_ms = queue.options.result_ms
        if not kept_ms:
            self.jobs.remove(queue, [job])
            return State.GONE
        self.jobs.bodies.finish(job.number, self.now_ms, result)
        self.jobs.move(queue, job, DONE, ends_ms=self.now_ms + kept_ms)
        return State.DONE


class _Acks:
    """Acks that were accepted, whose rows are still to go."""

    def __init__(self, settling: Settling, asked: Sequence[int]) -> None:
        """Find all jobs that are `asked` for; a lease ends only with its own settlement, or by time."""
        self._settling = settling
        self._found = settling.jobs.find_all(asked)
        self.asked = asked
        self._jobs: dict[int, tuple[Queue, list[Record]]] = {}
        self.numbers: set[int] = set()

    def find(self, number: int) -> Record | None:
        """Return a job as it stands; what is settled twice is looked up anew."""
        return self._found.pop(number, None) or self._settling.jobs.find(number)

    def add(self, queue: Queue, job: Record) -> None:
        """Note one."""
        self.numbers.add(job.number)
        self._jobs.setdefault(queue.id, (queue, []))[1].append(job)

    def flush(self) -> None:
        """Let them go."""
        if not self.numbers:
            return
        settling = self._settling
        for queue, jobs in self._jobs.values():
            queue.acked += len(jobs)
            settling.jobs.answers.hold_acks([job.number for job in jobs], settling.now_ms)
            settling.jobs.remove(queue, jobs)
        self._jobs.clear()
        self.numbers.clear()
