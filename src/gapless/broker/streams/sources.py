"""What can be read as a stream: those that were declared, namespaces with a feed, and single channels."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct

from gapless.broker.broker import Broker
from gapless.broker.feeds import STREAMS, Feed, partitions
from gapless.broker.permissions import hide_system
from gapless.broker.rules import StreamRule, changed, laid_over, rule_for
from gapless.core.assignment import partition_of
from gapless.core.errors import BadRequest, GaplessError, NotAvailable, UnknownStream
from gapless.core.groups import StreamOptions
from gapless.core.limits import WAITING_CHECK_MS
from gapless.core.stream import Retention
from gapless.ports import Clock, Store
from gapless.protocol.settings import FullStreamSettings, StreamSettings

__all__ = ["Declared", "Source", "Sources", "settings_of"]

# So many channels that are no partitions are known at most, each for as long as streams are.
ABSENT_MAX: Final = 1_000

_NO_STREAM: Final = ""  # stands where every stream does that is not there; those that are, stand above


class Source(Struct, frozen=True):
    """Something to read: `streams` are the store's, one for each partition. A channel is not `declared`."""

    name: str
    streams: tuple[str, ...]
    options: StreamOptions
    declared: bool = True

    def partition(self, partition: int | None, key: str | None = None) -> int:
        """Return which partition is meant: the one that is named, or the key's, or the only one.

        Raises:
            BadRequest: there is no such partition, or none is named where there are several.
        """
        count = len(self.streams)
        if partition is None:
            if count > 1 and key is None:
                raise BadRequest(f"{self.name!r} has {count} partitions: name one of 0 to {count - 1}")
            return partition_of(key, count) if key is not None else 0
        if not 0 <= partition < count:
            raise BadRequest(f"{self.name!r} has {count} partitions, 0 to {count - 1}")
        return partition

    def chosen(self, partition: int | None) -> Sequence[int]:
        """Return the partition that is named, or all."""
        return range(len(self.streams)) if partition is None else (self.partition(partition),)


class Declared(Struct, frozen=True):
    """A declared stream, whether it is new, and what is otherwise than it was."""

    source: Source
    fresh: bool
    changed: dict[str, Any]


