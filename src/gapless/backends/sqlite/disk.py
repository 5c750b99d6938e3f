"""The disk under the file: what it survives, whether it is the same file, and how much room is left."""

import os
import sys
from pathlib import Path
from typing import Final

from gapless.backends import FILE_MODE
from gapless.backends.sqlite.schema import PAGE_BYTES
from gapless.core.errors import ConfigError, StoreFailed
from gapless.core.limits import WAL_PAGES, WAL_PAGES_MAX
from gapless.ports import Durability

__all__ = ["BALLAST", "Disk", "durability_of", "mount_of", "shares", "strongest"]

# File systems on a disk of this machine, whose fsync reaches it.
LOCAL = {
    "apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "hfs", "jfs", "nilfs2", "overlay",
    "reiserfs", "ufs", "xfs", "zfs",
}  # fmt: skip
# What the file is called that takes up room, after the database's name.
BALLAST: Final = ".ballast"
# Mount options with which fsync does not reach the disk.
UNSAFE = {"nobarrier", "barrier=0", "volatile"}


def strongest(address: str) -> Durability:
    """See `backends.strongest`."""
    if not address:
        raise ConfigError("the store's URL names no file; write sqlite:path.db")
    return Durability.DISK


def durability_of(path: Path, mounts: str) -> Durability:
    """Return what a file at `path`, synced at every commit, survives.

    `mounts` is the text of /proc/self/mountinfo (proc_pid_mountinfo(5)); empty where there is none.
    What is not known to be a local disk is taken for weaker.
    """
    kind, options = mount_of(path, mounts)
    return Durability.DISK if kind in LOCAL and not UNSAFE & set(options) else Durability.PROCESS


def mount_of(path: Path, mounts: str) -> tuple[str, list[str]]:
    """Return the kind of file system that `path` is on, and its options; an empty kind is not known."""
    best, kind, options = "", "", ""
    for line in mounts.splitlines():
        mount, _, file_system = line.partition(" - ")
        point = mount.split()[4].encode().decode("unicode_escape")
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind, options = point, file_system.split()[0], file_system.split()[2]
    return kind, options.split(",")


def shares(folder: Path, ballast_bytes: int, free_bytes_min: int) -> tuple[int, int, int]:
    """Return the size of the file system, of the ballast on it, and how much stays free besides.

    On a small one the latter two are shares of it.
    """
    room = os.statvfs(folder)
    all_bytes = room.f_blocks * room.f_frsize or sys.maxsize  # some do not tell
    return all_bytes, min(ballast_bytes, all_bytes // 4), min(free_bytes_min, all_bytes // 32)


class Disk:
    """Room for the database at `path`.

    A file of `ballast_bytes` is kept beside it. When less than `free_bytes_min` is left besides, appends are
    refused and the ballast is given up, so that reading and trimming go on. Appends go on once there
    is room for the ballast. What is unused inside the database counts as room, for nothing takes it
    but appends; so the ballast itself may have to wait until others leave room for it.

    The ballast has to take in what a `-wal` brings into the database when that is opened, so on a small file
    system both have a share of it: the ballast a quarter, a `-wal` half of that. `wal_pages` and
    `wal_pages_max` are its limits where the queue is short, and where it is not.
    """

    def __init__(self, path: Path, ballast_bytes: int, free_bytes_min: int) -> None:
        self._path = path
        self._ballast = path.with_name(path.name + BALLAST)
        all_bytes, self._ballast_bytes, self._free_bytes_min = shares(
            path.parent, ballast_bytes, free_bytes_min
        )
        self.wal_pages_max = min(WAL_PAGES_MAX, all_bytes // 8 // PAGE_BYTES)
        self.wal_pages = min(WAL_PAGES, self.wal_pages_max // 2)
        self._file: tuple[int, int] | None = None
        self._is_held = False
        self.is_full = False

    def durability(self) -> Durability:
        """Return what an acknowledged append survives."""
        mounts = Path("/proc/self/mountinfo")
        return durability_of(self._path.resolve(), mounts.read_text() if mounts.exists() else "")

    def remember(self) -> None:
        """Remember which file it is."""
        self._file = self._identity()

    def check_same(self) -> None:
        """Make sure that the path still names the file that was opened.

        Raises:
            StoreFailed: it was replaced or removed.
        """
        try:
            same = self._identity() == self._file
        except FileNotFoundError:
            same = False
        if not same:
            raise StoreFailed(f"{self._path} was replaced or removed while it was open")

    def _identity(self) -> tuple[int, int]:
        status = os.stat(self._path)
        return status.st_dev, status.st_ino

    def free_bytes(self) -> int:
        """Return how much room is left beside the ballast."""
        status = os.statvfs(self._path.parent)
        return status.f_bavail * status.f_frsize

    def spare_bytes(self) -> int:
        """Return how much room something else may take before appends would be refused."""
        return self.free_bytes() - self._reserve_bytes() - self._free_bytes_min

    def _reserve_bytes(self) -> int:
        """How much room there has to be for appends to go on."""
        return self._free_bytes_min + (0 if self._is_held else self._ballast_bytes)

    def check_room(self, unused_bytes: int) -> None:
        """Decide anew whether the disk is full; `unused_bytes` can be reused inside the database."""
        left_bytes = self.free_bytes() + unused_bytes - self._reserve_bytes()
        if not self.is_full and left_bytes < 0:
            self.fill()
        elif self.is_full and left_bytes >= self._free_bytes_min:
            self.is_full = False
            self.take_ballast()

    def is_short(self) -> bool:
        """Tell whether `check_room` has something to decide."""
        return self.is_full or self.free_bytes() < self._reserve_bytes()

    def fill(self) -> None:
        """Count the disk as full, and give up the ballast."""
        self.is_full = True
        self._is_held = False
        self._ballast.unlink(missing_ok=True)

    def rest(self) -> None:
        """Use a quiet moment to reserve a ballast for which there was no room."""
        if not self.is_full and not self._is_held:
            self.take_ballast()

    def take_ballast(self) -> None:
        """Reserve the ballast, if that leaves room enough; then the disk is not full any more."""
        there_bytes = self._ballast.stat().st_size if self._ballast.exists() else 0
        more_bytes = self._ballast_bytes - there_bytes
        if not self._ballast_bytes or self.free_bytes() < max(more_bytes, 0) + self._free_bytes_min:
            return
        self.is_full = False
        file = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            if more_bytes > 0:
                os.posix_fallocate(file, 0, self._ballast_bytes)
            os.ftruncate(file, self._ballast_bytes)  # one that was made under other options
            self._is_held = True
        except OSError:
            self._ballast.unlink()
        finally:
            os.close(file)
