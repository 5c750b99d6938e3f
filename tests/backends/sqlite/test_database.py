"""What is on the disk, where no reader sees it: rows that were dropped, the log's size, checkpoints."""

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from gapless.backends import KEY_HOUR_MS, Options
from gapless.backends.sqlite import schema, streams
from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.log import Trim
from gapless.core.errors import PositionConflict, StoreFull, StoreRefused, Unavailable
from gapless.core.stream import Position, Retention, Stored
from gapless.testing.conformance.places import entry


class Store:
    """A database with a clock of its own."""

    def __init__(self, path: Path, **options: int) -> None:
        self.path = path
        self.time_ms = 1_000
        given = Options(now_ms=lambda: self.time_ms, ballast_bytes=0, free_bytes_min=0, **options)  # type: ignore[arg-type]
        self.database = Database(path, given, None)

    def append(self, count: int, stream: str = "s", retention: Retention | None = None) -> None:
        self.database.write([entry(stream, retention=retention or Retention()) for _ in range(count)])

    def tidy(self) -> int:
        """Do the housekeeping that is due; return in how many transactions."""
        for number in range(1_000):
            if not self.database.is_due():
                return number
            self.database.write([])
        pytest.fail("housekeeping has no end")

    def count(self, table: str) -> int:
        [[rows]] = self.database._connection.execute(f"select count(*) from {table}").fetchall()
        assert isinstance(rows, int)
        return rows


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store.db")
    yield opened
    opened.database.close()


def test_dropped_rows_are_deleted_as_fast_as_rows_are_appended(store: Store) -> None:
    for _ in range(200):
        store.append(50, retention=Retention(count=100))
        assert store.count("log") <= 100 + 50 + 25


