"""`python -m tests.faults.cluster --minutes N`: several nodes on one store, and what befalls them.

The result is a page: rounds, faults, what was acknowledged, lost and not told. Of a run that found
something, the seed, all that happened and what the programs printed are kept; with --replay the checkers
read that again.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.cluster.checkers import findings
from tests.faults.cluster.events import History, load
from tests.faults.cluster.ordeal import Result
from tests.faults.cluster.page import line, page
from tests.faults.cluster.scenes import SCENES, run

SECONDS_PER_RUN = 30


def runs(minutes: float, seed: int, names: list[str], kept: Path) -> list[Result]:
    """Run scene after scene, each with a seed of its own, until the time is over."""
    end = time.monotonic() + minutes * 60
    results: list[Result] = []
    while time.monotonic() < end or len(results) < len(names):
        scene = SCENES[names[len(results) % len(names)]]
        seconds = min(SECONDS_PER_RUN, max(10.0, end - time.monotonic()))
        with tempfile.TemporaryDirectory() as folder:
            results.append(run(Path(folder), scene, seed + len(results), seconds, kept))
        print(line(results[-1]), flush=True)
    return results


def main() -> int:
    """Run from the command line; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.cluster", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scene", action="append", choices=list(SCENES), help="all, one after the other")
    parser.add_argument("--page", type=Path, default=Path(".cache/faults/page.md"))
    parser.add_argument("--replay", type=Path, help="a history that was kept")
    options = parser.parse_args()
    if options.replay:
        found = findings(History(load(options.replay)))
        print("\n".join(found) or "nothing found")
        return 1 if found else 0
    results = runs(options.minutes, options.seed, options.scene or list(SCENES), options.page.parent)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page(results))
    print(page(results))
    return 1 if any(result.findings for result in results) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\ninterrupted")
