"""Appending to declared streams: to which partition, and all or nothing where that is asked for."""

from collections.abc import Sequence

from gapless.broker.audit import record
from gapless.broker.broker import Broker
from gapless.broker.streams.sources import Source, Sources
from gapless.core.assignment import partition_of
from gapless.core.errors import BadRequest, GaplessError
from gapless.core.limits import IDEMPOTENCY_KEY_BYTES_MAX
from gapless.core.stream import Entry, Outcome, Position, Stored
from gapless.ports import Store
from gapless.protocol.payloads import Body, failure_of
from gapless.protocol.queues import EmitAppend
from gapless.protocol.streams import AppendAnswer, AppendedItem, AppendedMessage, AppendRequest, NewMessage

__all__ = ["Appending"]


class Appending:
    """Appends through the broker, so that whoever follows a partition is told."""

    def __init__(self, store: Store, broker: Broker, sources: Sources, *, message_bytes_max: int) -> None:
        self._store = store
        self._broker = broker
        self._sources = sources
        self._bytes_max = message_bytes_max
        self._turn = 0

    async def append(self, request: AppendRequest, who: str = "") -> AppendAnswer:
        """See `AppendRequest`."""
        source = await self._sources.get(request.stream)
        self._turn += 1
        items: list[AppendedItem | None] = [None] * len(request.messages)
        entries: list[Entry] = []
        for index, message in enumerate(request.messages):
            try:
                entries.append(self._new(source, message, index))
            except BadRequest as error:
                if request.atomic:
                    raise
                items[index] = AppendedItem(error=failure_of(error))
        if source.options.audit:
            _record(source, entries, who)
        outcomes = await self._store_all(entries, atomic=request.atomic) if entries else []
        for entry, outcome in zip(entries, outcomes, strict=True):
            items[entry.context[1]] = _item(entry, outcome)
        return AppendAnswer(messages=[item for item in items if item is not None])

    def _new(self, source: Source, message: NewMessage, index: int) -> Entry:
        entry, partition = self._entry(source, message, message.key, message.partition, message.message_id)
        entry.context = partition, index
        if message.expected is not None:
            entry.expected = Position(message.expected.epoch, message.expected.offset)
        if message.expected_key_offset is not None:
            if entry.keyed is None:
                raise BadRequest("expected_key_offset needs a key, and a stream that is keyed")
            entry.expected_keyed = message.expected_key_offset
        return entry

    def _entry(
        self, source: Source, body: Body, key: str | None, partition: int | None, message_id: str | None
    ) -> tuple[Entry, int]:
        """Return a message as the store takes it, and its partition."""
        data, beside, _ = body.stored(key=key)
        if len(data) > self._bytes_max:
            raise BadRequest(f"a payload has up to {self._bytes_max} bytes")
        if message_id is not None and not 0 < len(message_id.encode()) <= IDEMPOTENCY_KEY_BYTES_MAX:
            raise BadRequest(f"a message id has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes")
        count = len(source.streams)
        if count == 1 and not partition:
            partition = 0
        elif partition is not None or key is not None:
            partition = source.partition(partition, key)
        else:  # a repeat with the same id has to meet the first
            partition = self._turn % count if message_id is None else partition_of(message_id, count)
        entry = Entry(source.streams[partition], data, source.options.retention, meta=beside, key=message_id)
        if source.options.keyed and key:
            entry.keyed = key
        return entry, partition

    async def emitted(self, emit: EmitAppend) -> Entry:
        """Return what a handler appends, as the store takes it."""
        source = await self._sources.get(emit.stream)
        self._turn += 1
        return self._entry(source, emit, emit.key, emit.partition, emit.message_id)[0]

    async def _store_all(self, entries: Sequence[Entry], *, atomic: bool) -> Sequence[Outcome]:
        """Store entries; with `atomic` all or none.

        What can be refused for its own sake is checked with the others in one transaction. Else they are
        together in a commit anyway, which is cheaper; a first one that is refused stops those behind it.
        """
        if atomic and len(entries) > 1:
            if self._store.shared or _may_fail_apart(entries):
                stored = await self._store.store_all(entries)
                outcomes = [each for each in stored if isinstance(each, Stored)]
                self._broker.landed(entries, outcomes)
                return outcomes
            origin = object()
            for entry in entries:
                entry.origin = origin
        told = await self._broker.appended(entries)
        if atomic and isinstance(told[0], GaplessError):
            raise told[0]
        return told


def _may_fail_apart(entries: Sequence[Entry]) -> bool:
    """Tell whether some entries may be refused and others not."""
    conditional = [entry.key or entry.expected or entry.expected_keyed is not None for entry in entries]
    return any(conditional[1:]) or (
        bool(conditional[0]) and any(entry.stream != entries[0].stream for entry in entries)
    )


def _record(source: Source, entries: Sequence[Entry], who: str) -> None:
    """Have what is appended to each partition recorded, in the same transaction."""
    by_stream: dict[str, list[Entry]] = {}
    for entry in entries:
        by_stream.setdefault(entry.stream, []).append(entry)
    for together in by_stream.values():
        first = together[0]
        first.also = record("append", who, source.name, partition=first.context[0], messages=len(together))


def _item(entry: Entry, outcome: Outcome) -> AppendedItem:
    if isinstance(outcome, GaplessError):
        return AppendedItem(error=failure_of(outcome))
    return AppendedItem(
        result=AppendedMessage(
            partition=entry.context[0],
            offset=outcome.offset,
            epoch=outcome.epoch,
            time_ms=outcome.time_ms,
            fresh=outcome.fresh,
        )
    )
