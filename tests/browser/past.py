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
KEPT = Retention(count=10_000, age_ms=6 * HOUR_MS)


async def remember(url: str, hours: float) -> None:
    """Store the samples of so many hours until now: of people who come and go, and work that piles up."""
    last_ms = time.time_ns() // 1_000_000
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
    """Tell of every ten seconds, in order."""
    random = Random(7)
    counters = dict.fromkeys(
        ("opened", "closed", "publications", "deliveries", "delivered_bytes", "dropped", "commands",
         "command_errors", "api_errors", "recovered", "recovered_messages", "lost", "commits", "entries"), 0
    )  # fmt: skip
    for at_ms in range(first_ms, last_ms, STEP_MS):
        busy = 1 + 0.35 * math.sin(2 * math.pi * at_ms / WAVE_MS) + random.gauss(0, 0.04)
        jam = max(0.0, math.sin(2 * math.pi * (at_ms - first_ms) / (last_ms - first_ms) * 3)) ** 6
        people, published = int(1_400 * busy), int(220 * busy)
        rises = {
            "opened": 9, "closed": 9, "publications": published, "deliveries": 14 * published,
            "delivered_bytes": 2_900 * published, "commands": 60, "recovered": int(40 * busy),
            "recovered_messages": int(500 * busy), "commits": published // 3, "entries": published,
        }  # fmt: skip
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
                "mail": depth(int(90 * busy * (1 + 12 * jam)), int(40_000 * jam), dead=6),
                "thumbnails": depth(int(18 * busy), int(2_000 * busy)),
            },
            "groups": {"orders/shipping": {"lag": int(2_600 * jam + 30 * busy), "lag_ms": int(70_000 * jam)}},
        }


def gauges(people: int, jam: float, random: Random) -> dict[str, float]:
    """Return what goes up and down, with so many people and work piled up so high."""
    return {
        "connections": people,
        "users": int(0.8 * people),
        "channels": people // 2,
        "subscriptions": 3 * people,
        "behind": int(5 * jam),
        "stalled": int(2 * jam),
        "waiting": int(12 * jam),
        "store_queue": int(9 * jam),
        "commit_p50_ms": round(0.8 + 0.4 * jam + abs(random.gauss(0, 0.05)), 2),
        "commit_p99_ms": round(2.1 + 4 * jam + abs(random.gauss(0, 0.4)), 2),
        "loop_lag_p99_ms": round(1 + 2 * jam, 1),
        "rss_bytes": 70_000_000 + 9_000 * people,
        "open_files": people + 30,
        "cpu_s": 0,
        "nodes": 1,
        "deaf": 0,
    }


def depth(ready: int, oldest_ms: int, dead: int = 0) -> dict[str, int]:
    """Return how much of a queue is where."""
    return {"ready": ready, "delayed": 0, "leased": 4, "dead": dead, "oldest_ms": oldest_ms}
