"""The audit stream: what was done to queues, streams and groups, by whom. A message is a JSON object."""

from typing import Any, Final

import msgspec

from gapless.broker.namespaces import Namespace
from gapless.core.limits import AUDIT_MESSAGES_MAX
from gapless.core.stream import Entry, Retention

__all__ = ["NAMESPACE", "STREAM", "record"]

STREAM: Final = "gapless.audit"
RETENTION: Final = Retention(count=AUDIT_MESSAGES_MAX)
NAMESPACE: Final = Namespace(
    name=STREAM, history_size=AUDIT_MESSAGES_MAX, history_ttl_ms=2**53, history_meta_ttl_ms=0
)
"""By which whoever watches from the console follows it; how long it is kept, its records say."""
_encode: Final = msgspec.json.Encoder().encode


def record(what: str, who: str, name: str, **details: Any) -> Entry:
    """Return a record: `what` was done to the queue, stream or source `name`. Its time is the message's."""
    return Entry(STREAM, _encode({"what": what, "who": who, "name": name, "details": details}), RETENTION)
