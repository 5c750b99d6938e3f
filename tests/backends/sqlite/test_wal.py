"""A database and a `-wal` of different times are refused; its own never is."""

import shutil
from pathlib import Path
from random import Random

import apsw
import pytest

from gapless.backends import Options
from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.log import Trim
from gapless.core.errors import StoreRefused
from gapless.core.stream import Retention
from gapless.testing.conformance.places import entry

SNAPSHOTS = 16
OPTIONS = Options(ballast_bytes=0, free_bytes_min=0)


def snapshots(folder: Path, random: Random) -> list[Path]:
    """Copy a store again and again while it works, is checkpointed, closed and opened."""
    path = folder / "store.db"
    database = Database(path, OPTIONS, None)
    copies = []
    for number in range(SNAPSHOTS):
        for _ in range(random.randrange(1, 4)):
            chance = random.random()
            if chance < 0.15:
                database.checkpoint()
            elif chance < 0.3:
                database.close()
                database = Database(path, OPTIONS, None)
            elif chance < 0.4:
                database.write([Trim("a", random.randrange(100))])
            else:
                batch = [
                    entry(random.choice("abc"), random.randbytes(500), Retention(count=30)) for _ in range(9)
                ]
                database.write(batch)
        copies.append(folder / str(number) / "store.db")
        copies[-1].parent.mkdir()
        for suffix in ("", "-wal", ".witness"):
            if (source := path.with_name(path.name + suffix)).exists():
                shutil.copy(source, copies[-1].with_name(path.name + suffix))
    database.close()
    return copies


def mix(of: Path, log: Path, to: Path) -> Path:
    """Put one copy's database beside another's log."""
    to.parent.mkdir()
    shutil.copy(of, to)
    shutil.copy(of.with_name("store.db.witness"), to.with_name("store.db.witness"))
    if (source := log.with_name("store.db-wal")).exists():
        shutil.copy(source, to.with_name("store.db-wal"))
    return to


def state(path: Path) -> tuple[object, ...] | None:
    """Return what SQLite alone makes of it; None when it finds it damaged."""
    connection = apsw.Connection(str(path))
    try:
        sound = connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        tables = ("store", "generations", "streams", "log")
        rows = tuple(tuple(connection.execute(f"select * from {table}").fetchall()) for table in tables)
        return rows if sound else None
    except apsw.Error:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_mix_of_two_times_that_would_do_harm_is_refused(seed: int, tmp_path: Path) -> None:
    copies = snapshots(tmp_path, Random(seed))
    states = []
    for number, own in enumerate(copies):
        states.append(state(mix(own, own, tmp_path / f"own-{number}" / "store.db")))
        Database(mix(own, own, tmp_path / f"opened-{number}" / "store.db"), OPTIONS, None).close()
    assert None not in states
    harmful = 0
    for one, of in enumerate(copies):
        for two, log in enumerate(copies):
            left = mix(of, log, tmp_path / f"left-{one}-{two}" / "store.db")
            found = state(mix(of, log, tmp_path / f"mix-{one}-{two}" / "store.db"))
            if found not in states:
                harmful += 1
                with pytest.raises(StoreRefused):
                    Database(left, OPTIONS, None)
    assert harmful > 50
