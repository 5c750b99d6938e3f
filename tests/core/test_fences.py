"""No fence is given twice, and their numbers only rise."""

from gapless.core.fences import Fences, fence_number

START_MS = 1_800_000_000_000


def test_fences_rise_from_the_start_of_their_generation() -> None:
    fences = Fences("g1", 0, START_MS)
    given = [fences.next() for _ in range(3)]
    assert given == [f"g1:{START_MS * 1_000 + n}" for n in range(3)]
    assert [fence_number(fence) for fence in given] == [START_MS * 1_000 + n for n in range(3)]
    assert fences.last == fence_number(given[-1])


def test_a_generation_goes_on_above_the_last_number_though_the_clock_stood_still() -> None:
    first = Fences("g1", 0, START_MS)
    given = [first.next() for _ in range(3)]
    assert fence_number(Fences("g2", first.last, START_MS - 5).next()) == fence_number(given[-1]) + 1


def test_a_store_that_was_rewound_gives_no_fence_again() -> None:
    before = Fences("g1", 0, START_MS)
    kept = before.last
    lost = {before.next() for _ in range(3)}
    after = Fences("g2", kept, START_MS + 1)
    assert not lost & {after.next() for _ in range(3)}
    assert after.last > max(map(fence_number, lost))


def test_the_number_of_a_fence_is_found_whatever_the_epoch_looks_like() -> None:
    assert fence_number("a:b:7") == 7


def test_numbers_are_exact_as_floats_too() -> None:
    year_2250_ms = 8_836_000_000_000
    assert Fences("g", 0, year_2250_ms).last < 2**53
