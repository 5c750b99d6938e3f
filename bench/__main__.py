"""`python -m bench`: gapless beside its peers on this machine, in one run."""

import json
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from bench.machine import GENERATOR_CORE, SERVER_CORE, STORE_CORE, describe, use_core
from bench.measurements import MEASUREMENTS
from bench.node_measurements import soak
from bench.programs import build, install, versions
from bench.report import notes, section, table, with_section
from bench.run import Outcome, measure

RESULTS = Path(__file__).with_name("RESULTS.md")
SOAK = "Soak"
SOAK_CHANNELS = 1_000_000
NAMES = [measurement.name for measurement in MEASUREMENTS]


def selected(_: click.Context, __: click.Parameter, only: str | None) -> list[str]:
    names = only.split(",") if only else NAMES
    if unknown := sorted(set(names) - set(NAMES)):
        raise click.BadParameter(f"{', '.join(unknown)}: not one of {', '.join(NAMES)}")
    return names


@click.command()
@click.option("--only", callback=selected, help=f"Some of {','.join(NAMES)}.")
@click.option("--repeats", default=3, show_default=True, help="Samples of each server; the median counts.")
@click.option("--quick", is_flag=True, help="One short sample of each: to see that it runs.")
@click.option("--soak", "soak_minutes", type=click.IntRange(5), help="A soak of so many minutes instead.")
@click.option("--section", "named", default="", help="Keep some as a section, until a full run.")
@click.option("--json", "as_json", is_flag=True, help="Print all samples as JSON instead of the tables.")
def main(
    only: list[str], repeats: int, quick: bool, soak_minutes: int | None, named: str, as_json: bool
) -> None:
    """Measure gapless beside its peers: one core for the server, another for the load.

    A full run is kept in bench/RESULTS.md, and so is a soak, in a section of its own. Exits with 1 if
    something could not be measured.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    chosen = [measurement for measurement in MEASUREMENTS if measurement.name in only]
    if soak_minutes is not None:
        chosen = [soak("soak", 60 * soak_minutes, SOAK_CHANNELS)]
    build()
    if any(measurement.peers for measurement in chosen):
        install()
    use_core(GENERATOR_CORE)
    outcomes = [measure(measurement, 1 if quick else repeats, quick) for measurement in chosen]
    failed = any(outcome.failures for outcome in outcomes)
    click.echo(as_data(outcomes) if as_json else report(outcomes))
    if not quick and not failed:
        keep(outcomes, SOAK if soak_minutes is not None else named)
    raise SystemExit(failed)


def keep(outcomes: Sequence[Outcome], named: str) -> None:
    """Keep a full run, or what is a section of its own; a full run leaves the last soak where it is."""
    kept = RESULTS.read_text()
    if named:
        RESULTS.write_text(with_section(kept, named, report(outcomes)))
    elif len(outcomes) == len(MEASUREMENTS):
        page = f"# Results\n\nKept by `make bench`; the last full run.\n\n{report(outcomes)}\n"
        RESULTS.write_text(with_section(page, SOAK, section(kept, SOAK)))


def report(outcomes: Sequence[Outcome]) -> str:
    rows = [row for outcome in outcomes for row in outcome.rows]
    about = [f"- `{outcome.measurement.name}`: {outcome.measurement.about}" for outcome in outcomes]
    explained = [
        f"- {outcome.measurement.name}, {server}: {why}"
        for outcome in outcomes
        for server, samples in outcome.samples.items()
        if (why := outcome.failures.get(server) or notes(samples))
    ]
    parts = [
        *(f"{line}  " for line in (*describe(), versions())),
        f"{datetime.now(UTC):%Y-%m-%d}; server on core {SERVER_CORE}, load on core {GENERATOR_CORE}, "
        f"a Redis that nodes share on core {STORE_CORE}; GOMAXPROCS=1; medians; "
        "CPU is that of the server's processes, kernel time included.",
        "",
        table(rows),
        "",
        "What was asked:",
        "",
        *about,
        "",
        "What else was seen:",
        "",
        *explained,
    ]
    return "\n".join(parts)


def as_data(outcomes: Sequence[Outcome]) -> str:
    return json.dumps(
        {
            outcome.measurement.name: {"samples": outcome.samples, "failures": outcome.failures}
            for outcome in outcomes
        },
        indent=2,
    )


main()
