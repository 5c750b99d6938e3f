"""What erasing leaves on the disk, and how it is told from damage."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from gapless.backends import Options
from gapless.backends.sqlite.checksum import checksum, erased_checksum
from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.log import Erase, Trim
from gapless.backends.sqlite.schema import number
from gapless.core.errors import StoreDamaged, StoreFull
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX
from gapless.core.stream import Stored
from gapless.testing.conformance.places import entry

SECRETS = [b"what nobody may read again " * 2, b"a long one that needs pages of its own " * 800]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "store.db", Options(ballast_bytes=0, free_bytes_min=0), None)
    yield opened
    opened.close()


def offsets(database: Database) -> list[int]:
    page = database.reader.after("s", None, PAGE_MESSAGES_MAX, PAGE_BYTES_MAX, database.now_ms())
    return [message.offset for message in page.messages]


def consume(slices: Generator[object, None, object]) -> None:
    while True:
        next(slices)


@pytest.mark.parametrize("secret", SECRETS, ids=["small", "large"])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_the_bytes_are_gone_from_every_file_once_the_store_is_closed(
    secret: bytes, checkpointed: bool, tmp_path: Path
) -> None:
    database = Database(tmp_path / "store.db", Options(ballast_bytes=0, free_bytes_min=0), None)
    for _ in range(5):
        database.write([entry(data=b"a" * 300), entry(data=secret, meta=secret), entry(data=b"b" * 3_000)])
    if checkpointed:
        database.checkpoint()
    assert database.write([Erase("s", offset) for offset in range(2, 16, 3)]) == [True] * 5
    database.close()
    left = [path.name for path in tmp_path.iterdir() if secret[:20] in path.read_bytes()]
    assert left == []


def test_the_bytes_are_gone_from_the_database_after_the_next_checkpoint(
    database: Database, tmp_path: Path
) -> None:
    database.write([entry(data=SECRETS[0])])
    database.checkpoint()
    assert SECRETS[0] in (tmp_path / "store.db").read_bytes()
    database.write([Erase("s", 1)])
    database.checkpoint()
    assert SECRETS[0] not in (tmp_path / "store.db").read_bytes()


def test_only_erasing_overwrites_pages_that_become_free(database: Database) -> None:
    database.write([entry(), Erase("s", 1)])
    assert database._connection.execute("pragma secure_delete").fetchall() == [(2,)]


@pytest.mark.parametrize(
    ("offset", "damage"),
    [
        (2, "delete from log"),
        (2, "update log set crc = crc + 1"),
        (2, "update log set time_ms = time_ms + 1"),
        (2, "update log set data = x'00'"),
        (2, "update log set meta = x'7b7d'"),
        (1, "update log set data = x'', meta = x''"),
        (1, "update log set data = x'', meta = x'', crc = (select crc from log where \"offset\" = 2)"),
    ],
)
def test_a_lost_or_damaged_row_is_told_from_an_erased_one(
    database: Database, offset: int, damage: str
) -> None:
    database.write([entry(data=b"one"), entry(data=b"two"), entry(data=b"three"), Erase("s", 2)])
    assert offsets(database) == [1, 3]
    database._connection.execute(f'{damage} where "offset" = {offset}')
    with pytest.raises(StoreDamaged):
        offsets(database)


def test_no_message_has_the_checksum_of_an_erased_one() -> None:
    for place in range(1, 2_000):
        where = place, place * 7, 1_700_000_000_000 + place
        assert erased_checksum(*where) != checksum(*where, b"", b"")


def test_a_damaged_message_can_be_erased_and_a_lost_one_cannot(database: Database) -> None:
    database.write([entry(data=b"one"), entry(data=b"two")])
    database._connection.execute("update log set data = x'00' where \"offset\" = 1")
    database._connection.execute('delete from log where "offset" = 2')
    erased, lost = database.write([Erase("s", 1), Erase("s", 2)])
    assert erased is True
    assert isinstance(lost, StoreDamaged)


def test_a_check_of_the_whole_store_passes_over_what_was_erased(database: Database) -> None:
    database.write([entry(data=b"%d" % number) for number in range(50)])
    database.write([Erase("s", offset) for offset in (1, 7, 8, 50)])
    with pytest.raises(StopIteration) as end:
        consume(database.check())
    assert (end.value.value.messages, end.value.value.findings) == (50, [])


def test_erasing_and_trimming_go_on_when_the_disk_is_full(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.write([entry(), entry()])
    monkeypatch.setattr(database.disk, "is_full", True)
    monkeypatch.setattr(database.disk, "check_room", lambda unused_bytes: None)
    refused, erased, _ = database.write([entry(), Erase("s", 2), Trim("s", 1)])
    assert isinstance(refused, StoreFull)
    assert erased is True
    assert offsets(database) == []


def test_an_append_and_its_erasing_may_share_a_commit(database: Database) -> None:
    stored, erased, again = database.write([entry(data=SECRETS[1]), Erase("s", 1), Erase("s", 1)])
    assert isinstance(stored, Stored)
    assert (erased, again) == (True, False)


def test_erasing_holds_though_appends_beside_it_fill_the_disk(database: Database) -> None:
    database.write([entry(data=b"one")])
    connection = database._connection
    pages = number(connection.execute("pragma page_count"))
    connection.execute(f"pragma max_page_count = {pages + 2}").fetchall()
    erased, *refused = database.write([Erase("s", 1), *[entry(data=b"x" * 50_000) for _ in range(40)]])
    assert erased is True
    assert {type(outcome) for outcome in refused} == {StoreFull}
    assert offsets(database) == []
    connection.execute("pragma max_page_count = 1000000").fetchall()
