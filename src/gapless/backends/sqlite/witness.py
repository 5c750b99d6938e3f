"""The witness: a small file beside the database that tells how far the store had come.

It is rewritten in place after every commit, without waiting for the disk, so that it is never behind
a database that was put back to an older state. Its lock is what makes one process the owner.
"""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple
from weakref import WeakSet
from zlib import crc32

from gapless.backends import FILE_MODE, Held
from gapless.core.errors import StoreRefused
from gapless.core.lineage import Fate, Generation

__all__ = ["Seen", "Witness", "fate"]

# One sector, so that a power cut leaves the old record or the new one.
RECORD_BYTES = 256


class Seen(NamedTuple):
    """The last commit of a store: its generation, and the store's `seq` after it."""

    epoch: str
    seq: int


def fate(seen: Seen | None, generations: Sequence[Generation], seq: int) -> Fate:
    """Tell how the generation begins that opens a store with these generations and that `seq`."""
    if seen is None:
        return Fate.LOSSY if generations else Fate.CLEAN
    end_seq = seq
    for generation in reversed(generations):
        if generation.id == seen.epoch:
            return Fate.CLEAN if seen.seq <= end_seq else Fate.LOSSY
        end_seq = generation.cut_seq
    return Fate.LOSSY


class Witness:
    """The file, open and locked. A process that is forked does not hold the lock."""

    _open: ClassVar["WeakSet[Witness]"] = WeakSet()

    def __init__(self, path: Path) -> None:
        """Open and lock the file, and read it.

        Raises:
            Held: another process holds it.
            StoreRefused: it cannot be written.
        """
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise StoreRefused(f"{path} cannot be written: {error.strerror}") from error
        self._pid = os.getpid()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            _, owner = self._read()
            os.close(self._file)
            raise Held(
                f"{path.with_suffix('')} is open in another process{f' (pid {owner})' if owner else ''}"
            ) from error
        Witness._open.add(self)

    def _read(self) -> tuple[Seen | None, int]:
        return _parse(os.pread(self._file, RECORD_BYTES, 0))

    @property
    def seen(self) -> Seen | None:
        """The last commit that was noted; None when the file says nothing, or is not whole."""
        return self._read()[0]

    def write(self, epoch: str, seq: int) -> None:
        """Note the last commit."""
        text = b"gapless %s %d %d" % (epoch.encode(), seq, self._pid)
        os.pwrite(self._file, (b"%s %08x\n" % (text, crc32(text))).ljust(RECORD_BYTES), 0)

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the lock."""
        Witness._open.discard(self)
        os.close(self._file)

    @classmethod
    def let_go(cls) -> None:
        """Close the files that a fork has copied: the lock would outlive the process that holds it."""
        for witness in list(cls._open):
            witness.close()


os.register_at_fork(after_in_child=Witness.let_go)


def _parse(record: bytes) -> tuple[Seen | None, int]:
    """Return what a record says, and the process that wrote it; (None, 0) when it is not whole."""
    text, _, crc = record.rstrip().rpartition(b" ")
    fields = text.split()
    if len(fields) != 4 or b"%08x" % crc32(text) != crc:
        return None, 0
    return Seen(fields[1].decode(), int(fields[2])), int(fields[3])
