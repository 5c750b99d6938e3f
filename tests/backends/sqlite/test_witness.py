"""The witness tells whether a database is what it was."""

from pathlib import Path

import pytest

from gapless.backends.sqlite.witness import Seen, Witness, fate
from gapless.core.errors import StoreRefused
from gapless.core.lineage import Fate, Generation

A, B = Generation("a", 0), Generation("b", 10)


@pytest.mark.parametrize(
    ("seen", "generations", "seq", "expected"),
    [
        (None, [], 0, Fate.CLEAN),  # a fresh store
        (None, [A], 5, Fate.LOSSY),  # the witness is gone
        (Seen("a", 5), [A], 5, Fate.CLEAN),
        (Seen("a", 4), [A], 5, Fate.CLEAN),  # the witness was not on the disk yet
        (Seen("a", 6), [A], 5, Fate.LOSSY),  # the database was put back
        (Seen("b", 10), [A], 5, Fate.LOSSY),  # ... to before its last opening
        (Seen("b", 12), [A, B], 12, Fate.CLEAN),
        (Seen("b", 13), [A, B], 12, Fate.LOSSY),
        (Seen("a", 10), [A, B], 12, Fate.CLEAN),  # the crash came between the opening and its witness
        (Seen("a", 11), [A, B], 12, Fate.LOSSY),  # the other end of a fork
        (Seen("a", 0), [], 0, Fate.LOSSY),  # a new file in the place of the one that was seen
    ],
)
def test_a_witness_beyond_the_database_makes_it_lossy(
    seen: Seen | None, generations: list[Generation], seq: int, expected: Fate
) -> None:
    assert fate(seen, generations, seq) is expected


def test_a_witness_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "store.db.witness"
    witness = Witness(path)
    assert witness.seen is None
    witness.write("generation", 10**15)
    witness.write("generation", 7)
    witness.close()
    witness = Witness(path)
    assert witness.seen == Seen("generation", 7)
    with pytest.raises(StoreRefused):
        Witness(path)
    witness.close()


def test_a_witness_that_was_damaged_is_none(tmp_path: Path) -> None:
    path = tmp_path / "store.db.witness"
    witness = Witness(path)
    witness.write("generation", 7)
    witness.close()
    whole = path.read_bytes()
    for at in range(len(whole.rstrip())):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        witness = Witness(path)
        assert witness.seen is None
        witness.close()
