"""Takes the samples: every server in turn, again and again, so that a noisy minute meets them all."""

import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.loads import Load
from bench.measurement import Measurement
from bench.nodes import running
from bench.programs import CACHE
from bench.report import Row, Sample, judge, number
from bench.servers import Failed

__all__ = ["Outcome", "measure"]


@dataclass
class Outcome:
    """The samples of one measurement by server, and why a server has none."""

    measurement: Measurement
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        return judge(self.measurement.figures, self.samples)


def measure(measurement: Measurement, repeats: int, is_quick: bool) -> Outcome:
    """Take `repeats` samples of each server, interleaved; a server that fails is left out from then on."""
    outcome = Outcome(measurement, {server: [] for server in measurement.loads})
    repeats = min(repeats, measurement.repeats_max)
    for repeat in range(repeats):
        for server, load in measurement.loads.items():
            if server not in outcome.failures:
                say(f"{measurement.name} {repeat + 1}/{repeats} {server}: ")
                try:
                    sample = take(server, load, is_quick)
                except Failed as failed:
                    outcome.failures[server] = str(failed)
                    say(f"failed: {failed}\n")
                else:
                    outcome.samples[server].append(sample)
                    say(f"{', '.join(shown(measurement, server, sample))}\n")
    return outcome


def take(server: str, load: Load, is_quick: bool) -> Sample:
    """Take one sample on a fresh server, whose files are on the project's disk."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, running(server, Path(folder)) as running_server:
        return load(running_server, is_quick)


def shown(measurement: Measurement, server: str, sample: Sample) -> Iterable[str]:
    """What a sample of a server gives, each number once."""
    figures = [figure for figure in measurement.figures if server in (figure.server, figure.beside)]
    return dict.fromkeys(f"{number(figure.of(sample))} {figure.unit}".strip() for figure in figures)


def say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)
