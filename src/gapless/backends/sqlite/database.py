"""The file: opened, written in transactions, checkpointed and closed. Used by the writer's thread alone."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from zlib import crc32

import apsw

from gapless.backends import Options, Slices, store_clock
from gapless.backends.sqlite import opening, swapping
from gapless.backends.sqlite.care import copy, rewrite
from gapless.backends.sqlite.checking import check
from gapless.backends.sqlite.disk import Disk
from gapless.backends.sqlite.log import Log, Order, Outcome
from gapless.backends.sqlite.reader import Reader
from gapless.backends.sqlite.schema import PAGE_BYTES, number
from gapless.backends.sqlite.streams import Streams
from gapless.backends.sqlite.witness import Witness
from gapless.backends.sqlite.work import Undo, Work
from gapless.core.errors import StoreError, StoreFull, StoreRefused
from gapless.core.limits import CLOCK_AHEAD_MS
from gapless.ports import Checked, Compacted

__all__ = ["Database"]

log: Final = logging.getLogger("gapless.store")

# Rows deleted in one transaction: a few beside appends, more when nothing else waits.
DELETED_ROWS = 64
DELETED_ROWS_IDLE = 512
# Transactions that are undone for what was refused half done, before the rest is taken apart.
UNDOS_MAX = 8


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
        self.path = path
        self._options = options
        self._vfs = vfs
        self._clock = options.now_ms or store_clock()
        self._time_ms = 0
        self.woken: set[str] = set()
        self.disk = Disk(path, options.ballast_bytes, options.free_bytes_min)
        self._witness = Witness(opening.beside(path, ".witness"))
        try:
            swapping.remove_leftovers(path)
            self._open_with_room()
        except (apsw.Error, OSError) as error:
            self._witness.close()
            raise opening.refusal(path, error) from error
        except BaseException:
            self._witness.close()
            raise
        self.durability = self.disk.durability()

    def _open_with_room(self) -> None:
        epoch = self._options.token()
        try:
            self._open(epoch)
        except apsw.FullError:
            self.disk.fill()
            self._open(epoch)

    def _open(self, epoch: str, *, is_new: bool = True) -> None:
        path, options = self.path, self._options
        found = opening.check_files(path)
        self._connection = opening.connect(path, self._vfs, (crc32(epoch.encode()) >> 3) + 1)
        self.epoch = epoch
        self.is_open = True
        try:
            opening.recover(self._connection, path, found)
            self._wal_pages = 0
            self._connection.set_wal_hook(self._see_wal)
            if is_new:
                generations = opening.begin_generation(
                    self._connection, epoch, self._witness.seen, options.generations_max
                )
            else:
                generations = opening.known_generations(self._connection)
                if generations[-1].id != epoch:
                    raise StoreRefused(f"{path} is not the file that was open")
            streams = Streams(self._connection.cursor())
            self.reader = Reader(self._connection, streams, generations)
            self.log = Log(self._connection.cursor(), streams, options, generations, self._clock())
            self._time_ms = max(self._time_ms, self.log.time_ms)
            self._warn_of_time()
            self._seen_seq = self.log.seq
            self._witness.write(self.epoch, self.log.seq)
            self._witness.sync()
            self.disk.remember()
            self.disk.take_ballast()
        except BaseException:
            self._let_go()
            raise
        self._is_stuck = False  # housekeeping finds no room even without the ballast
        # The first transaction after a checkpoint raises it (wal.py); 0: this is not the first.
        self._user_version = 0 if is_new else self._next_user_version()

    def _warn_of_time(self) -> None:
        ahead_ms = self.log.time_ms - self._clock()
        if ahead_ms > CLOCK_AHEAD_MS:
            log.warning(
                "%s: the last message was stored %d s ahead of this machine's clock, and the store's time"
                " never falls. Until the clock is there, time stands still in the store: nothing falls due by"
                " age (history_ttl, history_age), idempotency keys are held on, new messages bear that time."
                " Set the clock if it is wrong now; if it was wrong then, wait, or restore an earlier backup",
                self.path,
                ahead_ms // 1_000,
            )

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
        if self.disk.is_short():
            self.disk.check_room(self._unused_bytes())
        outcomes = self._carry_out(orders)
        self.disk.check_same()
        if self.log.seq != self._seen_seq:
            self._seen_seq = self.log.seq
            self._witness.write(self.epoch, self.log.seq)
        return outcomes

    def _carry_out(self, orders: Sequence[Order]) -> list[Outcome]:
        """Carry out all, anew without what was refused; what is refused too often, in ever smaller parts."""
        for _ in range(UNDOS_MAX):
            try:
                return self._transact_with_room(orders)
            except Undo:
                self._undo()
        if len(orders) > 1:
            at = len(orders) // 2
            return self._carry_out(orders[:at]) + self._carry_out(orders[at:])
        assert isinstance(orders[0], Work)
        halves = orders[0].halves()
        assert halves is not None  # one thing is refused once
        answers: list[Outcome] = []
        for half in halves:
            [told] = self._carry_out([half])
            answers += told if isinstance(told, list) else [told] * half.items
        return [answers]

    def _transact_with_room(self, orders: Sequence[Order]) -> list[Outcome]:
        try:
            outcomes = self._transact(orders)
        except apsw.FullError:
            self.disk.fill()
            try:
                outcomes = self._transact(orders)
            except apsw.FullError:
                self._is_stuck = True
                self.log.stop(orders)
                return [StoreFull("the disk is full; make room")] * len(orders)
        self._is_stuck = False
        return outcomes

    def _transact(self, orders: Sequence[Order]) -> list[Outcome]:
        connection = self._connection
        connection.execute("begin immediate")
        try:
            budget = DELETED_ROWS if orders else DELETED_ROWS_IDLE
            outcomes = self.log.write(orders, self.now_ms(), budget=budget, is_full=self.disk.is_full)
            if self._user_version:
                connection.execute(f"pragma user_version = {self._user_version}")
            connection.execute("commit")
        except apsw.FullError:
            # A clean rollback: nothing of it is on the disk, and nothing will be.
            self._undo()
            raise
        self._user_version = 0
        self.woken |= self.log.queues.take_woken()
        return outcomes

    def _undo(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("rollback")
        self.log.reload()

    def take_woken(self) -> set[str]:
        """Return the queues whose jobs may have become claimable since it was asked last."""
        woken, self.woken = self.woken, set()
        return woken

    def _unused_bytes(self) -> int:
        return number(self._connection.execute("pragma freelist_count")) * PAGE_BYTES

    def rest(self) -> None:
        """Use a quiet moment."""
        self._is_stuck = False
        self.disk.rest()
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
            self.disk.fill()

    def _checkpoint(self, mode: int) -> None:
        if self._wal_pages:
            opening.seal(self._connection)
        self._connection.wal_checkpoint(mode=mode)
        self._wal_pages = 0
        self._user_version = self._next_user_version()

    def _next_user_version(self) -> int:
        return number(self._connection.execute("pragma user_version")) + 1

    def close(self) -> None:
        """Leave one complete file behind.

        Raises:
            apsw.Error, OSError: the file could not be completed; its -wal has all that is missing.
        """
        self._complete()
        self._witness.close()

    def _complete(self) -> None:
        try:
            if self.is_due():
                self.write([])  # readers may have been told of it
            self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        except apsw.FullError:
            pass  # what is in the -wal is safe there
        self.is_open = False
        self._connection.close()
        self._witness.sync()

    def abandon(self) -> None:
        """Let go of the file as it is, after a failure: the next opening judges what is on the disk."""
        self._let_go()
        self._witness.close()

    def _let_go(self) -> None:
        self.is_open = False
        self._connection.close(True)

    # Care ---------------------------------------------------------------------------------

    def backup(self, to: Path) -> Slices[None]:
        """Copy the file as it stands at the end; see `care.copy`."""
        return copy(self._connection, to, self.disk.spare_bytes)

    def check(self) -> Slices[Checked]:
        """Read every row; see `checking.check`."""
        return check(self._connection, whole=False)

    def compact(self) -> Slices[Compacted]:
        """Go on with a file that has no unused room. It is the same store, of the same generation.

        Raises:
            StoreError: it cannot be; the store goes on as it was, if the file is open.
        """
        before_bytes = number(self._connection.execute("pragma page_count")) * PAGE_BYTES
        yield 0, 1
        self.write([])  # what readers were told of has to be in the new file
        if self._is_stuck:
            raise StoreFull("the disk is full; make room")
        smaller = opening.beside(self.path, f"{swapping.PARTIAL}compact")
        rewrite(self._connection, smaller, self.disk.spare_bytes)
        self._replace(smaller, self.epoch, is_new=False)
        swapping.let_go(self.path, swapping.FORMER)
        return Compacted(before_bytes, self.path.stat().st_size)

    def restore(self, source: Path, *, keep: bool) -> Slices[None]:
        """Go on with the file `source`, which was checked, as a new generation.

        Raises:
            StoreError: it cannot be; the store goes on as it was, if the file is open.
        """
        yield 0, 1
        self._replace(source, self._options.token(), is_new=True)
        if not keep:
            swapping.let_go(self.path)

    def _replace(self, new: Path, epoch: str, *, is_new: bool) -> None:
        former, former_epoch = self.log, self.epoch
        try:
            self._complete()
            self._open_replaced(new, epoch, is_new=is_new)
        except (apsw.Error, OSError) as error:
            self._open(former_epoch, is_new=False)
            raise opening.refusal(self.path, error) from error
        except StoreError:
            self._open(former_epoch, is_new=False)
            raise
        finally:
            self.log.go_on_from(former)
            swapping.remove(new)

    def _open_replaced(self, new: Path, epoch: str, *, is_new: bool) -> None:
        former = swapping.BEFORE if is_new else swapping.FORMER
        opening.prepare(new)
        swapping.place(new, self.path, former)
        try:
            self._open(epoch, is_new=is_new)
        except BaseException:
            swapping.put_back(self.path, former)
            raise
