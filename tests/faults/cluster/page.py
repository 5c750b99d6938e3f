"""What ordeals came to, on a page."""

from collections import Counter
from collections.abc import Sequence

from tests.faults.cluster.checkers import CHECKERS, silent
from tests.faults.cluster.ordeal import Result

__all__ = ["line", "page"]


def line(result: Result) -> str:
    """Tell of one run in a line."""
    events = result.events
    told = f", {result.gone:,} lost by the store and told" if result.gone else ""
    return (
        f"{result.scene}, seed {result.seed}: {result.rounds:,} rounds in {result.seconds:.0f} s, "
        f"{events['ok']:,} acknowledged, {_lost(result):,} lost, {len(silent(result.findings)):,} silent gaps"
        f"{told}; {events['delivered']:,} delivered, {events['jobs']:,} jobs, {events['handled']:,} handled, "
        f"{len(result.findings):,} findings"
    )


def _lost(result: Result) -> int:
    return sum(finding.startswith("lost:") for finding in result.findings)


def page(results: Sequence[Result]) -> str:
    """Tell of all runs on a page of Markdown."""
    parts = ["# Faults", "", _sums(results), "", "## Runs", "", *_runs(results), "", "## Faults by kind", ""]
    faults: Counter[str] = sum((result.faults for result in results), Counter())
    parts += ["| | |", "|---|---:|", *(f"| {name} | {times:,} |" for name, times in faults.most_common())]
    parts += ["", "## Checked", "", ", ".join(checker.__name__ for checker in CHECKERS), ""]
    for result in results:
        if result.findings:
            parts += [
                "",
                f"## Found: {result.scene}, seed {result.seed}",
                "",
                f"Kept in `{result.kept}`.",
                "",
            ]
            parts += [f"- {finding}" for finding in result.findings]
    return "\n".join(parts) + "\n"


def _sums(results: Sequence[Result]) -> str:
    events: Counter[str] = sum((result.events for result in results), Counter())
    rounds = sum(result.rounds for result in results)
    lost, gaps = sum(map(_lost, results)), sum(len(silent(result.findings)) for result in results)
    told = sum(result.gone for result in results)
    return (
        f"{rounds:,} rounds in {sum(result.seconds for result in results):,.0f} s: "
        f"{events['ok']:,} acknowledged, **{lost:,} lost, {gaps:,} silent gaps**. "
        f"{events['fail']:,} refused and {events['unknown']:,} unknown to their publishers; "
        f"{events['delivered']:,} delivered, {events['recovered']:,} recoveries; "
        f"{events['jobs']:,} jobs done, {events['handled']:,} messages handled by a group; "
        f"{told:,} lost by a store that was rewound, and told."
    )


def _runs(results: Sequence[Result]) -> list[str]:
    table = ["| Scene | Seed | Rounds | Seconds | Acknowledged | Lost | Silent gaps | Findings |"]
    table.append("|---|---:|---:|---:|---:|---:|---:|---:|")
    return [*table, *map(_row, results)]


def _row(result: Result) -> str:
    return (
        f"| {result.scene} | {result.seed} | {result.rounds:,} | {result.seconds:.0f} | "
        f"{result.events['ok']:,} | {_lost(result):,} | {len(silent(result.findings)):,} | "
        f"{len(result.findings):,} |"
    )