def test_many_streams_leave_few_dropped_rows_each(store: Store) -> None:
    for _ in range(30):
        for number in range(20):
            store.append(5, f"s{number}", Retention(count=10))
    assert store.count("log") <= 20 * (10 + 10 // 4 + 1)


def test_a_large_trim_is_deleted_in_small_steps_between_commits(store: Store) -> None:
    for _ in range(10):
        store.append(1_000)
    store.database.write([Trim("s", 10_000)])
    left = store.count("log")
    assert left > 9_000
    store.append(1)
    assert left - 200 < store.count("log") < left
    assert store.tidy() > 10
    assert store.count("log") == 1


def test_what_a_trim_left_is_deleted_after_the_next_opening(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    store.append(2_000)
    store.database.write([Trim("s", 2_000)])
    store.database.close()
    store = Store(tmp_path / "store.db")
    assert store.count("log") > 0
    store.tidy()
    assert store.count("log") == 0
    store.database.close()


@pytest.mark.parametrize("keep", [Retention(age_ms=800), Retention(ttl_ms=900)])
def test_streams_that_nobody_touches_are_emptied_in_time(store: Store, keep: Retention) -> None:
    for number in range(100):
        store.append(3, f"s{number}", keep)
    store.time_ms += 799
    assert store.tidy() == 0
    store.time_ms += 101
    store.tidy()
    assert store.count("log") == 0
    assert store.count("streams") == 100


def test_a_forgotten_stream_leaves_nothing_behind(store: Store) -> None:
    for number in range(100):
        store.append(3, f"s{number}", Retention(meta_ttl_ms=500))
    store.time_ms += 500
    store.tidy()
    assert [store.count(table) for table in ("log", "streams", "lineage")] == [0, 0, 0]


def test_the_keys_of_an_hour_are_dropped_together(store: Store) -> None:
    store.database.write([entry(key=str(number)) for number in range(100)])
    hour = store.time_ms // KEY_HOUR_MS
    assert store.count(f"keys_{hour}") == 100
    store.time_ms += KEY_HOUR_MS + Options().key_window_ms
    store.tidy()
    assert store.count("key_hours") == 0
    with pytest.raises(apsw.SQLError):
        store.count(f"keys_{hour}")


def test_reading_and_refusing_write_nothing(store: Store) -> None:
    store.append(1)
    log = store.path.with_name("store.db-wal")
    before = log.read_bytes()
    store.database.reader.heads(["none"], store.time_ms)
    store.database.reader.after("none", None, 10, 1_000, store.time_ms)
    store.database.reader.find("none", 0, store.time_ms)
    store.database.write([entry("none", transient=True), entry("none", bytes(100_000)), Trim("none", 5)])
    assert log.read_bytes() == before
    assert store.count("streams") == 1


@pytest.mark.parametrize(("stride", "most"), [(1_024, 1_024), (1, 1_000), (7, 3), (64, 2)])
def test_a_time_is_found_however_the_times_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stride: int, most: int
) -> None:
    """In runs, one at a time, hours apart, above a floor: by each time that is there, and beside it."""
    monkeypatch.setattr(streams, "LANDMARK_STRIDE", stride)
    monkeypatch.setattr(streams, "LANDMARKS_MAX", most)
    store = Store(tmp_path / "store.db")
    times: list[int] = []
    for count, wait_ms in ((1, 1), (1, 3_600_000), (37, 2), (1, 1), (1, 1), (300, 86_400_000), (2, 5)):
        store.append(count)
        times += [store.time_ms] * count
        store.time_ms += wait_ms
    for floor in (0, 1, 2, 63, 64, len(times) - 1, len(times)):
        store.database.write([Trim("s", floor)])
        for at_ms in {time_ms + beside for time_ms in times for beside in (-1, 0, 1)}:
            found = store.database.reader.find("s", at_ms, store.time_ms)
            assert found.offset == max(floor, bisect_left(times, at_ms)), (floor, at_ms)
    store.database.close()


def test_lineage_that_no_generation_needs_is_deleted(tmp_path: Path) -> None:
    for _ in range(6):
        store = Store(tmp_path / "store.db", generations_max=3)
        store.append(1)
        assert store.count("lineage") <= 3
        assert store.count("generations") <= 3
        store.database.close()


def test_the_log_is_begun_anew_after_a_checkpoint(store: Store) -> None:
    store.append(1_000)
    store.database.checkpoint()
    size = store.path.with_name("store.db-wal").stat().st_size
    for _ in range(5):
        store.append(500)
        store.database.checkpoint()
        assert store.database.wal_pages == 0
    assert store.path.with_name("store.db-wal").stat().st_size == size


def test_a_quiet_moment_is_used_for_a_checkpoint(store: Store) -> None:
    store.append(10)
    assert store.database.wal_pages > 0
    store.database.rest()
    assert store.database.wal_pages == 0


def test_a_closed_store_is_one_complete_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    store.append(10)
    store.database.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store.db", "store.db.witness"]
    connection = apsw.Connection(str(tmp_path / "store.db"))
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    connection.close()


@pytest.mark.parametrize("name", schema.ALWAYS)
def test_a_setting_that_does_not_hold_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(schema.ALWAYS, name, "nonsense")
    with pytest.raises(StoreRefused, match=f"does not accept {name}"):
        Store(tmp_path / "store.db")


def fill(store: Store, monkeypatch: pytest.MonkeyPatch, *, room_follows: bool) -> None:
    """Leave the database two pages of room; giving up the ballast makes more, or none."""
    connection = store.database._connection

    def grow() -> None:
        connection.execute("pragma max_page_count = 100000").fetchall()

    pages = schema.number(connection.execute("pragma page_count"))
    connection.execute(f"pragma max_page_count = {pages + 2}").fetchall()
    monkeypatch.setattr(store.database.disk, "fill", grow if room_follows else lambda: None)


def test_a_full_disk_in_between_leaves_a_refusal_what_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(1)
    fill(store, monkeypatch, room_follows=True)
    origin = object()
    refused = entry("s", expected=Position("unknown", 7), origin=origin)
    outcomes = store.database.write([refused, *[entry("t", data=b"x" * 50_000) for _ in range(40)]])
    assert [type(outcome) for outcome in outcomes] == [PositionConflict] + [Stored] * 40
    store.database.log.lift(origin, "s")  # as whoever is told of a refusal does
    [outcome] = store.database.write([entry("s", origin=origin)])
    assert type(outcome) is Stored


def test_a_disk_that_stays_full_stops_what_stands_behind_a_refused_message(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(1)
    origin = object()
    with monkeypatch.context() as full:
        fill(store, full, room_follows=False)
        outcomes = store.database.write([entry(data=b"x" * 50_000, origin=origin) for _ in range(40)])
        assert {type(outcome) for outcome in outcomes} == {StoreFull}
    store.database._connection.execute("pragma max_page_count = 100000").fetchall()
    [outcome] = store.database.write([entry(origin=origin)])
    assert type(outcome) is Unavailable
    store.database.log.lift(origin, "s")
    [outcome] = store.database.write([entry(origin=origin)])
    assert type(outcome) is Stored


def test_the_floor_that_readers_were_told_never_falls(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a stream that begins above the lower one would come to where its readers believe to stand."""
    for number in range(40):  # more than housekeeping looks at in one transaction
        store.append(1 + number, f"s{number}", Retention(count=1_000, meta_ttl_ms=1_000))
    store.time_ms += 5_000
    reader = store.database.reader
    told = reader.heads(["s39", "new"], store.time_ms).heads["new"].last
    assert told == 40
    with monkeypatch.context() as full:
        fill(store, full, room_follows=False)
        [outcome, *_] = store.database.write([entry("t", data=b"x" * 50_000) for _ in range(40)])
        assert type(outcome) is StoreFull
    store.database._connection.execute("pragma max_page_count = 100000").fetchall()
    assert reader.heads(["new"], store.time_ms).heads["new"].last == told
    [outcome] = store.database.write([entry("new")])
    assert isinstance(outcome, Stored)
    assert outcome.offset == told + 1


def test_a_time_that_stands_ahead_is_told_at_opening_with_its_cure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path / "store.db")
    store.time_ms = 10_000_000
    store.append(1)
    store.database.close()
    for behind_ms, told in ((60_000, False), (61_000, True)):
        caplog.clear()
        options = Options(now_ms=lambda: 10_000_000 - behind_ms, ballast_bytes=0, free_bytes_min=0)  # noqa: B023
        Database(store.path, options, None).close()
        assert ("stored 61 s ahead" in caplog.text and "Set the clock" in caplog.text) is told
