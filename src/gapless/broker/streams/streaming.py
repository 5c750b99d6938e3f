"""One node's streams: its verbs, put together of what does them, and what runs by itself."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from gapless.broker.audit import record
from gapless.broker.broker import Broker
from gapless.broker.emitting import Emitting
from gapless.broker.governing import end
from gapless.broker.rules import StreamRule
from gapless.broker.streams.appending import Appending
from gapless.broker.streams.auditing import Auditing
from gapless.broker.streams.consuming import Consuming
from gapless.broker.streams.fetching import Fetching
from gapless.broker.streams.grouping import Grouping
from gapless.broker.streams.keeping import Keeping, record_now
from gapless.broker.streams.reading import Reading
from gapless.broker.streams.replaying import Replaying
from gapless.broker.streams.sources import Source, Sources, settings_of
from gapless.core.errors import BadRequest, ConfigError, GaplessError, UnknownStream
from gapless.core.limits import MESSAGE_BYTES_MAX
from gapless.core.stream import Heads
from gapless.ports import Clock, Store
from gapless.protocol.payloads import Nothing
from gapless.protocol.streams import (
    DeclareStreamAnswer,
    DeclareStreamRequest,
    DropStreamRequest,
    ListStreamsAnswer,
    ListStreamsRequest,
    PartitionStatus,
    StreamStatus,
)

__all__ = ["Streaming"]

log: Final = logging.getLogger("gapless.streams")


class Streaming:
    """One node's streams over one store. `who` is whoever calls, for the audit stream."""

    def __init__(  # noqa: PLR0913, RUF100
        self,
        store: Store,
        clock: Clock,
        broker: Broker,
        emitting: Emitting,
        rules: Sequence[StreamRule] = (),
        *,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> None:
        self._store = store
        self._broker = broker
        self._following: asyncio.Task[None] | None = None
        self._applying = asyncio.Lock()
        self.sources = sources = Sources(store, clock, broker, rules)
        self._keeping = Keeping(store, clock, broker, sources)
        appending = Appending(store, broker, sources, message_bytes_max=message_bytes_max)
        reading = Reading(store, sources, broker.arrivals)
        consuming = Consuming(store, sources, emitting, broker)
        grouping = Grouping(store, clock, sources, broker)
        self.append = appending.append
        self.read, self.find = reading.read, reading.find
        self.heartbeat, self.leave, self.commit = consuming.heartbeat, consuming.leave, consuming.commit
        self.fetch = Fetching(store, sources, broker.arrivals).fetch
        self.seek, self.lag = grouping.seek, grouping.lag
        self.groups, self.drop_group = grouping.groups, grouping.drop_group
        self.trim, self.compact = self._keeping.trim, self._keeping.compact
        self.audit = Auditing(store).audit
        self.replay = Replaying(store, clock, sources).replay
        emitting.appending = appending.emitted

    async def start(self) -> None:
        """Make the streams that rules and namespaces name; begin to compact those that are to be.

        Raises:
            ConfigError: one of them has another number of partitions, which never changes.
        """
        try:
            await self._go_by(self.sources.rules)
        except BadRequest as error:
            raise ConfigError(f"streams, or stream_partitions of a namespace: {error}") from error
        self._keeping.start()

    def follow(self, rules: Sequence[StreamRule]) -> None:
        """Go by other rules, and the broker's namespaces, from now on; what these name is made soon."""
        self._following = asyncio.get_running_loop().create_task(self._apply(rules))

    async def _apply(self, rules: Sequence[StreamRule]) -> None:
        try:
            await self._go_by(rules)
        except GaplessError as error:
            log.error("rules for streams could not be applied: %s", error)

    async def _go_by(self, rules: Sequence[StreamRule]) -> None:
        async with self._applying:  # in the order in which they were given
            for source in await self.sources.apply(rules, self._broker.namespaces.feeds()):
                await self._keeping.hold_to(source)

    def stop_waiting(self) -> None:
        """Answer all that wait that there is nothing: the node stops."""
        self._broker.arrivals.stop()

    async def stop(self) -> None:
        """End what runs by itself."""
        self.stop_waiting()
        if self._following is not None:
            await self._following
        await self._broker.arrivals.finish()
        await self._keeping.stop()

    # Streams ------------------------------------------------------------------------------

    async def declare(self, request: DeclareStreamRequest, who: str = "") -> DeclareStreamAnswer:
        """See `DeclareStreamRequest`."""
        name = request.stream
        if request.if_missing and await self.sources.is_there(name):
            return DeclareStreamAnswer(fresh=False)
        declared = await self.sources.declare(name, request.options)
        if declared.fresh or declared.changed:
            await self._keeping.hold_to(declared.source)
            told = record("declare", who, name, fresh=declared.fresh, **declared.changed)
            await record_now(self._broker, told)
        return DeclareStreamAnswer(fresh=declared.fresh)

    async def drop(self, request: DropStreamRequest, who: str = "") -> Nothing:
        """See `DropStreamRequest`."""
        source = (await self.sources.declared()).get(request.stream)
        if source is None:
            raise UnknownStream(f"there is no stream {request.stream!r}")
        await self._keeping.drop(source)
        await self.sources.drop(request.stream)
        await self._keeping.drop(source)  # what came meanwhile
        for stream in source.streams:
            followed = self._broker.hub.channels.get(stream)
            end(list(followed.subscriptions) if followed is not None else ())
        await record_now(self._broker, record("drop", who, request.stream))
        return Nothing()

    async def list(self, request: ListStreamsRequest, who: str = "") -> ListStreamsAnswer:
        """See `ListStreamsRequest`."""
        declared = await self.sources.declared()
        names = [name for name in sorted(declared) if name > request.after]
        shown, more = names[: request.limit], len(names) > request.limit
        heads = await self._store.heads([stream for name in shown for stream in declared[name].streams])
        return ListStreamsAnswer(
            streams=[_status(declared[name], heads) for name in shown], next=shown[-1] if more else ""
        )


def _status(source: Source, heads: Heads) -> StreamStatus:
    return StreamStatus(
        stream=source.name,
        options=settings_of(source.options),
        partitions=[
            PartitionStatus(partition=partition, epoch=heads.epoch, oldest=floor + 1, last=last)
            for partition, (floor, last) in enumerate(heads.heads[stream] for stream in source.streams)
        ],
    )
