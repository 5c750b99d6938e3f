"""What a session of the console may call of the server API, and what of it is recorded."""

from typing import Final

from gapless.core.errors import PermissionDenied
from gapless.server.config.model import Role

__all__ = ["ACTS", "LOOKS", "NOBODY", "RECORDED_BY_THE_BROKER", "check", "is_recorded_here"]

LOOKS: Final = frozenset(
    (
        "presence", "presence_stats", "history", "channels", "info", "revocations",
        "connection/list", "connection/stories", "config", "channel_options", "explain",
        "token/check", "lab/faults",
        "queue/list", "queue/stats", "queue/browse", "queue/job", "queue/schedules",
        "stream/list", "stream/read", "stream/find", "stream/groups", "stream/lag", "stream/audit",
        "stream/replay",
    )
)  # fmt: skip
"""Methods that change nothing: whoever is logged in may call them."""

ACTS: Final = frozenset(
    (
        "publish", "broadcast", "subscribe", "unsubscribe", "disconnect", "refresh", "revoke", "block",
        "unblock", "history_remove", "rpc", "token/make", "hooks/take", "hooks/answer",
        "lab/delay_store", "lab/drop_bus", "lab/cut", "lab/start_worker", "lab/stop_worker",
        "queue/enqueue", "queue/result", "queue/claim", "queue/extend", "queue/settle", "queue/cancel",
        "queue/declare", "queue/drop", "queue/pause", "queue/purge", "queue/redrive", "queue/resume",
        "queue/schedule", "queue/unschedule",
        "stream/append", "stream/heartbeat", "stream/leave", "stream/fetch", "stream/commit",
        "stream/compact", "stream/declare", "stream/drop", "stream/drop_group", "stream/seek", "stream/trim",
    )
)  # fmt: skip
"""Methods that change something: they need an operator."""

NOBODY: Final = frozenset(("batch", "store"))
"""What no session may call: a batch, of which nobody could say what it did, and the care of the store."""

RECORDED_BY_THE_BROKER: Final = frozenset(
    (
        "queue/cancel", "queue/declare", "queue/drop", "queue/pause", "queue/purge", "queue/redrive",
        "queue/resume", "queue/schedule", "queue/unschedule",
        "stream/compact", "stream/declare", "stream/drop", "stream/drop_group", "stream/seek", "stream/trim",
    )
)  # fmt: skip
"""Acts that stand in the audit stream whoever calls."""


def check(role: Role, method: str) -> None:
    """Refuse what somebody of this role may not call (`PermissionDenied`).

    A method that is placed nowhere is an act: whoever only looks cannot call it.
    """
    if method in NOBODY:
        raise PermissionDenied(f"{method!r} is not for the console: it needs the key of the API")
    if role is not Role.OPERATOR and method not in LOOKS:
        raise PermissionDenied(f"{method!r} needs the role {Role.OPERATOR.value!r}, you may only look")


def is_recorded_here(method: str) -> bool:
    """Tell whether a call of a method by a session is to be recorded, since the broker does not."""
    return method not in LOOKS and method not in RECORDED_BY_THE_BROKER
