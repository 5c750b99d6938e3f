"""Bugs of the functions inside Redis (semantics 10), planted in their text: a named test catches each."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from gapless.backends.redis import library
from gapless.testing.conformance import StreamsConformance
from tests.backends import test_queues_rewound
from tests.backends.conftest import RedisPlace, shared_redis
from tests.backends.redis import test_generations
from tests.backends.rewinding import REWINDING

Test = Callable[[Path], None]


def rewound(folder: Path) -> None:
    place = REWINDING["redis"](folder)
    test_queues_rewound.test_numbers_of_fences_rise_over_a_rewind_as_the_clock_does(place)


def repeated(folder: Path) -> None:
    place = RedisPlace(shared_redis(), folder.name)
    StreamsConformance().test_a_repeated_key_answers_the_first_position(place)


def seen_more(folder: Path) -> None:
    test_generations.test_who_saw_more_is_heard_though_it_had_seen_it_only_by_reading()


def forgotten(folder: Path) -> None:
    test_generations.test_a_generation_that_the_server_has_forgotten_was_lost_as_a_whole()


# Name, the text and what stands in its place, and what catches it.
BUGS: dict[str, tuple[str, str, Test]] = {
    "witness ignored": (
        "  if changed then save_gens(s) end\n",
        "  s.gens = nil\n  is_late = false\n",
        seen_more,
    ),
    "a generation that was forgotten is no loss": (
        "  local mine = store.order(s)[epoch]\n  local changed, is_late",
        "  local mine = store.order(s)[epoch] or #s.gens\n  local changed, is_late",
        forgotten,
    ),
    "a key is forgotten": (
        "redis.call('SET', s.p .. ':k:' .. one[1], one[2], 'PX', key_ends(s.now, one[3]) - s.now)",
        "",
        repeated,
    ),
    "fence counter reused after a rewind": ("s.fence = math.max(s.fence, s.now * 1000 - 1)\n", "", rewound),
}


@contextmanager
def edited(old: str, new: str) -> Iterator[None]:
    """Change the text of the functions, which become another library by that."""
    text = library.source()
    assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
    library.name.cache_clear()
    try:
        with patch.object(library, "source", lambda: text.replace(old, new)):
            yield
    finally:
        library.name.cache_clear()


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name: str, tmp_path: Path) -> None:
    old, new, test = BUGS[name]
    test(tmp_path / f"{tmp_path.name}-right")
    with edited(old, new), pytest.raises((AssertionError, pytest.fail.Exception)):
        test(tmp_path / f"{tmp_path.name}-wrong")
