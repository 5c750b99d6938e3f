"""How often the message at hand of a partition has failed, and where one goes that is given up."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gapless.core.job_rules import cut_reason
from gapless.core.jobs import Deed
from gapless.core.limits import JOB_HEADERS_BYTES_MAX, JOB_KEY_BYTES_MAX
from gapless.core.retry import Retry
from gapless.library.handlers import StreamHandler
from gapless.protocol.meta import OWN_TAGS, Meta
from gapless.protocol.queues import Emit, NewJob
from gapless.protocol.reading import StreamMessage
from gapless.worker.runners import End, How

__all__ = ["Failures", "dead_letter"]

DEFAULT: Final = Retry(attempts_max=5, base_ms=500, cap_ms=60_000)
LEFT_BEHIND: Final = "dead-left-behind"


class Failures:
    """Counts failures of the message at hand: the first of its partition that is not done.

    By a policy that was declared each failure counts. Without one only those count that no handler can tell
    of, for they end its process, or need it ended; what a handler tells is tried again for ever, since it is
    mostly the doing of something else. So it is when one message after the other ends its process: then
    only the first of them is given up.
    """

    def __init__(self, declared: Retry | None) -> None:
        self._declared = declared
        self._retry = declared or DEFAULT
        self._gave_up = False  # the message before, by default
        self.next()

    def next(self) -> None:
        """Begin with another message, after one that was given up."""
        self.attempts = 0  # those that count
        self._failures = 0

    def handled(self) -> None:
        """Begin with another message, after one that was handled."""
        self._gave_up = False
        self.next()

    @property
    def holds_on(self) -> bool:
        """Whether the message is not given up although its attempts are used up."""
        return self.attempts >= self._retry.attempts_max

    def delay_ms(self, end: End, *, alone: bool, chance: float) -> int | None:
        """Count a failure; return after how long the message is tried again. None: it is given up.

        `alone`: nothing else can be to blame, for this message was all that ran. `chance` lies in [0, 1).
        """
        self._failures += 1
        deed = end.outcome.deed if end.outcome is not None else None
        ended_process = alone and end.how in (How.CRASHED, How.STUCK)
        told = deed is Deed.RETRY or end.how is How.TIMED_OUT
        self.attempts += deed is Deed.BURY or ended_process or (told and self._declared is not None)
        if deed is Deed.BURY or (self.holds_on and not self._gave_up):
            self._gave_up = deed is not Deed.BURY and self._declared is None
            return None
        if end.outcome is not None and end.outcome.delay_ms is not None:
            return end.outcome.delay_ms
        return self._retry.delay_ms(self._failures, chance)


def dead_letter(
    handler: StreamHandler[Any], message: StreamMessage, epoch: str, reason: str, attempts: int
) -> list[Emit]:
    """Return what is stored with passing a message over: a job of the queue for dead ones, if there is one.

    It has the message's payload, key and headers, and headers that tell where it was and why it is dead. What
    a job has no room for stays behind, as do tags of gapless's own: `dead-left-behind` tells how many.
    """
    if not handler.terms.dead:
        return []
    told = {
        "dead-source": handler.name,
        "dead-group": handler.terms.group,
        "dead-partition": str(message.partition),
        "dead-offset": str(message.offset),
        "dead-epoch": epoch,
        "dead-attempts": str(attempts),
        "dead-reason": cut_reason(reason),
    }
    along = _going_along(message.headers, told)
    key = message.key if len(message.key.encode()) <= JOB_KEY_BYTES_MAX else ""
    left_behind = len(message.headers) - len(along) + (key != message.key)
    if left_behind:
        told[LEFT_BEHIND] = str(left_behind)
    job = NewJob(
        queue=handler.terms.dead,
        data=message.data,
        b64data=message.b64data,
        key=key or None,
        headers={**along, **told},
    )
    return [Emit(enqueue=job)]


def _going_along(headers: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """Return those headers of a message for which there is room beside what is `told`, as they are stored."""
    beside = Meta(tags={**told, LEFT_BEHIND: str(len(headers) + 1)}, binary=True)
    room_bytes = JOB_HEADERS_BYTES_MAX - len(beside.encoded())
    along = {}
    for name, value in headers.items():
        size_bytes = len(msgspec.json.encode({name: value}))
        if size_bytes <= room_bytes and not name.startswith(OWN_TAGS):
            room_bytes -= size_bytes
            along[name] = value
    return along
