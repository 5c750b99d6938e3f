"""Namespaces: what each channel offers, and to whom. Names and meaning are Centrifugo's where it has one."""

import re
from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from gapless.broker.feeds import STREAMS, Feed, partitions
from gapless.core.errors import BadRequest, ConfigError, UnknownChannel
from gapless.core.limits import CHANNEL_NAME_BYTES_MAX, CHANNELS_REMEMBERED_MAX, PARTITIONS_MAX
from gapless.core.stream import Retention

__all__ = [
    "STREAMS_NAMESPACE",
    "SYSTEM",
    "DataFormat",
    "Grammar",
    "Namespace",
    "Namespaces",
    "RecoveryMode",
    "Rules",
    "SlowConsumer",
]

SYSTEM: Final = "gapless."  # how the system's own channels begin, and the namespaces they are in
NAME: Final = re.compile(r"[-a-zA-Z0-9_.]{2,}")
WITHOUT: Final = "*"  # the group of the channels without a namespace: no namespace can have that name


class RecoveryMode(StrEnum):
    """What a returning reader gets: all it missed, or only the newest."""

    STREAM = "stream"
    CACHE = "cache"


class SlowConsumer(StrEnum):
    """What happens to a subscriber whose socket is full."""

    CATCH_UP = "catch_up"  # it reads on from the log when its socket drains
    DROP = "drop"  # it misses what came meanwhile, and is told how many
    DISCONNECT = "disconnect"  # code 3008


class DataFormat(StrEnum):
    """What a publication's payload must be."""

    ANY = ""
    JSON = "json"
    JSON_OBJECT = "json_object"
    BINARY = "binary"


class Namespace(Struct, frozen=True, kw_only=True):
    """The options of a group of channels; every permission is off by default."""

    name: str = ""
    allow_subscribe_for_client: bool = False
    allow_subscribe_for_anonymous: bool = False
    allow_publish_for_client: bool = False
    allow_publish_for_subscriber: bool = False
    allow_publish_for_anonymous: bool = False
    allow_history_for_client: bool = False
    allow_history_for_subscriber: bool = False
    allow_history_for_anonymous: bool = False
    allow_presence_for_client: bool = False
    allow_presence_for_subscriber: bool = False
    allow_presence_for_anonymous: bool = False
    allow_user_limited_channels: bool = False
    subscribers_max: int = 0
    history_size: int = 0
    history_ttl_ms: int = 0
    history_meta_ttl_ms: int = 720 * 3600 * 1000
    history_age_ms: int = 0
    history_bytes: int = 0
    history_bytes_total: int = 0
    force_recovery: bool = False
    allow_recovery: bool = False
    force_recovery_mode: RecoveryMode = RecoveryMode.STREAM
    force_positioning: bool = False
    allow_positioning: bool = False
    presence: bool = False
    join_leave: bool = False
    force_push_join_leave: bool = False
    channel_regex: str = ""
    publication_data_format: DataFormat = DataFormat.ANY
    slow_consumer: SlowConsumer | None = None
    stream_partitions: int = 0
    stream_retention_messages: int = 0
    stream_retention_ms: int = 0
    stream_retention_bytes: int = 0

    def __post_init__(self) -> None:
        where = f"namespace {self.name!r}" if self.name else "channel.without_namespace"
        if self.name and not NAME.fullmatch(self.name):
            raise ConfigError(f"{where}: a name is two or more of letters, digits, '-', '_', '.'")
        if (self.history_size > 0) != (self.history_ttl_ms > 0):
            raise ConfigError(f"{where}: history needs both history_size and history_ttl")
        if self.history_bytes_total and not self.history:
            raise ConfigError(f"{where}: history_bytes_total needs history_size and history_ttl")
        if self.history_ttl_ms > self.history_meta_ttl_ms > 0:
            raise ConfigError(f"{where}: history_ttl must not exceed history_meta_ttl")
        if (self.force_recovery or self.allow_recovery) and not self.history:
            raise ConfigError(f"{where}: recovery needs history_size and history_ttl")
        if self.slow_consumer is SlowConsumer.CATCH_UP and not self.history:
            raise ConfigError(f"{where}: slow_consumer 'catch_up' needs history_size and history_ttl")
        if self.stream_partitions:
            self._check_feed(where)

    def _check_feed(self, where: str) -> None:
        if not 0 < self.stream_partitions <= PARTITIONS_MAX:
            raise ConfigError(f"{where}: stream_partitions is 0 to {PARTITIONS_MAX}")
        if not self.name or not self.history:
            raise ConfigError(
                f"{where}: stream_partitions needs a namespace with history_size and history_ttl"
            )
        if self.feed_retention == Retention():
            raise ConfigError(
                f"{where}: stream_partitions needs stream_retention, stream_retention_messages or"
                " stream_retention_bytes"
            )

    @property
    def history(self) -> bool:
        """Tell whether publications are kept."""
        return self.history_size > 0

    @property
    def when_slow(self) -> SlowConsumer:
        """Return what happens to a slow subscriber: catch up where there is history, else drop."""
        return self.slow_consumer or (SlowConsumer.CATCH_UP if self.history else SlowConsumer.DROP)

    @property
    def feed_retention(self) -> Retention:
        """Return how much is kept of each partition of the namespace as a stream."""
        return Retention(
            count=self.stream_retention_messages,
            age_ms=self.stream_retention_ms,
            bytes=self.stream_retention_bytes,
        )

    @property
    def retention(self) -> Retention:
        """Return how much of a channel's stream is kept."""
        return Retention(
            count=self.history_size,
            ttl_ms=self.history_ttl_ms,
            meta_ttl_ms=self.history_meta_ttl_ms,
            age_ms=self.history_age_ms,
            bytes=self.history_bytes,
            group=(self.name or WITHOUT) if self.history_bytes_total else "",
            group_bytes=self.history_bytes_total,
        )


