"""The queues as the writer has them: all that happens in them, in its transaction."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import apsw

from gapless.backends import Options, each
from gapless.backends.sqlite.keys import Keys
from gapless.backends.sqlite.queues.answers import request_id
from gapless.backends.sqlite.queues.declaring import Declaring
from gapless.backends.sqlite.queues.jobs import Jobs
from gapless.backends.sqlite.queues.looking import Looking
from gapless.backends.sqlite.queues.settling import Settling
from gapless.core.errors import GaplessError
from gapless.core.job_rules import check_repeat
from gapless.core.jobs import Enqueued, Job

if TYPE_CHECKING:
    from gapless.backends.sqlite.log import Log

__all__ = ["Queueing"]

# Housekeeping comes round so often.
HOUSE_MS: Final = 1_000


class Queueing(Settling, Declaring, Looking):
    """Everything about queues, inside the caller's transaction."""

    def __init__(self, cursor: apsw.Cursor, log: "Log", keys: Keys, options: Options, epoch: str) -> None:
        super().__init__(Jobs(cursor, log, keys, options, epoch))
        self._house_ms = 0

    def reload(self) -> None:
        """Forget what was not committed."""
        self.jobs.reload()

    def go_on_from(self, former: "Queueing") -> None:
        """Count on what the file that was here before has counted."""
        for name, queue in self.jobs.queues.items():
            if name in former.jobs.queues:
                queue.count_on(former.jobs.queues[name])

    def enqueue(self, batches: Sequence[Sequence[Job]], request: str) -> list[list[Enqueued] | GaplessError]:
        """Enqueue batches; what a repeat of the request was told before, it is told again.

        Raises:
            BadRequest: the request came before with another number of batches.
        """
        if not request:
            return self.enqueue_each(batches)
        answers, id = self.jobs.answers, request_id(request)
        before = answers.find_enqueued(id, self.now_ms)
        told: list[list[Enqueued] | GaplessError]
        if not before:
            told = self.enqueue_each(batches)
        else:
            check_repeat(before, batches)
            told = each(zip(before, batches, strict=True), lambda one: one[0] or self.enqueue_now(one[1]))
        answers.hold_enqueued(id, [one if isinstance(one, list) else None for one in told], self.now_ms)
        return told

    def take_woken(self) -> set[str]:
        """Return the queues whose jobs may have become claimable; what was done so far holds."""
        woken, self.jobs.woken = self.jobs.woken, set()
        self.jobs.commit()
        return woken

    def is_due(self, now_ms: int) -> bool:
        """Tell whether there is housekeeping to do."""
        return self._house_ms <= now_ms and (
            self.jobs.answers.due_ms() <= now_ms
            or any(queue.wake_ms <= now_ms for queue in self.jobs.by_id.values())
        )

    def keep_house(self) -> None:
        """Drop what answers nothing any more, and tend the queues that nobody looks at.

        This is for space alone: whoever looks at a queue tends it first.
        """
        if self._house_ms <= self.now_ms:
            self._house_ms = self.now_ms + HOUSE_MS
            self.jobs.answers.drop_due(self.now_ms)
            for queue in self.jobs.by_id.values():
                if queue.wake_ms <= self.now_ms:
                    self.tend(self.jobs.touch(queue))
