"""gapless: messages that must not get lost. Channels, queues and streams, on one durable log."""

TYPE_CHECKING = False  # as type checkers know it; `typing` alone takes longer to import than all of this
if TYPE_CHECKING:
    from gapless import errors, hooks
    from gapless.core.jobs import Deed, Enqueued, State
    from gapless.core.stream import Position
    from gapless.library.channels import Page, Publication
    from gapless.library.delivery import Job, Message
    from gapless.library.depends import Depends
    from gapless.library.gapless import Gapless
    from gapless.library.hooks import Refuse
    from gapless.library.outcomes import Backoff, Reject, Release, Retry
    from gapless.library.router import Router
    from gapless.library.running import Middleware
    from gapless.library.tending import Result
    from gapless.protocol.groups import (
        CommitRequest,
        FetchPartition,
        FetchRequest,
        HeartbeatRequest,
        NewCommit,
    )
    from gapless.protocol.queues import ClaimedJob, NewSettlement
    from gapless.protocol.schedules import ScheduleRequest
    from gapless.protocol.settings import QueueSettings, StreamSettings
    from gapless.protocol.streams import AppendedMessage

__version__ = "0.1.0"
__all__ = [
    "AppendedMessage",
    "Backoff",
    "ClaimedJob",
    "CommitRequest",
    "Deed",
    "Depends",
    "Enqueued",
    "FetchPartition",
    "FetchRequest",
    "Gapless",
    "HeartbeatRequest",
    "Job",
    "Message",
    "Middleware",
    "NewCommit",
    "NewSettlement",
    "Page",
    "Position",
    "Publication",
    "QueueSettings",
    "Refuse",
    "Reject",
    "Release",
    "Result",
    "Retry",
    "Router",
    "ScheduleRequest",
    "State",
    "StreamSettings",
    "__version__",
    "errors",
    "hooks",
]

# Imported when first asked for: `import gapless` alone costs next to nothing.
_FOUND_IN = {
    "AppendedMessage": "protocol.streams",
    "Backoff": "library.outcomes",
    "ClaimedJob": "protocol.queues",
    "CommitRequest": "protocol.groups",
    "Deed": "core.jobs",
    "Depends": "library.depends",
    "Enqueued": "core.jobs",
    "FetchPartition": "protocol.groups",
    "FetchRequest": "protocol.groups",
    "Gapless": "library.gapless",
    "HeartbeatRequest": "protocol.groups",
    "Job": "library.delivery",
    "Message": "library.delivery",
    "Middleware": "library.running",
    "NewCommit": "protocol.groups",
    "NewSettlement": "protocol.queues",
    "Page": "library.channels",
    "Position": "core.stream",
    "Publication": "library.channels",
    "QueueSettings": "protocol.settings",
    "Refuse": "library.hooks",
    "Reject": "library.outcomes",
    "Release": "library.outcomes",
    "Result": "library.tending",
    "Retry": "library.outcomes",
    "Router": "library.router",
    "ScheduleRequest": "protocol.schedules",
    "State": "core.jobs",
    "StreamSettings": "protocol.settings",
}
_MODULES = ("errors", "hooks")


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_FOUND_IN[name]}"), name)
    globals()[name] = found
    return found
