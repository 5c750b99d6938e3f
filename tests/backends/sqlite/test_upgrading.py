"""A file that an older gapless made is brought up to date when it is opened, whole or not at all.

`version_1.gz` was made by the code of commit c86bb0c, whose files are of version 1: a few streams of
each kind of retention, one forgotten, one trimmed, one with a key, over two generations.
"""

import gzip
import logging
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from gapless.backends import Options
from gapless.backends.sqlite import schema, upgrading
from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.log import Erase
from gapless.backends.sqlite.upgrading import UPGRADES
from gapless.backends.sqlite.witness import Witness
from gapless.core.errors import LimitExceeded, StoreRefused
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX
from gapless.core.lineage import Fate
from gapless.core.stream import Head, Position, Retention, Stored
from gapless.testing.conformance.places import entry
from tests.backends.crash_vfs import Disk, PowerCut

VERSION_1 = gzip.decompress((Path(__file__).parent / "version_1.gz").read_bytes())
GENERATIONS = ["first00000000001", "first00000000002"]
SEQ = 27
NOW_MS = 1_700_000_002_000
FEW = Retention(count=3, ttl_ms=10**9, meta_ttl_ms=10**10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return lay(tmp_path / "store.db")


def lay(path: Path) -> Path:
    """Put the old file there, with its witness."""
    path.write_bytes(VERSION_1)
    witness = Witness(path.with_name(path.name + ".witness"))
    witness.write(GENERATIONS[-1], SEQ)
    witness.close()
    return path


def opened(path: Path, vfs: str | None = None) -> Database:
    return Database(path, Options(now_ms=lambda: NOW_MS, ballast_bytes=0, free_bytes_min=0), vfs)


def check_kept(database: Database) -> None:
    """All that was in the old file is there, and all old positions hold."""
    generations = database.reader.generations()
    assert [generation.id for generation in generations][:2] == GENERATIONS
    assert {generation.fate for generation in generations} == {Fate.CLEAN}
    assert database.reader.heads(["all", "few", "keyed", "gone", "late"], NOW_MS).heads == {
        "all": Head(2, 12),
        "few": Head(2, 5),
        "keyed": Head(0, 1),
        "gone": Head(7, 7),
        "late": Head(7, 9),
    }
    page = database.reader.after(
        "all", Position(GENERATIONS[0], 4), PAGE_MESSAGES_MAX, PAGE_BYTES_MAX, NOW_MS
    )
    assert [message.data for message in page.messages] == [b'{"n":%d}' % n for n in range(5, 13)]
    assert page.messages[0].meta == b'{"tags":{"n":"5"}}'
    page = database.reader.after("late", None, PAGE_MESSAGES_MAX, PAGE_BYTES_MAX, NOW_MS)
    assert [len(message.data) for message in page.messages] == [5_000, 1]


def tables(connection: apsw.Connection) -> dict[str, list[Any]]:
    names = [name for (name,) in connection.execute("select name from sqlite_schema where type = 'table'")]
    return {
        name: connection.execute(f"pragma table_xinfo({name})").fetchall()
        for name in names
        if name != "keys_472222"
    }


def indices(connection: apsw.Connection) -> list[Any]:
    query = "select name, sql from sqlite_schema where type = 'index' and sql is not null order by name"
    return connection.execute(query).fetchall()


def version(database: Database) -> int:
    return schema.number(database._connection.execute("select version from store"))


def test_a_file_of_version_1_keeps_everything(path: Path) -> None:
    database = opened(path)
    assert version(database) == schema.VERSION
    check_kept(database)
    again, end, stale, fresh = database.write(
        [
            entry("keyed", b"held", key="k"),
            entry("few", b"6", FEW, expected=Position(GENERATIONS[0], 5)),
            entry("all", version=0),
            entry("all", version=1, version_epoch="e"),
        ]
    )
    assert again == Stored(GENERATIONS[0], 1, 1_700_000_000_000, fresh=False)
    assert [one.offset for one in (end, stale, fresh) if isinstance(one, Stored)] == [6, 13, 14]
    database.close()
    database = opened(path)
    assert version(database) == schema.VERSION
    [stale] = database.write([entry("all", version=1, version_epoch="e")])
    assert isinstance(stale, Stored)
    assert not stale.fresh
    database.close()


def test_streams_of_version_1_take_part_in_all_that_is_new(path: Path) -> None:
    database = opened(path)
    assert database.write([Erase("all", 5)]) == [True]
    keep = Retention(group="g", group_bytes=5_100)
    outcomes = database.write([entry("late", b"w" * 99, keep), entry("late", b"v", keep)])
    assert [type(outcome) for outcome in outcomes] == [Stored, LimitExceeded]
    assert [type(each) for each in database.write([entry("all", keyed="a", expected_keyed=0)])] == [Stored]
    assert database.reader.last_keyed("all", "a", NOW_MS) == 13
    database.close()


def test_an_upgraded_file_is_as_one_that_was_made_new(path: Path, tmp_path: Path) -> None:
    upgraded, made = opened(path), opened(tmp_path / "new.db")
    assert tables(upgraded._connection) == tables(made._connection)
    assert indices(upgraded._connection) == indices(made._connection)
    assert upgraded._connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    upgraded.close()
    made.close()


def test_there_is_a_way_from_every_version_before() -> None:
    assert list(UPGRADES) == list(range(1, schema.VERSION))


def test_the_log_says_what_was_upgraded_and_only_then(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gapless.store")
    opened(path).close()
    [told] = caplog.messages
    brings = "; ".join(upgrade.brings for upgrade in UPGRADES.values())
    assert told == f"{path} was upgraded from version 1 to {schema.VERSION}: {brings}"
    opened(path).close()
    assert caplog.messages == [told]


def test_a_newer_file_is_refused_and_left_alone(path: Path) -> None:
    opened(path).close()
    connection = apsw.Connection(str(path))
    connection.execute(f"update store set version = {schema.VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match="made by a newer gapless"):
        opened(path)
    assert path.read_bytes()[100:] == before[100:]


def test_a_statement_that_fails_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = UPGRADES[1]._replace(statements=(*UPGRADES[1].statements, "create table store (x)"))
    with monkeypatch.context() as patched:
        patched.setitem(upgrading.UPGRADES, 1, wrong)
        with pytest.raises(StoreRefused):
            opened(path)
    connection = apsw.Connection(str(path))
    assert connection.execute("select version from store").fetchall() == [(1,)]
    assert "retention_groups" not in tables(connection)
    connection.close()
    database = opened(path)
    check_kept(database)
    database.close()


def test_a_power_cut_at_any_write_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    disk = Disk("upgrade")
    found = set()
    for operation in range(1, 80):
        folder = tmp_path / str(operation)
        folder.mkdir()
        path = lay(folder / "store.db")
        disk.images.clear()
        disk.cut_at(operation)
        try:
            opened(path, disk.name).abandon()
        except (StoreRefused, PowerCut):
            pass
        disk.lose_power(Random(operation))
        connection = apsw.Connection(str(path))
        [[number]] = connection.execute("select version from store").fetchall()
        assert ("retention_groups" in tables(connection)) == (number == schema.VERSION)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close()
        found.add(number)
        database = opened(path, disk.name)
        check_kept(database)
        database.close()
    assert found == {1, schema.VERSION}
