"""Care of a running store that is a file."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

__all__ = ["Care", "Checked", "Compacted", "Told"]


Told = Callable[[int, int], object]
"""Hears of progress on the loop: how much is done, of how much in all."""


class Checked(NamedTuple):
    """What a check of a whole store found: `wrong` counts the findings, of which the first are told."""

    messages: int
    streams: int
    wrong: int
    findings: list[str]


class Compacted(NamedTuple):
    """What compacting gave back."""

    bytes_before: int
    bytes_after: int


@runtime_checkable
class Care(Protocol):
    """Care of a running store that is a file; not every backend has it.

    The work is done in slices between commits, so that appends and reads go on. Giving up (cancelling) leaves
    the store as it was, and no half a file. Paths are whole ones, on the machine of the process that has the
    store open.

    Raises:
        NotAvailable: the store is no file; who shares it learns that from the process that has it open.
    """

    async def aside(self, name: str) -> str:
        """Return a path for a temporary file beside the store, which is removed when the store is opened."""

    async def free_bytes(self) -> int:
        """Return how much room a temporary file beside the store may take."""

    async def backup(self, to: str, told: Told) -> None:
        """Copy the store, as it stands at the end, into one complete file, which is on the disk afterwards.

        Raises:
            StoreFull: there is no room for it; the store itself keeps what it needs.
            StoreError: the copy cannot be written, or the store cannot be read.
        """

    async def check(self, told: Told) -> Checked:
        """Read every message: its checksum, that none is missing, and that the streams' heads agree."""

    async def compact(self, told: Told) -> Compacted:
        """Give unused room back to the file system. Appends and reads wait until it is done.

        Raises:
            StoreFull: there is no room for the smaller file beside the present one.
        """

    async def restore(self, source: str, *, keep: bool, told: Told) -> None:
        """Check the file `source`, which lies beside the store, and put it in the store's place.

        What was appended before is answered before; what comes later is in the new file. It is a new
        generation, which is lossy if the file lacks anything that was acknowledged. The file that was
        there stays beside it when it is to be kept.

        Raises:
            StoreRefused: the file is damaged, of a newer gapless, or no store; nothing was changed.
        """
