"""What a measurement is, and what figures are taken of samples and asked of gapless."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.loads import Load
from bench.report import Figure, Sample, Target

__all__ = [
    "SQLITE",
    "Measurement",
    "absolute",
    "at_least",
    "at_most",
    "cpu_us",
    "of",
    "p99_ms",
    "per_cpu_second",
    "per_second",
]

SQLITE = "gapless on SQLite"


@dataclass(frozen=True)
class Measurement:
    """One load, put on several servers in turn."""

    name: str
    about: str
    loads: Mapping[str, Load]  # by server
    figures: tuple[Figure, ...]
    peers: bool = False  # whether it needs what tools/install-peers installs
    repeats_max: int = 100  # fewer for one that takes minutes


def cpu_us(sample: Sample) -> float:
    return 1e6 * sample["server_cpu_seconds"] / sample["count"]


def per_second(sample: Sample) -> float:
    return sample["count"] / sample["seconds"]


def per_cpu_second(sample: Sample) -> float:
    """What a whole core would give: other work on the machine does not count against a server."""
    return sample["count"] / sample["server_cpu_seconds"]


def p99_ms(sample: Sample) -> float:
    return sample["p99_ms"]


def at_most(limit: float) -> Target:
    return Target(limit)


def at_least(limit: float) -> Target:
    return Target(limit, at_least=True)


def of(name: str) -> Callable[[Sample], float]:
    return lambda sample: sample[name]


def absolute(limit: float, *, at_least: bool = False) -> Target:
    return Target(limit, at_least=at_least, ratio=False)
