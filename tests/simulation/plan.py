"""What a seed decides before anything runs: how many there are of everything, how bad things get."""

from dataclasses import dataclass
from enum import Enum
from random import Random

from gapless.broker.namespaces import Namespace, Namespaces, RecoveryMode, SlowConsumer
from gapless.server.sessions import SessionOptions
from gapless.testing.link import Conditions
from gapless.testing.simulated_bus import BusConditions
from gapless.testing.simulated_store import StoreConditions


class Kind(Enum):
    """A namespace of the simulation: what its channels promise."""

    LOG = "log"  # everything is kept
    SHORT = "short"  # only the newest few
    BRIEF = "brief"  # it goes soon, and so does its head
    DROP = "drop"  # a slow reader misses some, and is told how many
    LIVE = "live"  # nothing is kept
    CACHE = "cache"  # the newest is all that counts

    @property
    def stored(self) -> bool:
        return self is not Kind.LIVE


def kind_of(channel: str) -> Kind:
    return Kind(channel.partition(":")[0])


WIDTHS = (2, 6, 20)  # of narrow connections, in bytes per millisecond

FAULTS = [
    "cut",
    "cut",
    "stall",
    "half_open",
    "storm",
    "crash_node",
    "stop_node",
    "restart_store",
    "rewind_store",
    "rewind_store",
    "silence_store",
    "cut_off_node",
    "trim",
    "silence_bus",
    "leave",
    "absence",
    "absence",
    "blackout",
    "empty_store",
    "erase",
]
ACTS_EVERY_MS = 400  # how often a backend parts with a client, where nodes know of each other  # fmt: skip


@dataclass
class Plan:
    """One run."""

    nodes: int
    channels: list[str]
    clients: int
    publishers: int
    duration_ms: int
    faults: list[tuple[int, str]]
    store: StoreConditions
    bus: BusConditions
    bus_stays_bad: bool
    history_sizes: dict[Kind, int]
    page_bytes_max: int
    tail_bytes_max: int
    ping_interval_ms: int
    message_bytes_max: int
    expiring: bool  # some tokens expire; the clocks are in step then
    async_failover: bool  # what is not witnessed counts as lost
    forgetful: float  # the chance that a position is presented without its epoch
    at_once: bool  # connections take no time, so that much falls into the same millisecond
    ledger: bool  # somebody appends where a stream ends, or not at all
    erasing: bool  # authors remove messages all the time
    quiet: dict[str, tuple[int, int]]  # when nothing is published to a channel
    clustered: bool  # nodes know of each other: presence goes across, and what acts on connections does
    expired_close_delay_ms: int = 1_000

    def silent(self, channel: str, now_ms: int) -> bool:
        start_ms, end_ms = self.quiet.get(channel, (0, 0))
        return start_ms <= now_ms < end_ms

    @property
    def skew_ms_max(self) -> int:
        return 0 if self.expiring else 5_000

    def history_size(self, kind: Kind) -> int:
        return self.history_sizes.get(kind, 0)

    def ttl_ms(self, kind: Kind) -> int:
        return 1_200 if kind is Kind.BRIEF else 3_600_000

    def namespaces(self) -> Namespaces:
        return Namespaces(named=tuple(self._namespace(kind) for kind in Kind))

    def _namespace(self, kind: Kind) -> Namespace:
        return Namespace(
            name=kind.value,
            allow_subscribe_for_client=True,
            allow_publish_for_client=True,
            allow_history_for_client=True,
            history_size=self.history_size(kind),
            history_ttl_ms=self.ttl_ms(kind) if kind.stored else 0,
            history_meta_ttl_ms=2_500 if kind is Kind.BRIEF else 3_600_000,
            force_recovery=kind.stored,
            force_recovery_mode=RecoveryMode.CACHE if kind is Kind.CACHE else RecoveryMode.STREAM,
            presence=True,
            join_leave=kind is Kind.LOG,
            force_push_join_leave=kind is Kind.LOG,
            slow_consumer=SlowConsumer.DROP if kind is Kind.DROP else None,
        )

    def options(self) -> SessionOptions:
        return SessionOptions(
            ping_interval_ms=self.ping_interval_ms,
            pong_timeout_ms=self.ping_interval_ms * 2 // 5,
            stale_close_delay_ms=3_000,
            expired_close_delay_ms=self.expired_close_delay_ms,
            stuck_close_delay_ms=4_000,
        )


