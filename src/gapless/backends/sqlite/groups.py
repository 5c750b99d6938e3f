"""What the streams of a group hold together on the disk (`Retention.group`)."""

import apsw

from gapless.backends.sqlite.schema import rows

__all__ = ["Group", "Groups"]


class Group:
    """One group. `bytes` counts the rows of its streams that are in the log, dropped ones too."""

    __slots__ = ("bytes", "id", "is_new", "name")

    def __init__(self, id: int, name: str, size: int = 0, *, is_new: bool = True) -> None:
        self.id = id
        self.name = name
        self.bytes = size
        self.is_new = is_new


class Groups:
    """All groups. What changes one happens inside the caller's transaction."""

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor
        self.reload()

    def reload(self) -> None:
        """Forget what was not committed."""
        self._by_id: dict[int, Group] = {}
        self._by_name: dict[str, Group] = {}
        for id, name, size in rows(self._cursor.execute("select id, name, bytes from retention_groups")):
            self._add(Group(id, name, size, is_new=False))
        self._changed: dict[int, Group] = {}

    def _add(self, group: Group) -> Group:
        self._by_id[group.id] = self._by_name[group.name] = group
        return group

    def of(self, id: int) -> Group | None:
        """Return a group by its number; 0 is none."""
        return self._by_id.get(id)

    def named(self, name: str) -> Group | None:
        """Return a group by its name, made when it is new; an empty name is none."""
        if not name:
            return None
        return self._by_name.get(name) or self._add(Group(max(self._by_id, default=0) + 1, name))

    def weigh(self, group: Group, grown_bytes: int) -> None:
        """Note that the group holds more, or less."""
        group.bytes += grown_bytes
        self._changed[group.id] = group

    def flush(self) -> None:
        """Write what changed."""
        for group in self._changed.values():
            if group.is_new:
                self._cursor.execute(
                    "insert into retention_groups values (?, ?, ?)", (group.id, group.name, group.bytes)
                )
                group.is_new = False
            else:
                self._cursor.execute(
                    "update retention_groups set bytes = ? where id = ?", (group.bytes, group.id)
                )
        self._changed.clear()
