"""The file survives a power cut at any write: all that was acknowledged is there, without a false alarm."""

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import apsw
import pytest

from gapless.backends import Options
from gapless.backends.sqlite import schema
from gapless.backends.sqlite.compacting import CompactKeys
from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.log import Order, Trim
from gapless.core.errors import StoreError
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX
from gapless.core.lineage import Fate
from gapless.core.stream import Entry, Position, Retention, Stored
from tests.backends.crash_vfs import Disk

SEEDS = 400
SEEDS_PER_TEST = 50
LIVES = 4
RETENTIONS = {
    "all": Retention(),
    "some": Retention(count=7),
    "few": Retention(bytes=900),
    "state": Retention(),  # compacted to the last message of each key
}
KEYS = ["i0", "i1", "i2"]


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    hook, sys.unraisablehook = (
        sys.unraisablehook,
        lambda _: None,
    )  # SQLite does not pass on why a close failed
    yield Disk("crash")
    sys.unraisablehook = hook


def key_of(data: bytes) -> str | None:
    """The key of a message, which follows from its number."""
    number = int(data.split()[0])
    return KEYS[number % 3] if number % 4 else None


class Loss(AssertionError):
    """A promise was broken."""


class History:
    """What was acknowledged, over several lives of one store."""

    def __init__(self, path: Path, disk: Disk, random: Random) -> None:
        self.path, self.disk, self.random = path, disk, random
        self.epochs: list[str] = []
        self.acknowledged: dict[str, dict[int, Entry]] = {name: {} for name in RETENTIONS}
        self.keyed: list[tuple[Entry, Stored]] = []
        self.positions: list[tuple[str, Position]] = []
        self.trimmed = 0
        self.number = 0

    def open(self) -> Database:
        options = Options(
            now_ms=lambda: 1_000,
            token=lambda: f"{self.random.getrandbits(64):016x}",
            ballast_bytes=0,
            free_bytes_min=0,
        )
        database = Database(self.path, options, self.disk.name)
        self.epochs.append(database.epoch)
        return database

    def live(self) -> None:
        """Work until the power goes off."""
        self.disk.cut_at(self.random.randrange(1, 250))
        witness = self.path.with_name(self.path.name + ".witness")
        synced = witness.read_bytes() if witness.exists() else None
        database = None
        try:
            database = self.open()
            synced = witness.read_bytes()
            self.check(database)
            while True:
                self.step(database)
        except (StoreError, apsw.IOError):
            pass
        if database:
            database.abandon()
        self.disk.lose_power(self.random)
        if synced and self.random.random() < 0.5:
            witness.write_bytes(synced)

    def step(self, database: Database) -> None:
        chance = self.random.random()
        if chance < 0.1:
            database.checkpoint()
        elif chance < 0.2:
            through = self.trimmed + self.random.randrange(4)
            database.write([Trim("all", through)])
            self.trimmed = max(self.trimmed, through)
        elif chance < 0.3:
            database.write([CompactKeys("state", self.random.randrange(self.number + 1))])
        else:
            self.append(database)

    def append(self, database: Database) -> None:
        orders: list[Order] = []
        for _ in range(self.random.randrange(1, 8)):
            self.number += 1
            name = self.random.choice(list(RETENTIONS))
            key = f"k{self.number}" if self.random.random() < 0.2 else None
            data = b"%d " % self.number + bytes(self.random.randrange(400))
            orders.append(Entry(name, data, RETENTIONS[name], key=key, keyed=key_of(data)))
        for order, outcome in zip(orders, database.write(orders), strict=True):
            assert isinstance(order, Entry)
            assert isinstance(outcome, Stored)
            self.acknowledged[order.stream][outcome.offset] = order
            self.positions.append((order.stream, Position(outcome.epoch, outcome.offset)))
            if order.key:
                self.keyed.append((order, outcome))

    def check(self, database: Database) -> None:
        """Hold the store against what was acknowledged."""
        generations = database.reader.generations()
        known = [generation.id for generation in generations]
        if [epoch for epoch in known if epoch in self.epochs] != self.epochs:
            raise Loss(f"generations {known}, but {self.epochs} were in use")
        if any(generation.fate is not Fate.CLEAN for generation in generations):
            raise Loss("a false alarm, or something is lost")
        for name, entries in self.acknowledged.items():
            page = database.reader.after(name, None, PAGE_MESSAGES_MAX, PAGE_BYTES_MAX, 1_000)
            kept = {message.offset: message.data for message in page.messages}
            if name != "state" and list(kept) != list(range(page.floor + 1, page.head + 1)):
                raise Loss(f"{name}: offsets {list(kept)} above {page.floor}")
            self.check_keys(database, name, kept)
            if entries and page.head < max(entries):
                raise Loss(f"{name}: ends at {page.head}, but {max(entries)} was acknowledged")
            for offset, entry in entries.items():
                if kept.get(offset, entry.data) != entry.data:
                    raise Loss(f"{name}: {offset} is another message")
        floor = database.reader.heads(["all"], 1_000).heads["all"].floor
        if not floor <= self.trimmed + 3:
            raise Loss("something was trimmed that nobody trimmed")
        self.check_positions(database)

    def check_keys(self, database: Database, name: str, kept: dict[int, bytes]) -> None:
        """Each key finds its messages, and nothing is gone but what was dropped or superseded."""
        ends: dict[str | None, int] = {}
        for key in KEYS:
            page = database.reader.after(name, None, PAGE_MESSAGES_MAX, PAGE_BYTES_MAX, 1_000, key)
            found = [message.offset for message in page.messages]
            if found != [offset for offset, data in kept.items() if key_of(data) == key]:
                raise Loss(f"{name}: {key} finds {found} of {kept}")
            ends[key] = database.reader.last_keyed(name, key, 1_000)
            if ends[key] != max(found, default=0):
                raise Loss(f"{name}: {key} ends at {ends[key]}, not with {found}")
        floor = database.reader.heads([name], 1_000).heads[name].floor
        for offset, entry in self.acknowledged[name].items():
            if offset > floor and offset not in kept and offset >= ends.get(entry.keyed, 0):
                raise Loss(f"{name}: {offset} with key {entry.keyed} is gone; the keys end at {ends}")

    def check_positions(self, database: Database) -> None:
        for entry, stored in self.random.sample(self.keyed, min(3, len(self.keyed))):
            [again] = database.write([entry])
            if again != Stored(stored.epoch, stored.offset, stored.time_ms, fresh=False):
                raise Loss(f"the key {entry.key} is forgotten")
        for name, position in self.random.sample(self.positions, min(5, len(self.positions))):
            if position.offset >= database.reader.heads([name], 1_000).heads[name].floor:
                database.reader.after(name, position, 1, 1, 1_000)


