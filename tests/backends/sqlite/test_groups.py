"""How many bytes a group of streams holds is counted as the rows in the log say, whatever happens to them."""

from pathlib import Path
from random import Random

import pytest

from gapless.backends import Options
from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.log import Erase, Order, Trim
from gapless.backends.sqlite.schema import number, rows
from gapless.core.errors import LimitExceeded, StoreFull
from gapless.core.stream import Retention, Stored
from gapless.testing.conformance.places import entry
from tests.faults.stores import run

GROUP = {"group": "g", "group_bytes": 4_000}
RETENTIONS = [
    Retention(**GROUP),  # type: ignore[arg-type]
    Retention(count=4, **GROUP),  # type: ignore[arg-type]
    Retention(bytes=500, **GROUP),  # type: ignore[arg-type]
    Retention(age_ms=700, **GROUP),  # type: ignore[arg-type]
    Retention(ttl_ms=500, meta_ttl_ms=900, **GROUP),  # type: ignore[arg-type]
    Retention(group="h", group_bytes=2_000),
    Retention(count=3),
]
# What the rows of each group come to: those of a stream from its first row on, erased ones as they were.
TRUE_BYTES = (
    "select g.name, coalesce(sum(s.total - (select coalesce(min(before), s.total) from log l"
    " where l.stream = s.id)), 0) from retention_groups g left join streams s on s.keep_group = g.id"
    " group by g.id"
)


class Store:
    """A database with a clock of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.time_ms = 1_000
        self.open()

    def open(self) -> None:
        options = Options(now_ms=lambda: self.time_ms, ballast_bytes=0, free_bytes_min=0)
        self.database = Database(self.path, options, None)

    def reopen(self) -> None:
        self.database.close()
        self.open()

    def tidy(self) -> None:
        for _ in range(1_000):
            if not self.database.is_due():
                return
            self.database.write([])
        pytest.fail("housekeeping has no end")

    def counted(self) -> dict[str, int]:
        query = "select name, bytes from retention_groups"
        return dict(rows(self.database._connection.execute(query)))

    def true(self) -> dict[str, int]:
        return dict(rows(self.database._connection.execute(TRUE_BYTES)))


def order(random: Random) -> Order:
    name = f"s{random.randrange(12)}"
    chance = random.random()
    if chance < 0.08:
        return Trim(name, random.randrange(40))
    if chance < 0.16:
        return Erase(name, random.randrange(40))
    meta = b"{}" * random.randrange(2)
    return entry(name, bytes(random.randrange(200)), random.choice(RETENTIONS), meta=meta)


@pytest.mark.parametrize("seed", range(30))
def test_a_group_counts_what_its_streams_have_in_the_log(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    store = Store(tmp_path / "store.db")
    refused = 0
    for _ in range(60):
        outcomes = store.database.write([order(random) for _ in range(random.randrange(1, 30))])
        refused += sum(isinstance(outcome, LimitExceeded) for outcome in outcomes)
        assert store.counted() == store.true()
        assert all(size <= 4_000 for size in store.counted().values())
        store.time_ms += random.choice((0, 0, 10, 300))
        if random.random() < 0.05:
            store.reopen()
    assert refused > 0
    store.time_ms += 10_000
    for name in range(12):
        store.database.write([Trim(f"s{name}", 10**9)])
    store.tidy()
    assert store.counted() == store.true()
    assert set(store.counted().values()) == {0}
    store.database.close()


def test_dropped_rows_of_a_group_are_deleted_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    keep = Retention(count=100, group="g", group_bytes=10**6)
    for size in (100, 1, 1, 30, 5):
        store.database.write([entry(retention=keep) for _ in range(size)])
        assert store.database._connection.execute("select count(*) from log").fetchall() == [(100,)]
    store.database.close()


def test_a_group_that_is_full_of_dropped_rows_empties_while_appends_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    keep = Retention(group="g", group_bytes=50_000)
    for _ in range(5):
        store.database.write([entry(data=bytes(10), retention=keep) for _ in range(1_000)])
    store.database.write([Trim("s", 5_000)])
    refused = 0
    while isinstance(store.database.write([entry("t", bytes(50_000), keep)])[0], LimitExceeded):
        refused += 1
        assert refused < 100
    assert refused > 0
    assert store.counted() == {"g": 50_000}
    store.database.close()


def test_a_refusal_in_a_full_group_costs_little(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    keep = Retention(group="g", group_bytes=400_000)
    orders = [entry(f"s{number}", bytes(1_000), keep) for number in range(1_000)]
    made: list[int] = []
    streams = store.database.log._streams
    retain = streams.retain
    streams.retain = lambda stream, now_ms: (made.append(1), retain(stream, now_ms))[1]  # type: ignore[method-assign, func-returns-value]
    outcomes = store.database.write(orders)
    assert [type(outcome) for outcome in outcomes] == [Stored] * 400 + [LimitExceeded] * 600
    assert len(made) < 3 * len(orders)
    store.database.close()


def test_a_group_is_as_full_as_before_after_a_transaction_that_did_not_hold(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    keep = Retention(count=2, group="g", group_bytes=10**7)
    store.database.write([entry(data=bytes(100), retention=keep)])
    connection = store.database._connection
    pages = number(connection.execute("pragma page_count"))
    connection.execute(f"pragma max_page_count = {pages + 2}").fetchall()
    new = Retention(group="new", group_bytes=10**7)
    orders = [entry(data=bytes(50_000), retention=keep) for _ in range(40)]
    outcomes = store.database.write([*orders, entry("t", retention=new)])
    assert {type(outcome) for outcome in outcomes} == {StoreFull}
    connection.execute("pragma max_page_count = 1000000").fetchall()
    store.database.disk.is_full = False
    assert store.counted() == store.true() == {"g": 100}
    outcomes = store.database.write([entry(data=b"x", retention=keep), entry("t", b"yz", new)])
    assert [type(outcome) for outcome in outcomes] == [Stored, Stored]
    assert store.counted() == store.true() == {"g": 101, "new": 2}
    store.database.close()


def test_rows_that_made_room_in_vain_are_not_missed(tmp_path: Path) -> None:
    """Or a check finds them missing, and a backup of this moment is refused as damaged."""
    store = Store(tmp_path / "store.db")
    keep = Retention(age_ms=800, group="g", group_bytes=1_000)
    store.database.write([entry(data=bytes(100), retention=keep)] * 5)
    store.time_ms += 810
    [outcome] = store.database.write([entry(data=bytes(1_001), retention=keep)])
    assert type(outcome) is LimitExceeded
    assert run(store.database.check()).findings == []
    store.database.close()
