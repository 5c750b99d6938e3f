"""What can be read as a stream: those that were declared, namespaces with a feed, and single channels."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from gapless.broker.broker import Broker
from gapless.broker.feeds import STREAMS, Feed, partitions
from gapless.broker.permissions import hide_system
from gapless.broker.rules import StreamRule, rule_for
from gapless.core.assignment import partition_of
from gapless.core.errors import BadRequest, NotAvailable, UnknownStream
from gapless.core.groups import StreamOptions
from gapless.core.limits import WAITING_CHECK_MS
from gapless.core.stream import Retention
from gapless.ports import Clock, Store
from gapless.protocol.streams import StreamSettings

__all__ = ["Source", "Sources", "options_of", "settings_of"]

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


class Sources:
    """The sources of a node. What is known of declared streams is up to a second old."""

    def __init__(self, store: Store, clock: Clock, broker: Broker, rules: Sequence[StreamRule] = ()) -> None:
        self._store = store
        self._clock = clock
        self._broker = broker
        self.rules = rules
        self._known: dict[str, Source] = {}
        self._until_ms = 0
        self._absent: dict[str, int] = {}  # channels, until when that is believed
        broker.is_partition, broker.find_partition = self.has_channel, self.find_channel

    async def declared(self) -> dict[str, Source]:
        """Return all declared streams as they are now."""
        declared = await self._store.declared_streams()
        self._known = {
            name: Source(name, partitions(name, options.partitions), options)
            for name, options in declared.items()
        }
        self._until_ms = self._clock.now_ms() + WAITING_CHECK_MS
        return self._known

    async def get(self, name: str) -> Source:
        """Return a declared stream, made if a rule says so.

        Raises:
            UnknownStream: there is none, and no rule for it.
        """
        source = self.look(name) or await self._find(name)
        if source is None:
            raise _unknown(name)
        return source

    def look(self, name: str) -> Source | None:
        """Return a declared stream if this node knows of it."""
        return self._known.get(name) if self._clock.now_ms() < self._until_ms else None

    async def _find(self, name: str) -> Source | None:
        source = (await self.declared()).get(name)
        rule = rule_for(self.rules, name) if source is None else None
        if rule is not None:
            await self.declare(name, options_of(rule.settings()))
            return (await self.declared()).get(name)
        return source

    async def find(self, source: str) -> Source:
        """Return whatever can be read under a name.

        Raises:
            UnknownStream, UnknownChannel: there is no such stream or namespace.
            NotAvailable: the channel keeps no history, the namespace is not kept as a stream.
            BadRequest: the name is malformed.
        """
        found = self.look(source) or await self._find(source)
        if found is None:
            found, named = self._channel(source)
            if not named and not await self._is_there(source):
                raise UnknownStream(
                    f"there is no stream {source!r}, and nothing was published to a channel of that name:"
                    " declare the stream, add a rule for it under streams, or publish to the channel first"
                )
        return found

    async def _is_there(self, channel: str) -> bool:
        """Tell whether the store knows a channel, or a group reads it already."""
        heads = (await self._store.heads([channel, _NO_STREAM])).heads
        return heads[channel].last > heads[_NO_STREAM].last or bool(await self._store.groups(channel))

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

    async def declare(self, name: str, options: StreamOptions) -> bool:
        """Make a stream or change it; tell whether it is new."""
        fresh = await self._store.declare_stream(name, options)
        await self.declared()
        return fresh

    async def drop(self, name: str) -> None:
        """Forget a stream, and every group that reads it."""
        await self._store.drop_stream(name)
        await self.declared()

    async def apply(self, rules: Iterable[StreamRule], feeds: Iterable[Feed]) -> list[Source]:
        """Go by these rules and feeds from now on; streams that are there follow them. Return what changed.

        Raises:
            BadRequest: one of them has another number of partitions by now, which never changes.
        """
        self.rules = tuple(rules)
        known = await self.declared()
        asked = {
            feed.source: StreamOptions(partitions=len(feed.streams), retention=feed.retention)
            for feed in feeds
        }
        for name in {*known, *(rule.name for rule in self.rules if rule.name)}:
            rule = rule_for(self.rules, name)
            if rule is not None:
                asked[name] = options_of(rule.settings())
        changed = [name for name in asked if name not in known or known[name].options != asked[name]]
        for name in changed:
            await self._store.declare_stream(name, asked[name])
        return [source for name, source in (await self.declared()).items() if name in changed]


def _unknown(name: str) -> UnknownStream:
    return UnknownStream(f"there is no stream {name!r}: declare it, or add a rule for it under streams")


def options_of(settings: StreamSettings) -> StreamOptions:
    """Return the options that settings stand for.

    Raises:
        BadRequest: compaction needs the index by keys.
    """
    if settings.compact and not settings.keyed:
        raise BadRequest("compact needs keyed")
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


def settings_of(options: StreamOptions) -> StreamSettings:
    """Return the settings that options were made of."""
    keep = options.retention
    return StreamSettings(
        partitions=options.partitions,
        retention_messages=keep.count,
        retention_ms=keep.age_ms,
        retention_bytes=keep.bytes,
        keyed=options.keyed,
        compact=options.compact,
        audit=options.audit,
    )