def checked(database: Database) -> list[str]:
    """What a check of the whole file finds."""
    slices = database.check()
    while True:
        try:
            next(slices)
        except StopIteration as end:
            return list(end.value.findings)


def lives(folder: Path, disk: Disk, seed: int) -> None:
    """Let one store lose power a few times.

    Raises:
        Loss: something acknowledged is gone, or a sound store was refused.
    """
    disk.images.clear()
    history = History(folder / "store.db", disk, Random(seed))
    for _ in range(LIVES):
        history.live()
    try:
        database = history.open()
        history.check(database)
        if findings := checked(database):
            raise Loss(f"seed {seed}: {findings}")
        database.close()
    except StoreError as error:
        raise Loss(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("start", range(0, SEEDS, SEEDS_PER_TEST))
def test_everything_acknowledged_survives_a_power_cut_at_any_write(
    start: int, tmp_path: Path, disk: Disk
) -> None:
    for seed in range(start, start + SEEDS_PER_TEST):
        folder = tmp_path / str(seed)
        folder.mkdir()
        lives(folder, disk, seed)


def test_a_store_that_does_not_sync_each_commit_is_caught(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(schema.ALWAYS, "synchronous", 1)
    caught = 0
    for seed in range(20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            lives(folder, disk, seed)
        except Loss:
            caught += 1
    assert caught > 10
