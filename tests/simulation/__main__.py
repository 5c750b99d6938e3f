"""Run seeds: `python -m tests.simulation --seeds N [--seed FIRST]`, or `--bugs` to show what is caught.

A failing seed is printed with the line that replays it.
"""

import argparse
import sys
import traceback
from time import monotonic

from tests.simulation.bugs import BUGS, catch
from tests.simulation.checkers import Violation
from tests.simulation.world import World

PROGRESS_S = 5
FAILURES_MAX = 10


def run(first: int, seeds: int) -> int:
    """Run seeds one after the other; return how many failed."""
    started = told = monotonic()
    failed = virtual_ms = deliveries = resumes = lost = 0
    for seed in range(first, first + seeds):
        world = World(seed)
        try:
            checker = world.run()
        except Exception as error:
            failed += 1
            report(seed, error)
            if failed == FAILURES_MAX:
                break
        else:
            deliveries += checker.deliveries
            resumes += checker.recovered
            lost += checker.told_lost
        virtual_ms += world.loop.now_ms
        if monotonic() - told > PROGRESS_S:
            told = monotonic()
            sys.stderr.write(f"{seed - first + 1} of {seeds} seeds, {failed} failed\n")
    rate = seeds / (monotonic() - started)
    print(
        f"{seeds} seeds from {first}: {failed} failed; {rate:.0f} seeds/s, "
        f"{virtual_ms // 60_000} virtual minutes, "
        f"{deliveries} deliveries, {resumes} resumed, {lost} told of a loss"
    )
    return failed


def report(seed: int, error: Exception) -> None:
    """Say what failed, and how to see it again."""
    print(f"seed {seed}: {error!r}" if not isinstance(error, Violation) else f"seed {seed}: {error}")
    if error.__cause__ is not None or not isinstance(error, Violation):
        traceback.print_exception(error)
    print(f"  {replay(seed)}")


def replay(seed: int) -> str:
    """The line that runs a seed again."""
    return f"replay: python -m tests.simulation --seed {seed} --seeds 1"


def bugs(seeds: int) -> int:
    """Plant each bug and run seeds until a checker sees it; return how many survived."""
    survived = 0
    print(f"{'bug':58} {'seed':>5}  caught by")
    for bug in BUGS:
        caught = catch(bug, seeds)
        survived += caught is None
        seed, checker = caught or ("", "NOTHING")
        print(f"{bug.name:58} {seed:>5}  {checker}", flush=True)
    print(f"{len(BUGS)} bugs planted, {survived} survived")
    return survived


def main() -> int:
    """Parse the command line; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--bugs", action="store_true", help="plant known bugs instead")
    options = parser.parse_args()
    failed = bugs(options.seeds) if options.bugs else run(options.seed, options.seeds)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\ninterrupted")
