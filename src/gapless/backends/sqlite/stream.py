"""What the writer knows of one stream: the only copy of its head."""

from gapless.backends.sqlite.groups import Group
from gapless.core.lineage import Link
from gapless.core.stream import Head, Retention

__all__ = ["NOW", "Stream"]

NEVER = 0
NOW = 1
# Dropped rows are deleted when they are worth a statement: a quarter of what is kept, and no more than this.
BACKLOG_ROWS_MAX = 24
# Then from all streams that are written with it: what was appended together lies on the same pages.
BACKLOG_ROWS_JOINING = 6


class Stream:
    """One stream; without a name once it is forgotten.

    Its rows through `deleted` are off the disk, through `floor` they are gone for every reader. It `is_new`
    until it is in the table. `first_ms` and `first_before` are the columns of the oldest kept row, once
    `first_offset` is `floor` + 1.
    """

    __slots__ = (
        "deleted",
        "due_ms",
        "first_before",
        "first_ms",
        "first_offset",
        "floor",
        "group",
        "id",
        "is_new",
        "landmarks",
        "last",
        "lineage",
        "name",
        "retention",
        "total",
        "updated_ms",
        "version",
        "version_epoch",
    )

    def __init__(self, id: int, name: str | None, floor: int) -> None:
        """A stream that does not exist yet and would start above `floor`."""
        self.id = id
        self.name = name
        self.floor = self.last = self.deleted = floor
        self.total = 0
        self.retention = Retention()
        self.group: Group | None = None  # that its rows count for, also once it is forgotten
        self.version = 0
        self.version_epoch = ""
        self.updated_ms = 0
        self.due_ms = NEVER
        self.lineage: list[Link] = []
        self.is_new = True
        self.first_offset = self.first_ms = self.first_before = 0
        self.landmarks: dict[int, int] = {}  # the times of some messages, by their offsets

    @property
    def head(self) -> Head:
        """Where the stream stands."""
        return Head(self.floor, self.last)

    def is_forgotten(self, now_ms: int) -> bool:
        """Tell whether its `meta_ttl_ms` has passed."""
        keep = self.retention
        return keep.meta_ttl_ms > 0 and self.updated_ms + keep.meta_ttl_ms <= now_ms

    def backlog(self) -> int:
        """How many offsets are to be deleted now; 0 while it is not worth a statement.

        In a group that is at once: what waits there would keep others from appending.
        """
        rows = self.floor - self.deleted
        if not rows or self.group is not None:
            return rows
        return rows if rows > min((self.last - self.floor) // 4, BACKLOG_ROWS_MAX) else 0

    def joining(self) -> int:
        """How many offsets to delete where others of this transaction are deleted anyway."""
        rows = self.floor - self.deleted
        if self.group is not None:
            return rows
        return rows if rows >= BACKLOG_ROWS_JOINING else 0

    def schedule(self, now_ms: int) -> None:
        """Set `due_ms` to when something falls due that no append will do.

        A time that moved to later is not written: housekeeping finds that out when it looks.
        """
        wake_ms = self._wake_ms()
        if self.due_ms <= now_ms or NEVER < wake_ms < self.due_ms:
            self.due_ms = wake_ms

    def _wake_ms(self) -> int:
        if self.backlog():
            return NOW
        keep = self.retention
        times_ms = [self.updated_ms + keep.meta_ttl_ms] if keep.meta_ttl_ms else []
        if self.floor < self.last:
            if keep.ttl_ms:
                times_ms.append(self.updated_ms + keep.ttl_ms)
            if keep.age_ms:
                # An eighth later than due, so that many messages go at once.
                first_ms = self.first_ms if self.first_offset == self.floor + 1 else self.updated_ms
                times_ms.append(first_ms + keep.age_ms + keep.age_ms // 8)
        return min(times_ms, default=NEVER)
