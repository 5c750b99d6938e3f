"""How a handler ends: it returns, raises one of these, or anything else, which is a failure."""

import os
from collections.abc import Sequence
from traceback import format_exception
from typing import Final

from msgspec import Struct

from gapless.core import retry
from gapless.core.jobs import Deed
from gapless.core.limits import JOB_DETAILS_BYTES_MAX, JOB_REASON_BYTES_MAX
from gapless.library.times import Duration, duration_ms
from gapless.protocol.messages import payload
from gapless.protocol.queues import ClaimedJob, Emit, NewSettlement

__all__ = ["Backoff", "Outcome", "Reject", "Release", "Retry", "failure"]

LIBRARY: Final = os.path.join(os.path.dirname(__file__), "")


class Backoff:
    """When what failed is tried again: `attempts` in all, after delays that grow from `base` to `cap`.

    Each delay is `factor` times the one before; with `jitter` it is drawn between half of that and all of it.
    `delays`, if given, are the delays instead, of which the last holds for all further attempts.
    """

    def __init__(
        self,
        attempts: int = 5,
        *,
        base: Duration = "1s",
        cap: Duration = "10m",
        factor: float = 2.0,
        jitter: bool = True,
        delays: Sequence[Duration] = (),
    ) -> None:
        self.policy = retry.Retry(
            attempts_max=attempts,
            base_ms=duration_ms(base),
            factor=factor,
            cap_ms=duration_ms(cap),
            jitter=jitter,
            delays_ms=tuple(duration_ms(delay) for delay in delays),
        )


class Retry(Exception):
    """Raised by a handler: try again after `delay`, or when the policy says (None). It is an attempt."""

    def __init__(self, reason: str = "", *, delay: Duration | None = None) -> None:
        super().__init__(reason)
        self.delay_ms = None if delay is None else duration_ms(delay)


class Reject(Exception):
    """Raised by a handler: it will never do, put it with the dead letters. No attempt follows."""


class Release(Exception):
    """Raised by a handler: let somebody else have it, now or after `delay`. It is no attempt."""

    def __init__(self, reason: str = "", *, delay: Duration | None = None) -> None:
        super().__init__(reason)
        self.delay_ms = None if delay is None else duration_ms(delay)


class Outcome(Struct, kw_only=True):
    """What is to be done about a delivery that was handled; the fields mean what they do in a settlement.

    `result` is there when it is kept: JSON, unless `binary`.
    """

    deed: Deed
    delay_ms: int | None = None
    result: bytes | None = None
    binary: bool = False
    reason: str = ""
    details: str = ""
    emit: list[Emit] = []

    def settlement(self, job: ClaimedJob) -> NewSettlement:
        """Return this outcome as the settlement of a claimed job."""
        settlement = NewSettlement(
            id=job.id,
            fence=job.fence,
            deed=self.deed,
            delay_ms=self.delay_ms,
            reason=self.reason,
            details=self.details,
            emit=tuple(self.emit),
        )
        if self.result is not None and self.binary:
            settlement.b64result = self.result
        elif self.result is not None:
            settlement.result = payload(self.result)
        return settlement


def failure(error: BaseException) -> Outcome:
    """Return what an error that a handler raised means."""
    match error:
        case Retry():
            return Outcome(
                deed=Deed.RETRY, delay_ms=error.delay_ms, reason=_line(error), details=_trace(error)
            )
        case Release():
            return Outcome(deed=Deed.RELEASE, delay_ms=error.delay_ms, reason=_line(error))
        case Reject():
            return Outcome(deed=Deed.BURY, reason=_line(error), details=_trace(error))
    return Outcome(deed=Deed.RETRY, reason=_line(error), details=_trace(error))


def _line(error: BaseException) -> str:
    told = " ".join(str(error).split())
    named = f"{type(error).__name__}: {told}" if told else type(error).__name__
    said = told if isinstance(error, Reject | Retry | Release) and told else named
    return _first(said, JOB_REASON_BYTES_MAX)


def _trace(error: BaseException) -> str:
    """Return the traceback from the handler on, of a long one its end: what was raised, and where."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(LIBRARY):
        trace = trace.tb_next
    shown = format_exception(type(error), error, trace or error.__traceback__)
    encoded = "".join(shown).encode(errors="backslashreplace")
    return encoded[-JOB_DETAILS_BYTES_MAX:].decode(errors="ignore")


def _first(text: str, bytes_max: int) -> str:
    return text.encode(errors="backslashreplace")[:bytes_max].decode(errors="ignore")
