"""Groups as Redis keeps them: what `core.membership` decides is kept if nothing has changed meanwhile."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from gapless.backends.redis.calls import Calls
from gapless.core.fences import Fences, fence_number
from gapless.core.groups import Assigned, Held
from gapless.core.limits import GROUPS_MAX
from gapless.core.membership import Hold, Membership
from gapless.core.stream import Position

__all__ = ["Decision", "Kept", "Memberships", "Steady", "name_of", "names_in", "to_give"]

# Groups that are looked at in one call.
LOOKED_AT_MAX: Final = 64
# Instead of the generation, in a fence that has yet to be given.
TO_GIVE: Final = "?"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.decode


class Steady(NamedTuple):
    """What a member holds whose heartbeat changes nothing while the group is of this revision."""

    revision: str
    held: tuple[Held, ...]


class Kept(NamedTuple):
    """A group as it was at a time; of no revision if there was none."""

    revision: str
    reader: Membership
    now_ms: int


class Decision(NamedTuple):
    """What to change of a group that was looked at: its partitions, and who is gone or stays."""

    partitions: frozenset[int]
    positions: Mapping[int, Position | None] = {}
    gone: frozenset[str] = frozenset()
    member: str = ""
    session_ms: int = 0


def to_give() -> Fences:
    """Return fences that are given only when the decision is kept."""
    return Fences(TO_GIVE, 0, 0)


def name_of(source: str, group: str) -> str:
    """Return a group's name, of which no part can be taken for another's."""
    return f"{len(source.encode())}:{source}{group}"


def names_in(name: str) -> tuple[str, str]:
    """Return the source and the group of a name."""
    size, _, both = name.partition(":")
    encoded = both.encode()
    return encoded[: int(size)].decode(), encoded[int(size) :].decode()


class Memberships:
    """All groups."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def names(self) -> list[str]:
        """Return the names of all groups."""
        [names] = await self._calls.read("group_names")
        return [name.decode() for name in names]

    async def look(self, names: Sequence[str]) -> list[Kept]:
        """Return groups as they are."""
        kept: list[Kept] = []
        for at in range(0, len(names), LOOKED_AT_MAX):
            now_ms, *told = await self._calls.read("group_look", *names[at : at + LOOKED_AT_MAX])
            kept += [_kept(_pairs(group), _pairs(sessions), now_ms) for group, sessions in told]
        return kept

    async def renew(self, name: str, member: str, steady: Steady, session_ms: int) -> Assigned | None:
        """Lengthen a session; None if anything else has changed in the group."""
        partitions = [held.partition for held in steady.held]
        told = await self._calls.call("group_renew", name, steady.revision, member, session_ms, *partitions)
        if not told[0]:
            return None
        held = [
            Held(held.partition, held.fence, held.fence_number, _position(packed))
            for held, packed in zip(steady.held, told[2], strict=True)
        ]
        return Assigned(tuple(held), told[1])

    async def keep(self, name: str, kept: Kept, decision: Decision, audit: bytes = b"") -> int | None:
        """Keep what was decided, with the fences that it takes; None if the group is another by now.

        Tells until when the session of the decision's member lasts.
        """
        reader = kept.reader
        holds = [(at, reader.holds[at]) for at in decision.partitions]
        holds.sort(key=lambda one: fence_number(one[1].fence) if _is_to_give(one[1]) else 0)
        change = [
            kept.revision,
            len(reader.holds),
            list(reader.sessions),
            list(decision.gone),
            [
                (at, hold.holder, int(hold.is_leaving), not _is_to_give(hold) and hold.fence)
                for at, hold in holds
            ],
            [(at, position is not None and _told(position)) for at, position in decision.positions.items()],
            decision.member or False,
            decision.session_ms,
        ]
        told = await self._calls.call("group_change", name, _encode(change), audit, GROUPS_MAX)
        if not told[0]:
            return None
        _, until_ms, epoch, last = told
        given = [hold for _, hold in holds if _is_to_give(hold)]
        for number, hold in enumerate(given, last - len(given) + 1):
            hold.fence = f"{epoch.decode()}:{number}"
        return int(until_ms)


def _is_to_give(hold: Hold) -> bool:
    return hold.fence.startswith(TO_GIVE)


def _told(position: Position) -> tuple[str, str]:
    # As text: a number inside Redis is exact only below 2**53.
    return position.epoch, str(position.offset)


def _position(packed: bytes | None) -> Position | None:
    if packed is None:
        return None
    epoch, offset = _decode(packed)
    return Position(epoch, int(offset))


def _pairs(told: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(told[::2], told[1::2], strict=True))


def _kept(group: Mapping[bytes, bytes], sessions: Mapping[bytes, Any], now_ms: int) -> Kept:
    if not group:
        return Kept("", Membership([]), now_ms)
    holds = [_hold(group, at) for at in range(int(group[b"partitions"]))]
    members: list[str] = _decode(group[b"members"])
    until_ms = {member: int(sessions[member.encode()]) for member in members}
    return Kept(group[b"revision"].decode(), Membership(holds, until_ms), now_ms)


def _hold(group: Mapping[bytes, bytes], at: int) -> Hold:
    holder, is_leaving, fence = _decode(group[b"h%d" % at]) if b"h%d" % at in group else ("", 0, "")
    return Hold(holder, bool(is_leaving), fence, _position(group.get(b"p%d" % at)))
