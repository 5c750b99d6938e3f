"""What a handler sends together with its ack or commit: checked here, stored by the engine, then told."""

from collections.abc import Awaitable, Callable, Sequence

from gapless.broker.broker import Broker
from gapless.broker.jobs import job_of
from gapless.core.errors import BadRequest, NotAvailable
from gapless.core.jobs import Emit, Enqueued, Job
from gapless.core.stream import Entry, Stored
from gapless.protocol import queues as wire

__all__ = ["Emitting"]


class Emitting:
    """Turns what is emitted into what a store takes, and hands on what it stored.

    `appending` makes an entry of a message to a declared stream; whoever has streams sets it.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.appending: Callable[[wire.EmitAppend], Awaitable[Entry]] = _no_streams

    async def taken(self, emits: Sequence[wire.Emit]) -> list[Emit]:
        """Return emits as a store takes them.

        Raises:
            UnknownChannel, UnknownStream, BadRequest: one of them is not what it has to be.
        """
        return [await self._one(emit) for emit in emits]

    async def _one(self, emit: wire.Emit) -> Emit:
        if emit.publish is not None and emit.append is None and emit.enqueue is None:
            data, beside, binary = emit.publish.stored()
            key = emit.publish.idempotency_key
            return self._broker.entry(emit.publish.channel, data, meta=beside, binary=binary, key=key)
        if emit.append is not None and emit.publish is None and emit.enqueue is None:
            return await self.appending(emit.append)
        if emit.enqueue is not None and emit.publish is None and emit.append is None:
            return job_of(emit.enqueue)
        raise BadRequest("an emit has exactly one of publish, append and enqueue")

    def landed(self, emits: Sequence[Emit], emitted: Sequence[Stored | Enqueued]) -> tuple[wire.Emitted, ...]:
        """Give what was stored to those who follow it, and return what became of each."""
        entries = [emit for emit in emits if isinstance(emit, Entry)]
        stored = [each for each in emitted if isinstance(each, Stored)]
        if entries:
            self._broker.landed(entries, stored)
        return self.told(emits, emitted)

    def told(self, emits: Sequence[Emit], emitted: Sequence[Stored | Enqueued]) -> tuple[wire.Emitted, ...]:
        """Return what became of each, where those who follow it have been told before."""
        return tuple(map(_told, emits, emitted))


def _told(emit: Emit, emitted: Stored | Enqueued) -> wire.Emitted:
    if isinstance(emitted, Enqueued):
        return wire.Emitted(id=emitted.id, fresh=emitted.fresh)
    assert not isinstance(emit, Job), "a job is not appended"
    partition = emit.stream.rpartition("/")[2] if emit.stream.startswith("stream:") else ""
    return wire.Emitted(
        offset=emitted.offset,
        epoch=emitted.epoch,
        partition=int(partition) if partition.isdecimal() else 0,
        fresh=emitted.fresh,
    )


async def _no_streams(emit: wire.EmitAppend) -> Entry:
    raise NotAvailable(f"this node has no streams, so nothing is appended to {emit.stream!r}")