class Sources:
    """The sources of a node. It knows streams as they were declared a second ago, in this generation."""

    def __init__(self, store: Store, clock: Clock, broker: Broker, rules: Sequence[StreamRule] = ()) -> None:
        self._store = store
        self._clock = clock
        self._broker = broker
        self.rules = rules
        self._known: dict[str, Source] = {}
        self._until_ms = 0
        self._epoch = ""  # the generation that `_known` is of
        self._absent: dict[str, int] = {}  # channels, until when that is believed
        self._declaring = asyncio.Lock()
        broker.is_partition, broker.find_partition = self.has_channel, self.find_channel

    async def declared(self) -> dict[str, Source]:
        """Return all declared streams as they are now."""
        self._epoch = self._store.epoch
        declared = await self._store.declared_streams()
        self._known = {
            name: Source(name, partitions(name, options.partitions), options)
            for name, options in declared.items()
        }
        self._until_ms = self._clock.now_ms() + WAITING_CHECK_MS
        boundary = self._broker.namespaces.grammar.namespace_boundary
        self._broker.streams = frozenset(name for name in declared if not name.endswith(boundary))
        return self._known

    async def get(self, name: str) -> Source:
        """Return a declared stream, made if a rule says so.

        Raises:
            UnknownStream: there is none, and no rule for it.
        """
        source = self.look(name) or await self._find(name)
        if source is None:
            raise _unknown(name, channel=await self.is_there(name))
        return source

    def look(self, name: str) -> Source | None:
        """Return a declared stream if this node knows of it."""
        is_new = self._clock.now_ms() < self._until_ms and self._epoch == self._store.epoch
        return self._known.get(name) if is_new else None

    async def _find(self, name: str) -> Source | None:
        source = (await self.declared()).get(name)
        if source is None and rule_for(self.rules, name) is not None and not await self._is_channel(name):
            return (await self.declare(name, StreamSettings())).source
        return source

    async def is_there(self, name: str) -> bool:
        """Tell whether a name stands for something to read: a stream, or a channel with history."""
        try:
            await self.find(name)
        except GaplessError:
            return False
        return True

    async def find(self, source: str, *, channel: bool = False) -> Source:
        """Return whatever can be read under a name; a `channel`, if one is meant, need not have messages yet.

        Raises:
            UnknownStream, UnknownChannel: there is no such stream or namespace.
            NotAvailable: the channel keeps no history, the namespace is not kept as a stream.
            BadRequest: the name is malformed, or a stream's where a channel is meant.
        """
        found = self.look(source) or await self._find(source)
        if found is not None and channel:
            raise BadRequest(f"{source!r} is a stream, and not a channel")
        if found is None:
            found, named = self._channel(source)
            if not (named or channel or await self._was_published(source)):
                raise UnknownStream(
                    f"there is no stream {source!r}, and nothing was published to a channel of that name:"
                    " declare the stream, add a rule for it under streams, or publish to the channel first"
                )
        return found

    async def _was_published(self, channel: str) -> bool:
        """Tell whether the store knows a channel, or a group reads it already."""
        return await self._holds([channel]) or bool(await self._store.groups(channel))

    async def _holds(self, streams: Sequence[str]) -> bool:
        """Tell whether there ever was a message in one of the store's streams that it remembers."""
        heads = (await self._store.heads([*streams, _NO_STREAM])).heads
        return any(heads[stream].last > heads[_NO_STREAM].last for stream in streams)

    async def _is_channel(self, name: str) -> bool:
        """Tell whether a channel has messages, or a group reads it: no stream may hide it.

        A group that nobody is in, of a channel that never had any, is what members of a stream leave that the
        store has lost.
        """
        heads = (await self._store.heads([name, _NO_STREAM])).heads
        floor, last = heads[name]
        was_there = last > heads[_NO_STREAM].last
        groups = await self._store.groups(name)
        return last > floor or any(was_there or group.members for group in groups)

    def _channel(self, name: str) -> tuple[Source, bool]:
        """Return a channel as a source, and whether a namespace of its own stands for it."""
        hide_system(name)
        namespaces = self._broker.namespaces
        boundary = namespaces.grammar.namespace_boundary
        namespace = namespaces.of(name).namespace
        if name.endswith(boundary):
            raise NotAvailable(f"{name!r} is not kept as a stream: see stream_partitions of the namespace")
        if namespace.name == STREAMS:
            raise BadRequest(f"{name!r} is one partition: name the stream, and the partition beside it")
        if not namespace.history:
            if boundary in name:
                raise NotAvailable(f"channel {name!r} keeps no history")
            raise _unknown(name)
        return Source(name, (name,), StreamOptions(), declared=False), bool(namespace.name)

    def has_channel(self, channel: str) -> bool:
        """Tell whether a channel of the namespace of streams is a partition of a declared one."""
        name, _, partition = channel.removeprefix(f"{STREAMS}:").rpartition("/")
        source = self._known.get(name)
        return source is not None and int(partition) < len(source.streams)

    async def find_channel(self, channel: str) -> bool:
        """As `has_channel`; what is not known is looked for, once in a second."""
        now_ms = self._clock.now_ms()
        if self.has_channel(channel):
            return True
        if self._absent.get(channel, 0) > now_ms:
            return False
        await self.declared()
        found = self.has_channel(channel)
        if not found:
            self._absent.pop(channel, None)
            self._absent[channel] = now_ms + WAITING_CHECK_MS
            if len(self._absent) > ABSENT_MAX:
                del self._absent[next(iter(self._absent))]
        return found

    # Changes ------------------------------------------------------------------------------

    async def declare(self, name: str, settings: StreamSettings) -> Declared:
        """Make a stream or change it, as far as settings say; a rule holds, whatever they say.

        Raises:
            BadRequest: what is said does not go together, or cannot be changed any more; or there is a
                channel that the stream would hide.
            LimitExceeded: there are as many streams as there may be.
        """
        async with self._declaring:
            known = (await self.declared()).get(name)
            before = settings_of(StreamOptions() if known is None else known.options)
            after = laid_over(before, name, settings, rule_for(self.rules, name))
            fresh = False
            if known is None or after != before:
                await self._check(name, known, after)
                if known is None:
                    await self._drop_leftovers(name)
                fresh = await self._store.declare_stream(name, _options_of(after))
                known = (await self.declared())[name]
            return Declared(known, fresh, changed(before, after))

    async def _check(self, name: str, known: Source | None, after: FullStreamSettings) -> None:
        if after.compact and not after.keyed:
            raise BadRequest(f"{name!r}: compact needs keyed")
        if known is None and await self._is_channel(name):
            raise BadRequest(
                f"{name!r} is a channel that has messages, or that a group reads, and a stream would hide it:"
                " give the stream another name, or remove the channel's history and groups first"
            )
        if known is not None and known.options.keyed != after.keyed and await self._holds(known.streams):
            is_keyed = "keyed" if known.options.keyed else "not keyed"
            raise BadRequest(
                f"{name!r} has had messages, and is {is_keyed} for good: make another stream that is as you"
                " want it, and export and import what is kept"
            )

    async def _drop_leftovers(self, name: str) -> None:
        """Forget groups of a stream that the store has lost: they may have had other partitions."""
        for group in await self._store.groups(name):
            if not group.members:
                await self._store.drop_group(name, group.name)

    async def drop(self, name: str) -> None:
        """Forget a stream, and every group that reads it."""
        await self._store.drop_stream(name)
        await self.declared()

    async def apply(self, rules: Iterable[StreamRule], feeds: Sequence[Feed]) -> list[Source]:
        """Go by these rules and feeds from now on; streams that are there follow them. Return what changed.

        Raises:
            BadRequest: one of them has another number of partitions by now, which never changes.
        """
        self.rules = tuple(rules)
        spread = [feed.source for feed in feeds if await self._follow(feed)]
        names = {*await self.declared(), *(rule.name for rule in self.rules if rule.name)}
        ruled = [
            await self.declare(name, StreamSettings()) for name in names - {feed.source for feed in feeds}
        ]
        declared = await self.declared()
        moved = [each.source.name for each in ruled if each.fresh or each.changed]
        return [declared[name] for name in (*spread, *moved)]

    async def _follow(self, feed: Feed) -> bool:
        """Keep a feed as its namespace says; tell whether that changes it."""
        options = StreamOptions(partitions=len(feed.streams), retention=feed.retention)
        known = (await self.declared()).get(feed.source)
        if known is not None and known.options == options:
            return False
        await self._store.declare_stream(feed.source, options)
        return True


def _unknown(name: str, *, channel: bool = False) -> UnknownStream:
    if channel:
        return UnknownStream(f"{name!r} is a channel and no stream: publish to it, or declare a stream")
    return UnknownStream(f"there is no stream {name!r}: declare it, or add a rule for it under streams")


def _options_of(settings: FullStreamSettings) -> StreamOptions:
    return StreamOptions(
        partitions=settings.partitions,
        retention=Retention(
            count=settings.retention_messages,
            age_ms=settings.retention_ms,
            bytes=settings.retention_bytes,
        ),
        keyed=settings.keyed,
        compact=settings.compact,
        audit=settings.audit,
    )


def settings_of(options: StreamOptions) -> FullStreamSettings:
    """Return the settings that options were made of."""
    keep = options.retention
    return FullStreamSettings(
        partitions=options.partitions,
        retention_messages=keep.count,
        retention_ms=keep.age_ms,
        retention_bytes=keep.bytes,
        keyed=options.keyed,
        compact=options.compact,
        audit=options.audit,
    )
