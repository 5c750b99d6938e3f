"""The file: opened, written in transactions, checkpointed and closed. Used by the writer's thread alone."""

from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import apsw

from gapless.backends import Options, store_clock
from gapless.backends.sqlite import opening
from gapless.backends.sqlite.disk import Disk
from gapless.backends.sqlite.log import Log, Order, Outcome
from gapless.backends.sqlite.reader import Reader
from gapless.backends.sqlite.schema import PAGE_BYTES, number
from gapless.backends.sqlite.streams import Streams
from gapless.backends.sqlite.witness import Witness
from gapless.core.errors import StoreFull, StoreRefused

__all__ = ["Database"]

# Rows deleted in one transaction: a few beside appends, more when nothing else waits.
DELETED_ROWS = 64
DELETED_ROWS_IDLE = 512


class Database:
    """One file, open for this process alone."""

    def __init__(self, path: Path, options: Options, vfs: str | None) -> None:
        """Open the file, or make it, and begin a new generation.

        Raises:
            StoreRefused: it may not be opened as it is; the message says why and what to do.
        """
        path = path.absolute()
        if not path.parent.is_dir():
            raise StoreRefused(f"{path.parent} is no folder: make it first")
        self._clock = options.now_ms or store_clock()
        self._disk = Disk(path, options.ballast_bytes, options.free_bytes_min)
        self._witness = Witness(opening.beside(path, ".witness"))
        try:
            self._open_with_room(path, options, vfs)
        except (apsw.Error, OSError) as error:
            self._witness.close()
            raise opening.refusal(path, error) from error
        except BaseException:
            self._witness.close()
            raise
        self.durability = self._disk.durability()

    def _open_with_room(self, path: Path, options: Options, vfs: str | None) -> None:
        try:
            self._open(path, options, vfs)
        except apsw.FullError:
            self._disk.fill()
            self._open(path, options, vfs)

    def _open(self, path: Path, options: Options, vfs: str | None) -> None:
        found = opening.check_files(path)
        self.epoch = options.token()
        self._connection = opening.connect(path, vfs, (crc32(self.epoch.encode()) >> 3) + 1)
        try:
            opening.recover(self._connection, path, found)
            self._wal_pages = 0
            self._connection.set_wal_hook(self._see_wal)
            generations = opening.begin_generation(
                self._connection, self.epoch, self._witness.seen, options.generations_max
            )
            streams = Streams(self._connection.cursor())
            self.reader = Reader(self._connection, streams, generations)
            self.log = Log(self._connection.cursor(), streams, options, generations)
            self._time_ms = self.log.time_ms
            self._seen_seq = self.log.seq
            self._witness.write(self.epoch, self.log.seq)
            self._witness.sync()
            self._disk.remember()
            self._disk.take_ballast()
        except BaseException:
            self._connection.close(True)
            raise
        self._is_stuck = False  # housekeeping finds no room even without the ballast
        # The first transaction after a checkpoint raises it (wal.py); 0: this is not the first.
        self._user_version = 0

    def _see_wal(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    @property
    def wal_pages(self) -> int:
        """How many pages wait for a checkpoint."""
        return self._wal_pages

    def now_ms(self) -> int:
        """Return the store's time, which never falls."""
        self._time_ms = max(self._time_ms, self._clock())
        return self._time_ms

    def is_due(self) -> bool:
        """Tell whether `write` has housekeeping to do, and can."""
        return not self._is_stuck and self.log.is_due(self.now_ms())

    def write(self, orders: Sequence[Order]) -> list[Outcome]:
        """Carry out orders and what housekeeping is due, in one transaction that is on the disk afterwards.

        Raises:
            apsw.Error, OSError, StoreFailed: whether it holds is unknown, and nothing may follow it.
        """
        if self._disk.is_short():
            self._disk.check_room(self._unused_bytes())
        try:
            outcomes = self._transact(orders)
        except apsw.FullError:
            self._disk.fill()
            try:
                outcomes = self._transact(orders)
            except apsw.FullError:
                self._is_stuck = True
                return [StoreFull("the disk is full; make room")] * len(orders)
        self._is_stuck = False
        self._disk.check_same()
        if self.log.seq != self._seen_seq:
            self._seen_seq = self.log.seq
            self._witness.write(self.epoch, self.log.seq)
        return outcomes

    def _transact(self, orders: Sequence[Order]) -> list[Outcome]:
        connection = self._connection
        connection.execute("begin immediate")
        try:
            budget = DELETED_ROWS if orders else DELETED_ROWS_IDLE
            outcomes = self.log.write(orders, self.now_ms(), budget=budget, is_full=self._disk.is_full)
            if self._user_version:
                connection.execute(f"pragma user_version = {self._user_version}")
            connection.execute("commit")
        except apsw.FullError:
            # A clean rollback: nothing of it is on the disk, and nothing will be.
            if connection.in_transaction:
                connection.execute("rollback")
            self.log.reload()
            raise
        self._user_version = 0
        return outcomes

    def _unused_bytes(self) -> int:
        return number(self._connection.execute("pragma freelist_count")) * PAGE_BYTES

    def rest(self) -> None:
        """Use a quiet moment."""
        self._is_stuck = False
        if self._wal_pages:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Bring the `-wal` into the database, and begin it anew.

        Raises:
            apsw.Error: it failed; nothing may follow it.
        """
        try:
            self._checkpoint(apsw.SQLITE_CHECKPOINT_RESTART)
        except apsw.FullError:
            self._disk.fill()

    def _checkpoint(self, mode: int) -> None:
        if self._wal_pages:
            opening.seal(self._connection)
        self._connection.wal_checkpoint(mode=mode)
        self._wal_pages = 0
        self._user_version = number(self._connection.execute("pragma user_version")) + 1

    def close(self) -> None:
        """Leave one complete file behind.

        Raises:
            apsw.Error, OSError: the file could not be completed; its -wal has all that is missing.
        """
        try:
            if self.is_due():
                self.write([])  # readers may have been told of it
            self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        except apsw.FullError:
            pass  # what is in the -wal is safe there
        self._connection.close()
        self._witness.sync()
        self._witness.close()

    def abandon(self) -> None:
        """Let go of the file as it is, after a failure: the next opening judges what is on the disk."""
        self._connection.close(True)
        self._witness.close()
