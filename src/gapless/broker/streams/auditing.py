"""The audit stream as one reads it: what was done, by whom, the newest first."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from gapless.broker.audit import STREAM
from gapless.core.limits import OFFSET_MAX, PAGE_BYTES_MAX, PAGE_MESSAGES_MAX
from gapless.core.stream import Position
from gapless.ports import Streams
from gapless.protocol.streams import AuditAnswer, AuditRecord, AuditRequest

__all__ = ["Auditing"]

# Pages that one call looks through for records that fit.
_PAGES_MAX: Final = 10


class _Recorded(Struct):
    what: str
    who: str = ""
    name: str = ""
    details: dict[str, Any] = {}


_read: Final = msgspec.json.Decoder(_Recorded).decode


class Auditing:
    """Reads the audit stream."""

    def __init__(self, store: Streams) -> None:
        self._store = store

    async def audit(self, request: AuditRequest, who: str = "") -> AuditAnswer:
        """See `AuditRequest`."""
        answer = AuditAnswer(records=[])
        before = request.before or OFFSET_MAX
        for _ in range(_PAGES_MAX):
            page = await self._store.read(
                STREAM,
                before=Position(self._store.epoch, before),
                limit_messages=PAGE_MESSAGES_MAX,
                limit_bytes=PAGE_BYTES_MAX,
            )
            for message in reversed(page.messages):
                if len(answer.records) == request.limit:
                    answer.next = answer.records[-1].offset
                    return answer
                said = _read(message.data)
                if request.what in ("", said.what) and request.name in ("", said.name):
                    answer.records.append(_record(message.offset, message.time_ms, said))
            before = page.after + 1
            if page.after <= page.floor:
                return answer
        answer.next = before
        return answer


def _record(offset: int, time_ms: int, said: _Recorded) -> AuditRecord:
    return AuditRecord(
        offset=offset, at_ms=time_ms, what=said.what, who=said.who, name=said.name, details=said.details
    )
