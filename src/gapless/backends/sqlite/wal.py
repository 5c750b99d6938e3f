"""What is beside the database in its `-wal`, looked at before SQLite acts on it.

SQLite replays any `-wal` that it finds beside a database, and takes the first frame that fails
its checksum for the end. So two things are checked here, from the file format alone
(https://sqlite.org/fileformat2.html#walformat):

- The log belongs to this database, as it is. `user_version`, which is in page 1, rises with the
  first transaction after a checkpoint and with one that is written just before the next (`seal`). So a
  database that waits for its log has the value before the log's first, and one that has taken from it
  has a later one that the log has too.
- Nothing follows what SQLite would take for the end. A torn tail is the last transaction, which
  was never answered; a later transaction can only have begun once all before it was on the disk.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from struct import Struct, unpack
from typing import BinaryIO, NamedTuple, NoReturn

from gapless.backends.sqlite.schema import PAGE_BYTES
from gapless.core.errors import StoreRefused

__all__ = ["check_tail", "first_version", "refuse_mix", "user_version"]

HEADER = Struct(">8I")  # magic, format, page size, checkpoints, salt, salt, checksum, checksum
FRAME = Struct(">6I")  # page, pages after commit or 0, salt, salt, checksum, checksum
MAGIC = 0x377F0682  # the lowest bit tells the byte order of the checksums
USER_VERSION_AT = 60

Sum = tuple[int, int]


class Frame(NamedTuple):
    """One page as a transaction left it."""

    page: int
    is_commit: bool
    salt: Sum
    sum: Sum
    covered: bytes  # what the checksum covers: the head's first 8 bytes, then the page


class Wal:
    """A `-wal` file that is open for reading."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head = file.read(HEADER.size).ljust(HEADER.size, b"\0")
        magic, _, page_bytes, _, *rest = HEADER.unpack(head)
        self.salt: Sum = (rest[0], rest[1])
        self.sum: Sum = (rest[2], rest[3])
        self._order = ">" if magic & 1 else "<"
        is_wal = magic & ~1 == MAGIC and page_bytes == PAGE_BYTES
        self.is_sound = is_wal and self.checksum(head[:24], (0, 0)) == self.sum

    def checksum(self, data: bytes, start: Sum) -> Sum:
        """Carry the format's checksum on over `data`."""
        words = unpack(f"{self._order}{len(data) // 4}I", data)
        one, two = start
        for even, odd in zip(words[::2], words[1::2], strict=True):
            one = (one + even + two) & 0xFFFFFFFF
            two = (two + odd + one) & 0xFFFFFFFF
        return one, two

    def follows(self, frame: Frame, sum: Sum) -> bool:
        """Tell whether a frame is the one that was written after the one with that checksum."""
        return frame.salt == self.salt and self.checksum(frame.covered, sum) == frame.sum

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Read the frames from number `start` on, whether sound or not."""
        for number in count(start):
            self._file.seek(HEADER.size + number * (FRAME.size + PAGE_BYTES))
            head = self._file.read(FRAME.size)
            data = self._file.read(PAGE_BYTES)
            if len(data) < PAGE_BYTES:
                return
            page, pages, *rest = FRAME.unpack(head)
            yield Frame(page, pages > 0, (rest[0], rest[1]), (rest[2], rest[3]), head[:8] + data)


def user_version(page: bytes) -> int:
    """Return the `user_version` that the first page of a database carries."""
    return int.from_bytes(page[USER_VERSION_AT : USER_VERSION_AT + 4], "big")


def first_version(path: Path) -> int:
    """Return the `user_version` that the first transaction of a log wrote; -1 if it holds no transaction.

    A log whose head is not sound counts too: it is ignored by SQLite, but it may hold all there is.
    """
    if not path.exists():
        return -1
    with path.open("rb") as file:
        wal = Wal(file)
        found, sum = -1, wal.sum
        for frame in wal.frames():
            if wal.is_sound and not wal.follows(frame, sum):
                return -1
            if frame.page == 1:
                found = user_version(frame.covered[8:])
            if frame.is_commit:
                # One that does not touch page 1 is not ours: 0 fits no database that we made.
                return max(found, 0)
            sum = frame.sum
    return -1


def refuse_mix(path: Path) -> NoReturn:
    """Refuse a log that is not of the database beside it."""
    raise StoreRefused(
        f"{path} does not belong to the database beside it, or its beginning is damaged. Put "
        "the one that belongs to it back; or move it away to go on without it: readers will be told"
    )


def check_tail(path: Path, sound_frames: int) -> None:
    """Make sure that nothing was committed beyond the `sound_frames` that SQLite found.

    Raises:
        StoreRefused: a transaction beyond them was acknowledged; it cannot be reached.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        wal = Wal(file)
        if not wal.is_sound:
            return
        before: Frame | None = None
        for frame in wal.frames(sound_frames):
            if before and before.is_commit and before.salt == wal.salt and wal.follows(frame, before.sum):
                raise StoreRefused(
                    f"{path} is damaged: messages that were acknowledged follow the damage. Restore a "
                    "backup; or move the file away to go on without them: readers will be told"
                )
            before = frame