class Grammar(Struct, frozen=True, kw_only=True):
    """How a channel's name is read: `[$][namespace:]name[#user1,user2]`."""

    namespace_boundary: str = ":"
    user_boundary: str = "#"
    user_separator: str = ","
    private_prefix: str = "$"
    bytes_max: int = CHANNEL_NAME_BYTES_MAX


class Rules(Struct, frozen=True, gc=False):
    """A namespace, with what is worth computing only once."""

    namespace: Namespace
    retention: Retention
    pattern: re.Pattern[str] | None
    any_data: bool  # no format is asked for
    transient: bool  # nothing is kept
    feed: Feed | None = None  # what is published is copied there


# Partitions of declared streams, followed as channels. That its messages have an age has the tails checked
# against what is kept; how much that is, and for how long, is each stream's own affair.
STREAMS_NAMESPACE: Final = Namespace(
    name=STREAMS,
    allow_history_for_subscriber=True,
    history_size=2**31,
    history_ttl_ms=2**53,
    history_meta_ttl_ms=0,
    history_age_ms=2**53,
    force_recovery=True,
    channel_regex=r"^[^/]+/(0|[1-9][0-9]{0,3})$",
)


class Namespaces(Struct, frozen=True, kw_only=True):
    """All namespaces of a node, and the grammar that finds the one of a channel."""

    without: Namespace = field(default_factory=Namespace)
    named: tuple[Namespace, ...] = ()
    grammar: Grammar = field(default_factory=Grammar)
    rules: dict[str, Rules] = field(default_factory=dict)
    _found: dict[str, Rules] = field(default_factory=dict)  # by channel: names come again and again

    def __post_init__(self) -> None:
        for namespace in (self.without, *self.named):
            if namespace.name in self.rules:
                raise ConfigError(f"namespace {namespace.name!r} is defined twice")
            pattern = re.compile(namespace.channel_regex) if namespace.channel_regex else None
            self.rules[namespace.name] = Rules(
                namespace,
                namespace.retention,
                pattern,
                any_data=namespace.publication_data_format is DataFormat.ANY
                and not namespace.name.startswith(SYSTEM)
                and namespace.name != STREAMS,
                transient=not namespace.history,
                feed=self._feed(namespace),
            )

    def _feed(self, namespace: Namespace) -> Feed | None:
        if not namespace.stream_partitions:
            return None
        source = namespace.name + self.grammar.namespace_boundary
        streams = partitions(source, namespace.stream_partitions)
        return Feed(source, streams, namespace.feed_retention)

    def feeds(self) -> list[Feed]:
        """Return the namespaces that are kept as streams too."""
        return [rules.feed for rules in self.rules.values() if rules.feed is not None]

    def of(self, channel: str) -> Rules:
        """Return the rules of the namespace that `channel` belongs to.

        Raises:
            BadRequest: the name is empty, too long, or not what the namespace's `channel_regex` asks for.
            UnknownChannel: there is no such namespace.
        """
        rules = self._found.get(channel)
        if rules is None:
            rules = self._find(channel)
            if len(self._found) >= CHANNELS_REMEMBERED_MAX:
                self._found.clear()
            self._found[channel] = rules
        return rules

    def _find(self, channel: str) -> Rules:
        grammar = self.grammar
        if not channel or len(channel) > grammar.bytes_max:
            raise BadRequest(f"a channel's name has 1 to {grammar.bytes_max} characters")
        if channel.startswith((SYSTEM, f"{STREAMS}:")):  # read in one way only, whatever the grammar
            return self._find_own(channel)
        name, boundary, rest = channel.removeprefix(grammar.private_prefix).partition(
            grammar.namespace_boundary
        )
        rules = self.rules.get(name if boundary else "")
        if rules is None:
            raise UnknownChannel(f"there is no namespace {name!r}")
        if rules.pattern is None:
            if not channel.isascii():
                raise BadRequest("a channel's name is ASCII unless its namespace sets channel_regex")
        elif not rules.pattern.search(rest if boundary else name):
            raise BadRequest(f"channel {channel!r} does not match its namespace's channel_regex")
        return rules

    def _find_own(self, channel: str) -> Rules:
        rules = self.rules.get(channel.partition(":")[0])
        if rules is None:
            raise UnknownChannel(f"{channel!r} is the system's own")
        if rules.pattern is not None and not rules.pattern.search(channel.partition(":")[2]):
            raise BadRequest(f"{channel!r} is no partition of a stream, as in {STREAMS}:orders/0")
        return rules

    def is_private(self, channel: str) -> bool:
        """Tell whether only a subscription token opens `channel`."""
        return bool(self.grammar.private_prefix) and channel.startswith(self.grammar.private_prefix)

    def users_of(self, channel: str) -> list[str] | None:
        """Return the users that `channel` is limited to, or None when it is not."""
        _, boundary, users = channel.rpartition(self.grammar.user_boundary)
        return users.split(self.grammar.user_separator) if boundary else None