def connection(random: Random, plan: Plan) -> Conditions:
    """How good one connection is. What fits its buffer takes less than the client's patience."""
    narrow = 0.7 if len(plan.channels) > 4 else 0.3
    width = random.choice(WIDTHS) if random.random() < narrow else 0
    return Conditions(
        latency_ms_max=0 if plan.at_once else random.choice((0, 5, 40, 150)),
        bytes_per_ms=width,
        high_bytes=random.choice((400, 1_500, 6_000, 10_000) if width != 2 else (400, 1_500)),
    )


def draw(seed: int) -> Plan:
    """Return the plan of a seed."""
    random = Random(seed)
    kinds = random.sample(list(Kind), random.randint(1, 3))
    if random.random() < 0.6 and Kind.LOG not in kinds:
        kinds[0] = Kind.LOG
    if random.random() < 0.15:
        kinds += [Kind.LOG] * 4
    channels = [f"{kind.value}:{index}" for index, kind in enumerate(kinds)]
    duration_ms = random.choice((2_000, 4_000, 8_000, 12_000))
    faults = [(random.randint(100, duration_ms), random.choice(FAULTS)) for _ in range(random.randint(0, 10))]
    rewinds = {"rewind_store", "blackout", "empty_store"} & {fault for _, fault in faults}
    short_pages = random.random() < 0.5
    quiet_ms = {channel: random.randint(0, duration_ms) for channel in channels}
    return Plan(
        nodes=random.choice((1, 1, 2, 2, 3)),
        channels=channels,
        clients=random.randint(1, 6),
        publishers=random.randint(1, 2),
        duration_ms=duration_ms,
        faults=sorted(faults),
        store=StoreConditions(
            latency_ms_max=random.choice((0, 2, 10, 60, 300)),
            page_messages_max=random.randint(1, 4) if short_pages else 1_000,
            unavailable=random.choice((0, 0, 0.05)),
            unknown=random.choice((0, 0, 0.1)),
        ),
        bus=BusConditions(
            loss=random.choice((0, 0, 0.3, 1)),
            doubling=random.choice((0, 0.2)),
            bare=random.choice((0, 0.5)),
            latency_ms_max=random.choice((2, 30, 1_000)),
        ),
        bus_stays_bad=random.random() < 0.5,
        history_sizes={
            Kind.LOG: 100_000,
            Kind.SHORT: random.randint(2, 12),
            Kind.BRIEF: 1_000,
            Kind.DROP: 1_000,
            Kind.CACHE: random.choice((1, 5)),
        },
        page_bytes_max=random.choice((600, 2_000, 262_144)),
        tail_bytes_max=random.choice((500, 4_000, 1_000_000)),
        ping_interval_ms=random.choice((1_000, 4_000)),
        message_bytes_max=random.choice((10, 10, 300)),
        # Where streams are forgotten, a position that equals the store's floor may be of a stream that was
        # cut away, or of one that never was: only a witness, or its absence, tells them apart.
        async_failover=bool(rewinds) and (Kind.BRIEF in kinds or random.random() < 0.5),
        at_once=random.random() < 0.2,
        ledger=random.random() < 0.2,
        erasing=random.random() < 0.2,
        forgetful=random.choice((0, 0, 0, 0.3)),
        quiet={
            channel: (at_ms, at_ms + 3_500)
            for channel, at_ms in quiet_ms.items()
            if kind_of(channel) is Kind.BRIEF or random.random() < 0.3
        },
        expiring=random.random() < 0.3,
        clustered=Random(seed + 3).random() < 0.25,
    )
