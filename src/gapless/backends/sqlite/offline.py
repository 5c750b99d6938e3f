"""Care of a file that no server has open."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import apsw

from gapless.backends import Options, Slices
from gapless.backends.sqlite import opening, schema, swapping
from gapless.backends.sqlite.care import copy
from gapless.backends.sqlite.checking import check
from gapless.backends.sqlite.database import Database
from gapless.backends.sqlite.opening import beside
from gapless.backends.sqlite.witness import Witness, fate
from gapless.core.errors import ConfigError, StoreError, StoreRefused
from gapless.core.lineage import Fate
from gapless.ports import Checked, Compacted

__all__ = ["Offline", "approve", "in_thread", "reading"]

Answer = TypeVar("Answer")

# For how long idempotency keys are held is the server's to say: none goes here.
KEYS_KEPT_MS = 1 << 62


class Offline:
    """A store that is a file, and that no process has open."""

    def __init__(self, address: str) -> None:
        """Take the store's URL without its scheme.

        Raises:
            ConfigError: it names no file.
        """
        if not address:
            raise ConfigError("the store's URL names no file; write sqlite:path.db")
        self._path = Path(address).absolute()

    def backup(self, to: str) -> Slices[None]:
        """Copy the store into one complete file, which is on the disk afterwards.

        Raises:
            StoreRefused: the store is in use, or may not be read as it is.
            StoreError: the file cannot be written.
        """
        target = Path(to)
        with _held(self._path), reading(self._path) as connection:
            yield from copy(connection, target, lambda: _free_bytes(target.parent))
        swapping.sync(target)

    def check(self) -> Slices[Checked]:
        """Read every row and let SQLite check every page.

        Raises:
            StoreRefused: the store is in use, or cannot even be opened.
        """
        with _held(self._path), reading(self._path) as connection:
            return (yield from check(connection, whole=True))

    def compact(self) -> Slices[Compacted]:
        """Give unused room back to the file system.

        Raises:
            StoreRefused: the store is in use, or may not be opened as it is.
            StoreFull: there is no room for the smaller file beside the present one.
        """
        _must_exist(self._path)
        database = Database(self._path, Options(key_window_ms=KEYS_KEPT_MS), None)
        try:
            answer = yield from database.compact()
            database.close()
        except BaseException:
            database.abandon()
            raise
        return answer

    def restore(self, source: str, *, keep: bool) -> Slices[Checked]:
        """Copy `source`, with what is in its log, check the copy, and put it in the store's place.

        The witness stays: readers who were further than the backup are told so.

        Raises:
            StoreRefused: the store is in use, or `source` is damaged, newer, or no store.
            StoreFull: there is no room for the copy.
        """
        origin = Path(source)
        if not self._path.parent.is_dir():
            raise StoreRefused(f"{self._path.parent} is no folder: make it first")
        with reading(origin) as connection, _held(self._path, make=True):
            new = beside(self._path, f"{swapping.PARTIAL}restore")
            try:
                pages = schema.number(connection.execute("pragma page_count"))
                size_bytes = pages * schema.PAGE_BYTES
                for done, _ in copy(connection, new, lambda: _free_bytes(new.parent)):
                    yield done * schema.PAGE_BYTES, 2 * size_bytes
                opening.prepare(new)
                swapping.sync(new)
                checking = approve(new, named=origin)
                checked = yield from _second_half(checking, size_bytes)
                swapping.place(new, self._path)
            except OSError as error:
                raise StoreError(f"{self._path} cannot be replaced: {error.strerror}") from error
            finally:
                swapping.remove(new)
        if not keep:
            swapping.let_go(self._path)
        return checked

    def adopt(self) -> tuple[str, int]:
        """Vouch for a file that was moved without its witness; return its generation and its head.

        Raises:
            StoreRefused: the store is in use, may not be opened as it is, or has a witness.
        """
        with _held(self._path, make=True) as witness, reading(self._path) as connection:
            assert witness is not None
            generations = opening.known_generations(connection)
            seq = schema.number(connection.execute("select seq from store"))
            if witness.seen is not None:
                agrees = fate(witness.seen, generations, seq) is Fate.CLEAN
                raise StoreRefused(
                    f"{self._path} has a witness that agrees with it: there is nothing to adopt"
                    if agrees
                    else f"{self._path} is not what its witness has seen: messages that were acknowledged are"
                    " missing, and readers have to be told; start gapless as it is"
                )
            witness.write(generations[-1].id, seq)
            witness.sync()
            swapping.sync(self._path.parent)
            return generations[-1].id, seq


def approve(path: Path, *, named: Path | None = None) -> Slices[Checked]:
    """Check a file that is to become a store; an error calls it `named`.

    Raises:
        StoreRefused: it is damaged, newer, or no store.
    """
    with reading(path) as connection:
        opening.known_generations(connection)
        checked = yield from check(connection, whole=True)
    if checked.wrong:
        more = f" (and {checked.wrong - 1} more)" if checked.wrong > 1 else ""
        raise StoreRefused(f"{named or path} is damaged: {checked.findings[0]}{more}; nothing was changed")
    return checked


@contextmanager
def reading(path: Path) -> Iterator[apsw.Connection]:
    """Open a file to read all that is in it and in its log; neither is changed.

    Raises:
        StoreRefused: it is no store, newer, not whole, or open in another process.
    """
    _must_exist(path)
    try:
        connection = _connected(path)
        try:
            if schema.is_new(connection):
                raise StoreRefused(f"{path} holds no store: nothing was ever written to it")
            schema.check(connection)
            yield connection
        finally:
            connection.close(True)
    except (apsw.Error, OSError) as error:
        raise opening.refusal(path, error) from error


def _connected(path: Path) -> apsw.Connection:
    log = beside(path, "-wal")
    if log.exists() and log.stat().st_size:
        found = opening.check_files(path)
        connection = opening.connect(path, None, 0)
        opening.check_log(connection, path, found)
        return connection
    with path.open("rb") as file:
        opening.check_header(path, file.read(opening.HEADER_BYTES))
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    # Immutable: SQLite makes no file beside it, so that it may lie where nobody may write.
    connection = apsw.Connection(f"file:{quote(str(path.absolute()))}?immutable=1", flags=flags)
    try:
        opening.check_content(connection, path)
    except BaseException:
        connection.close(True)
        raise
    return connection


@contextmanager
def _held(path: Path, *, make: bool = False) -> Iterator[Witness | None]:
    """Keep other processes from opening a store; without its witness only where that may be made."""
    file = beside(path, ".witness")
    existed = file.exists()
    if not existed and not make:
        yield None
        return
    witness = Witness(file)
    try:
        yield witness
    except BaseException:
        if not existed:
            file.unlink()
        raise
    finally:
        witness.close()


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise StoreRefused(f"{path}: there is no such file")


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _second_half(slices: Slices[Answer], size: int) -> Slices[Answer]:
    """Tell the progress of a second part as that of a whole of which it is half."""
    while True:
        try:
            done, total = next(slices)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        yield size + size * done // max(1, total), 2 * size


async def in_thread(slices: Slices[Answer], told: Callable[[int, int], object]) -> Answer:
    """Do work in a thread of its own; `told` hears on the loop how far it is."""
    loop = asyncio.get_running_loop()
    stopped = threading.Event()

    def run() -> Answer:
        while not stopped.is_set():
            try:
                loop.call_soon_threadsafe(told, *next(slices))
            except StopIteration as end:
                answer: Answer = end.value
                return answer
        slices.close()
        raise StoreError("it was given up")

    try:
        return await asyncio.to_thread(run)
    finally:
        stopped.set()
