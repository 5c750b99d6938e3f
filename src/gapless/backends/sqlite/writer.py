"""The thread that owns the file: natural group commit.

There is no timer: a commit takes whatever was queued while the one before it was on its way to
the disk. Answers reach the loop in one callback per commit. Reads are served between commits, a few
at a time.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw
from msgspec import Struct

from gapless.backends import Options, Slices
from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.log import Order, Outcome
from gapless.backends.sqlite.reader import Reader
from gapless.core.errors import GaplessError, StoreDamaged, StoreError, StoreFailed
from gapless.core.limits import PAGE_MESSAGES_MAX
from gapless.core.stream import Page

__all__ = ["Ask", "Chore", "Lift", "Listener", "Queued", "Writer"]

# Readers served between two commits: neither may wait for the other for long.
ASKS_PER_TURN = 16
# Without work the writer looks after the file so often.
IDLE_MS = 1_000
# A queue that is shorter lets a checkpoint go first.
SHORT_QUEUE = 256
RECENT_COMMITS = 1_024


class Lift(Struct, frozen=True):
    """An origin was told of its refused entry: what it queues from now on is not behind that."""

    origin: Any
    stream: str


# Orders of one call, how many they and how many bytes count in the queue, and who waits: a future, or `Done`.
Queued = tuple[Sequence[Order] | Lift, int, int, Any]
# A question of a reader, and who waits for the answer.
Ask = tuple[Callable[[Reader, int], Any], "asyncio.Future[Any]"]


class Chore:
    """Care of the file, done in slices between commits; `told` hears on the loop how far it is."""

    def __init__(
        self,
        begin: Callable[[Database], Slices[Any]],
        future: "asyncio.Future[Any]",
        told: Callable[[int, int], object],
    ) -> None:
        self.begin = begin
        self.future = future
        self.told = told
        self.slices: Slices[Any] | None = None


class Listener(NamedTuple):
    """What the writer calls on the loop; and in its own thread, when that loop has ended: `forsaken`."""

    opened: Callable[[Database | BaseException], None]
    committed: Callable[[list[Queued], list[Outcome], set[str]], None]
    answered: Callable[[list[tuple[Ask, Any]]], None]
    cared: Callable[[Chore, str, Any], None]
    ended: Callable[[list[Queued], StoreError | None], None]
    forsaken: Callable[[], None]


class Writer:
    """One thread, one connection. The methods are for the loop's thread, but for those with an underscore."""

    def __init__(self, options: Options, listener: Listener) -> None:
        self._options = options
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self.orders: deque[Queued] = deque()
        self.asks: deque[Ask] = deque()
        self.chores: deque[Chore] = deque()
        self._taken: list[Queued] = []
        self._is_idle = False
        self._is_closing = False
        self._wake = threading.Event()
        self.commits = self.entries = self.entries_max = 0
        self.commit_ns_sum = self.commit_ns_max = 0
        self.recent_ns: deque[int] = deque(maxlen=RECENT_COMMITS)

    def start(self, path: Path, vfs: str | None) -> None:
        """Open the file in a thread of its own, and serve."""
        self._thread = threading.Thread(
            target=self._run, args=(path, vfs), name="gapless-sqlite", daemon=True
        )
        self._thread.start()

    def order(self, queued: Queued) -> None:
        """Have orders carried out, after those before them and in one commit."""
        self.orders.append(queued)
        if self._is_idle:
            self._wake.set()

    def ask(self, ask: Ask) -> None:
        """Have a question answered, after the orders whose outcome is known."""
        self.asks.append(ask)
        if self._is_idle:
            self._wake.set()

    def care(self, chore: Chore) -> None:
        """Have the file cared for, after the chores before it."""
        self.chores.append(chore)
        if self._is_idle:
            self._wake.set()

    def finish(self) -> None:
        """End once everything queued is done."""
        self._is_closing = True
        self._wake.set()

    def join(self) -> None:
        """Wait for the thread, which has said that it ends."""
        self._thread.join()

    def _run(self, path: Path, vfs: str | None) -> None:
        try:
            database = Database(path, self._options, vfs)
        except BaseException as error:
            self._post(self._listener.opened, error)
            return
        end: StoreError | None = None
        try:
            self._post(self._listener.opened, database)
            self._serve(database)
            self._give_up_chores()
            if self._loop.is_closed():
                self._listener.forsaken()
            database.close()
        except BaseException as error:
            end = error if isinstance(error, StoreError) else StoreFailed(f"the store had to close: {error}")
            end.__cause__ = error
            self._give_up_chores()
            database.abandon()
        self._post(self._listener.ended, self._taken, end)

    def _post(self, callback: Callable[..., object], *told: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *told)
        except RuntimeError:
            # The loop is closed, and nobody is left who could be told.
            self._is_closing = True

    def _serve(self, database: Database) -> None:
        while not (self._is_closing and not self.orders and not self.asks):
            self._wait(database)
            self._taken = self._take(database)
            if self._taken:
                self._commit(database)
            elif database.is_due():
                database.write([])
            self._answer(database)
            pages, disk = database.wal_pages, database.disk
            if pages >= disk.wal_pages_max or (pages >= disk.wal_pages and len(self.orders) < SHORT_QUEUE):
                database.checkpoint()
            if self.chores:
                self._care(database, self.chores[0])

    def _wait(self, database: Database) -> None:
        if self.orders or self.asks or self.chores or self._is_closing or database.is_due():
            return
        self._is_idle = True
        # Looked at once more: what was queued before the flag was seen has woken nobody.
        if not (self.orders or self.asks or self.chores) and not self._wake.wait(IDLE_MS / 1_000):
            database.rest()
            if self._loop.is_closed():
                self._is_closing = True
        self._is_idle = False
        self._wake.clear()

    def _take(self, database: Database) -> list[Queued]:
        taken: list[Queued] = []
        count = size = 0
        entries_max, bytes_max = self._options.commit_entries_max, self._options.commit_bytes_max
        while self.orders and count < entries_max and size < bytes_max:
            queued = self.orders.popleft()
            orders = queued[0]
            if isinstance(orders, Lift):
                if taken:
                    self.orders.appendleft(queued)
                    break
                database.log.lift(orders.origin, orders.stream)
            else:
                taken.append(queued)
                count += queued[1]
                size += queued[2]
        return taken

    def _commit(self, database: Database) -> None:
        start_ns = self._options.elapsed_ns()
        together: list[Order] = []
        for orders, *_ in self._taken:
            assert not isinstance(orders, Lift)
            together += orders
        outcomes = database.write(together)
        commit_ns = self._options.elapsed_ns() - start_ns
        self.commits += 1
        self.entries += len(together)
        self.entries_max = max(self.entries_max, len(together))
        self.commit_ns_sum += commit_ns
        self.commit_ns_max = max(self.commit_ns_max, commit_ns)
        self.recent_ns.append(commit_ns)
        self._post(self._listener.committed, self._taken, outcomes, database.take_woken())
        self._taken = []

    def _answer(self, database: Database) -> None:
        answers: list[tuple[Ask, Any]] = []
        messages = 0
        while self.asks and len(answers) < ASKS_PER_TURN and messages < PAGE_MESSAGES_MAX:
            ask = self.asks.popleft()
            question, future = ask
            if future.cancelled():
                continue
            try:
                answer = question(database.reader, database.now_ms())
            except GaplessError as error:
                answer = error
            except apsw.Error as error:
                answer = StoreDamaged(f"SQLite cannot read the file: {error}")
            answers.append((ask, answer))
            messages += len(answer.messages) if isinstance(answer, Page) else 0
        if answers:
            self._post(self._listener.answered, answers)

    def _care(self, database: Database, chore: Chore) -> None:
        answer: Any
        try:
            if chore.slices is None:
                chore.slices = chore.begin(database)
            if not chore.future.cancelled():
                self._post(chore.told, *next(chore.slices))
                return
            chore.slices.close()
            answer = None
        except StopIteration as end:
            answer = end.value
        except GaplessError as error:
            answer = error
        if not database.is_open:
            raise StoreFailed(f"neither the new file nor the former one could be opened: {answer}")
        self.chores.popleft()
        self._post(self._listener.cared, chore, database.epoch, answer)

    def _give_up_chores(self) -> None:
        for chore in self.chores:
            if chore.slices is not None:
                chore.slices.close()
