"""The checksum of a stored row: SQLite's pages have none, and a flipped bit would be served as truth."""

from struct import Struct
from zlib import crc32

__all__ = ["checksum"]

# The lengths too, or bytes could move between data and meta.
COVERED = Struct("<qqqII")


def checksum(stream: int, offset: int, time_ms: int, data: bytes, meta: bytes) -> int:
    """Return the CRC-32 over where and when a message is stored, and what it says."""
    crc = crc32(data, crc32(COVERED.pack(stream, offset, time_ms, len(data), len(meta))))
    return crc32(meta, crc) if meta else crc
