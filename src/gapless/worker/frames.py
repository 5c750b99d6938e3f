"""What a worker and the processes of its handlers tell one another.

JSON, as on the wire, so that jobs, messages and what is emitted pass as they are.
"""

from typing import Final

import msgspec
from msgspec import Struct

from gapless.library.outcomes import Outcome
from gapless.protocol.messages import Payload, payload
from gapless.protocol.payloads import Failure
from gapless.protocol.queues import ClaimedJob, Emit
from gapless.protocol.reading import StreamMessage

__all__ = [
    "DOWN",
    "NULL",
    "UP",
    "Answered",
    "Ask",
    "Beat",
    "Begin",
    "Cancel",
    "Down",
    "Ended",
    "Extend",
    "Finish",
    "HandleJob",
    "HandlePage",
    "Moved",
    "Ready",
    "Said",
    "Settle",
    "Up",
]


NULL: Final = payload(b"null")


class Begin(Struct, tag="begin", array_like=True):
    """First of all: whose handlers to run, and how many at once.

    What handlers ask of the Gapless goes through the pipe if it is `piped`: its store is the worker's.
    Otherwise a server is asked, for which hooks are served under `name`.
    """

    target: str
    concurrency: int
    piped: bool
    name: str = ""


class HandleJob(Struct, tag="job", array_like=True):
    """Handle a job; what its handler returns is sent if the queue keeps it."""

    number: int
    job: ClaimedJob
    keeps_result: bool = False


class HandlePage(Struct, tag="page", array_like=True):
    """Handle messages of a partition in their order, up to the first that fails."""

    number: int
    stream: str
    group: str
    epoch: str
    fence: str
    fence_number: int
    messages: list[StreamMessage]


class Cancel(Struct, tag="cancel", array_like=True):
    """Give up handling something; `soft`: of a page no more than the message at hand."""

    number: int
    soft: bool = False


class Answered(Struct, tag="answer", array_like=True):
    """The answer to what a handler asked, or why there is none."""

    number: int
    answer: Payload = NULL
    error: Failure | None = None


class Finish(Struct, tag="finish", array_like=True):
    """Let the lifespan end, then the process."""


class Ready(Struct, tag="ready", array_like=True):
    """The lifespan has begun; or this is why nothing can be handled."""

    failure: str = ""


class Ended(Struct, tag="ended", array_like=True):
    """Handling is over; without an `outcome` nothing is to be done about it, or it was given up."""

    number: int
    outcome: Outcome | None = None
    given_up: bool = False


class Moved(Struct, tag="moved", array_like=True):
    """Messages of a page were handled through an offset, and have emitted this."""

    number: int
    offset: int
    emit: list[Emit]


class Extend(Struct, tag="extend", array_like=True):
    """A handler wants its lease to last."""

    number: int
    id: str
    fence: str
    lease_ms: int


class Settle(Struct, tag="settle", array_like=True):
    """A handler settles its job itself, or is to be acknowledged first."""

    number: int
    id: str
    fence: str
    outcome: Outcome


class Ask(Struct, tag="ask", array_like=True):
    """A handler asks something of the Gapless: a verb (`queue/enqueue`), `publish` or `page`."""

    number: int
    verb: str
    request: Payload
    repeatable: bool = False


class Beat(Struct, tag="beat", array_like=True):
    """The loop of the process turns."""


class Said(Struct, tag="said", array_like=True):
    """Something of gapless's own was logged there."""

    logger: str
    level: int
    text: str


Down = Begin | HandleJob | HandlePage | Cancel | Answered | Finish
Up = Ready | Ended | Moved | Extend | Settle | Ask | Beat | Said
DOWN: Final = msgspec.json.Decoder(list[Down])
UP: Final = msgspec.json.Decoder(list[Up])
