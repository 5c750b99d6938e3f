"""Who may do what to queues and streams, of those who hold a token: backends with the API key may do all.

A right is for some verbs. A token grants rights by name or pattern, and rules of the configuration grant them
to everybody who is connected.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from gapless.broker.rules import QueueRule, StreamRule, rule_for
from gapless.core.errors import PermissionDenied

__all__ = ["QUEUE_RIGHTS", "RIGHTS", "STREAM_RIGHTS", "Access", "Granted"]

Granted = Mapping[str, Sequence[str]]
"""What a token grants: rights by the name or pattern (`mail.*`) of queues, or of streams."""

QUEUE_RIGHTS: Final = {
    "enqueue": ("enqueue",),
    "result": ("result",),
    "claim": ("claim", "extend", "settle"),
    "browse": ("browse", "job", "list", "stats", "schedules"),
    "manage": (
        "cancel", "declare", "drop", "pause", "purge", "redrive", "resume", "schedule", "unschedule"
    ),
}  # fmt: skip
STREAM_RIGHTS: Final = {
    "append": ("append",),
    "read": ("read", "find", "list"),
    "consume": ("heartbeat", "leave", "fetch", "commit"),
    "manage": (
        "audit", "compact", "declare", "drop", "drop_group", "groups", "lag", "seek", "trim"
    ),
}  # fmt: skip
RIGHTS: Final[dict[str, str]] = {
    f"{family}/{verb}": right
    for family, rights in (("queue", QUEUE_RIGHTS), ("stream", STREAM_RIGHTS))
    for right, verbs in rights.items()
    for verb in verbs
}
"""The right that each verb asks for."""


class Access:
    """What rules and tokens come to. Nobody is given `manage` by a rule."""

    def __init__(self, queues: Sequence[QueueRule] = (), streams: Sequence[StreamRule] = ()) -> None:
        self.queues = queues
        self.streams = streams

    def check(self, verb: str, names: Iterable[str], granted: Granted, user: str) -> None:
        """Refuse a verb on queues or streams (`PermissionDenied`); an empty name is all of them."""
        family, right = verb.partition("/")[0], RIGHTS[verb]
        rules: Sequence[Any] = self.queues if family == "queue" else self.streams
        for name in names:
            if not _grants(granted, name, right) and not _rules(rules, name, right, user):
                whom = "client" if user else "anonymous"
                what = f"{family} {name!r}" if name else f"all of the {family}s"
                raise PermissionDenied(
                    f"no permission for {what}: the token's claim {family}s needs {right!r} for it"
                    + (f", or its rule allow_{right}_for_{whom}" if right != "manage" and name else "")
                )


def _grants(granted: Granted, name: str, right: str) -> bool:
    return any(
        right in rights and (fnmatchcase(name, pattern) if name else pattern == "*")
        for pattern, rights in granted.items()
    )


def _rules(rules: Sequence[Any], name: str, right: str, user: str) -> bool:
    rule = rule_for(rules, name) if name and right != "manage" else None
    if rule is None or not getattr(rule, f"allow_{right}_for_client"):
        return False
    return bool(user or getattr(rule, f"allow_{right}_for_anonymous"))
