"""The checksum of a stored row: SQLite's pages have none, and a flipped bit would be served as truth."""

from struct import Struct
from zlib import crc32

__all__ = ["checksum", "erased_checksum", "is_erased"]

# The lengths too, or bytes could move between data and meta.
COVERED = Struct("<qqqII").pack
# Lengths that no message has.
ERASED = 2**32 - 1


def checksum(stream: int, offset: int, time_ms: int, data: bytes, meta: bytes) -> int:
    """Return the CRC-32 over where and when a message is stored, and what it says."""
    crc = crc32(data, crc32(COVERED(stream, offset, time_ms, len(data), len(meta))))
    return crc32(meta, crc) if meta else crc


def erased_checksum(stream: int, offset: int, time_ms: int) -> int:
    """Return the CRC-32 of the row that an erased message leaves: no other row has it, damaged or not."""
    return crc32(COVERED(stream, offset, time_ms, ERASED, ERASED))


def is_erased(stream: int, offset: int, time_ms: int, crc: int, data: bytes, meta: bytes) -> bool:
    """Tell whether a row is what an erased message leaves."""
    return not data and not meta and crc == erased_checksum(stream, offset, time_ms)
