"""2,000 runs of whole nodes, each from its seed; `make simulate SEEDS=100000` for more."""

import pytest

from tests.simulation.__main__ import replay
from tests.simulation.world import World

SEEDS = 2_000
PER_TEST = 25


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_no_seed_breaks_a_promise(first: int) -> None:
    failed = []
    for seed in range(first, first + PER_TEST):
        try:
            World(seed).run()
        except Exception as error:
            failed.append(f"seed {seed}: {error!r}\n  {replay(seed)}")
    assert not failed, "\n".join(failed)


def test_the_same_seed_takes_the_same_way() -> None:
    def way(seed: int) -> list[object]:
        world = World(seed)
        checker = world.run()
        return [
            world.loop.now_ms,
            checker.deliveries,
            checker.told_lost,
            checker.truth.order,
            sorted(checker.sent),
        ]

    for seed in range(10):
        assert way(seed) == way(seed)


def test_the_runs_are_worth_something() -> None:
    """Each thing that may happen does happen, or the checkers look at nothing."""
    seen = [World(seed).run() for seed in range(60)]
    assert sum(checker.recovered for checker in seen) > 100
    assert sum(checker.told_lost for checker in seen) > 30
    assert sum(checker.told_dropped for checker in seen) > 0
    assert sum(len(checker.truth.order) for checker in seen) > 2 * len(seen)
    assert any(checker.stall_excuses for checker in seen)
