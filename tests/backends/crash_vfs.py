"""A SQLite VFS whose disk can lose power: what was not synced is lost in part, torn, or out of order."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import apsw

__all__ = ["Disk", "PowerCut"]

SECTOR_BYTES = 512


class PowerCut(apsw.IOError):
    """The power is off: nothing works from here on."""


class Image:
    """A file as it is on the platter, and what was written since without being synced."""

    def __init__(self, durable: bytes) -> None:
        self.durable = bytearray(durable)
        self.pending: list[tuple[int, bytes | None]] = []  # where, and what; None: cut off there

    def sync(self) -> None:
        for offset, data in self.pending:
            self._apply(offset, data)
        self.pending.clear()

    def lose_power(self, random: Random) -> None:
        for offset, data in self.pending:
            if random.random() < 0.5:
                continue
            if data is not None and random.random() < 0.3:
                data = data[: random.randrange(len(data) + 1) // SECTOR_BYTES * SECTOR_BYTES]
            self._apply(offset, data)
        self.pending.clear()

    def _apply(self, offset: int, data: bytes | None) -> None:
        if data is None:
            del self.durable[offset:]
            return
        self.durable.extend(bytes(max(0, offset - len(self.durable))))
        self.durable[offset : offset + len(data)] = data


class Disk(apsw.VFS):
    """Real files, of which this remembers what a power cut would leave.

    `before` is called before each write, truncation and sync with its number; what it raises, SQLite
    gets to hear as an input/output error.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.images: dict[str, Image] = {}
        self.operations = 0
        self.before: Callable[[int, str], None] = lambda number, kind: None
        self._is_off = False

    def cut_at(self, operation: int) -> None:
        """Switch the power off at that operation, counted from now."""
        last = self.operations + operation

        def cut(number: int, kind: str) -> None:
            self._is_off = self._is_off or number >= last
            if self._is_off:
                raise PowerCut

        self.before = cut

    def lose_power(self, random: Random) -> None:
        """Leave in the files what a power cut now would leave, and switch it on again."""
        for name, image in self.images.items():
            image.lose_power(random)
            Path(name).write_bytes(image.durable)
        self.images.clear()
        self.before = lambda number, kind: None
        self._is_off = False

    def check(self, kind: str) -> None:
        self.operations += 1
        self.before(self.operations, kind)

    def image(self, name: str) -> Image:
        if name not in self.images:
            path = Path(name)
            self.images[name] = Image(path.read_bytes() if path.exists() else b"")
        return self.images[name]

    def xOpen(self, name: Any, flags: list[int]) -> "File":
        return File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.check("delete")
        self.images.pop(filename, None)
        super().xDelete(filename, syncdir)


class File(apsw.VFSFile):
    """One file of the disk."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._image = disk.image(name.filename() if isinstance(name, apsw.URIFilename) else name)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.check("write")
        self._image.pending.append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.check("truncate")
        self._image.pending.append((newsize, None))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._disk.check("sync")
        self._image.sync()
