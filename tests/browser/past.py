"""Hours before a server was started: what it would have told of itself, put into its store before it is."""

import asyncio
import json
import math
import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from gapless import backends
from gapless.backends import Options
from gapless.core.stream import Entry, Outcome, Retention, Stored
from gapless.ports import Store
from gapless.server.console.sampling import MINUTES

__all__ = ["remember"]

STEP_MS = 10_000
HOUR_MS = 3_600_000
NODE = "00000000-0000-4000-8000-000000000001"
WAVE_MS = 5_400_000
DOWN_MS = 60_000  # nobody was there between then and now
COUNTERS = (
    "opened", "closed", "publications", "deliveries", "delivered_bytes", "dropped", "commands",
    "command_errors", "api_errors", "recovered", "recovered_messages", "lost", "commits", "entries",
)  # fmt: skip
KEPT = Retention(count=10_000, age_ms=6 * HOUR_MS)


async def remember(url: str, hours: float) -> None:
    """Store the samples of so many hours, until a minute ago."""
    last_ms = time.time_ns() // 1_000_000 - DOWN_MS
    told_ms = last_ms - int(hours * HOUR_MS)
    store = await backends.open(url, Options(now_ms=lambda: told_ms))
    for sample in samples(told_ms, last_ms):
        told_ms = sample["at_ms"]
        await append(store, Entry(MINUTES, json.dumps(sample).encode(), KEPT))
    await store.close()


async def append(store: Store, entry: Entry) -> None:
    """Append one entry, and wait until it is stored."""
    stored: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()
    store.append([entry], lambda _, outcomes: stored.set_result(outcomes))
    (outcome,) = await stored
    assert isinstance(outcome, Stored), outcome


def samples(first_ms: int, last_ms: int) -> Iterator[dict[str, Any]]:
    """Tell of every ten seconds, in order: of a server that is like that of the shop, with two jams."""
    random = Random(7)
    counters = dict.fromkeys(COUNTERS, 0)
    for at_ms in range(first_ms, last_ms, STEP_MS):
        busy = 1 + 0.25 * math.sin(2 * math.pi * at_ms / WAVE_MS) + random.gauss(0, 0.05)
        jam = max(0.0, math.sin(6 * math.pi * (at_ms - first_ms) / (last_ms - first_ms))) ** 6
        people, published = round(15 * busy), round(26 * busy)
        came_back = round(9 * jam) + (random.random() < 0.03)
        rises = {
            "opened": random.randrange(2),
            "closed": random.randrange(2),
            "publications": published,
            "deliveries": published * people,
            "delivered_bytes": 190 * published * people,
            "commands": 4 * people,
            "recovered": came_back,
            "recovered_messages": 17 * came_back,
            "commits": published,
            "entries": published,
        }
        for name, rise in rises.items():
            counters[name] += rise
        yield {
            "at_ms": at_ms,
            "node": NODE,
            "name": "shop-1",
            "started_ms": first_ms,
            "writer": True,
            "gauges": gauges(people, jam, random),
            "counters": dict(counters),
            "queues": {
                "mail": depth(round(4 * busy + 300 * jam), round(800 * busy + 40_000 * jam), dead=6),
                "thumbnails": depth(round(8 * busy), round(2_000 * busy)),
            },
            "groups": {
                "orders/shipping": {"lag": round(60 * busy + 380 * jam), "lag_ms": round(70_000 * jam)}
            },
        }


def gauges(people: int, jam: float, random: Random) -> dict[str, float]:
    """Return what goes up and down, with so many people and work piled up so high."""
    return {
        "connections": people,
        "users": people,
        "channels": people + 3,
        "subscriptions": 3 * people + people // 3,
        "behind": round(3 * jam),
        "stalled": round(jam),
        "waiting": round(12 * jam),
        "store_queue": round(9 * jam),
        "commit_p50_ms": round(0.4 + 0.2 * jam + abs(random.gauss(0, 0.05)), 2),
        "commit_p99_ms": round(1.3 + 2.5 * jam + abs(random.gauss(0, 0.2)), 2),
        "loop_lag_p99_ms": round(1 + 2 * jam, 1),
        "rss_bytes": 74_000_000 + 90_000 * people + random.randrange(200_000),
        "open_files": people + 30,
        "cpu_s": 0,
        "nodes": 1,
        "deaf": 0,
    }


def depth(ready: int, oldest_ms: int, dead: int = 0) -> dict[str, int]:
    """Return how much of a queue is where."""
    return {"ready": ready, "delayed": 0, "leased": 4, "dead": dead, "oldest_ms": oldest_ms}
