"""How a file that an older gapless made is brought up to date: in one transaction, before it is served."""

from typing import Final, NamedTuple

import apsw

from gapless.backends.sqlite.schema import LOG_KEYED, QUEUEING, READING, RETENTION_GROUPS, VERSION, number

__all__ = ["UPGRADES", "Upgrade", "upgrade"]


class Upgrade(NamedTuple):
    """The way from one version to the next: what it brings, and the statements."""

    brings: str
    statements: tuple[str, ...]


UPGRADES: Final = {
    1: Upgrade(
        "versions of published states, bytes of history per namespace",
        (
            "alter table streams add column version integer not null default 0",
            "alter table streams add column version_epoch text not null default ''",
            "alter table streams add column keep_group integer not null default 0",
            "alter table streams add column group_bytes integer not null default 0",
            RETENTION_GROUPS,
        ),
    ),
    2: Upgrade(
        "queues, groups that read streams, messages by their keys",
        (
            "alter table store add column fence integer not null default 0",
            "alter table log add column keyed blob",
            LOG_KEYED,
            *READING,
            *QUEUEING,
        ),
    ),
}


def upgrade(connection: apsw.Connection) -> str:
    """Bring the tables up to date in the transaction that is open.

    Returns:
        From which version to which, and what that brings; empty when there was nothing to do.
    """
    found = number(connection.execute("select version from store"))
    for version in range(found, VERSION):
        for statement in UPGRADES[version].statements:
            connection.execute(statement)
    if found == VERSION:
        return ""
    connection.execute("update store set version = ?", (VERSION,))
    brought = "; ".join(UPGRADES[version].brings for version in range(found, VERSION))
    return f"from version {found} to {VERSION}: {brought}"
