"""One group: its members, what each partition's holder and fence are, and where the group stands.

A partition goes from one living member to another in two steps, so that no two hold it. The heartbeat of
the one that has it leaves it out of its answer; a heartbeat after that gives it to the other. In between
the former holder's fence is good for a last commit, but no more once it is given on.
Nothing happens by itself: a session that has ended is seen by whoever looks.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, field

from gapless.core.assignment import assign
from gapless.core.errors import BadRequest, LeaseLost, LimitExceeded, PositionConflict
from gapless.core.fences import Fences, fence_number
from gapless.core.group_rules import check_commit
from gapless.core.groups import Assigned, Commit, GroupInfo, Held, Member
from gapless.core.limits import MEMBERS_MAX
from gapless.core.stream import Position

__all__ = ["Change", "Hold", "Membership", "leads_on"]


class Hold(Struct):
    """One partition. `is_leaving`: its holder was told to let go of it, and nobody has it yet."""

    holder: str = ""
    is_leaving: bool = False
    fence: str = ""
    position: Position | None = None


class Change(NamedTuple):
    """What a call changed, for whoever keeps it: members that are gone, and partitions."""

    gone: set[str]
    partitions: set[int]


class Membership(Struct):
    """A group of `len(holds)` partitions. `sessions`: its members as they joined, and until when each is."""

    holds: list[Hold]
    sessions: dict[str, int] = field(default_factory=dict)

    def is_in(self, member: str, now_ms: int) -> bool:
        """Tell whether a member's session lasts."""
        return self.sessions.get(member, now_ms) > now_ms

    def heartbeat(self, member: str, until_ms: int, now_ms: int, fences: Fences) -> Change:
        """Let a member in, or stay, until `until_ms`, and bring what it holds nearer to its share.

        Raises:
            LimitExceeded: there are MEMBERS_MAX.
        """
        alive = sum(self.is_in(one, now_ms) for one in self.sessions)
        if alive >= MEMBERS_MAX and not self.is_in(member, now_ms):
            raise LimitExceeded(f"a group has up to {MEMBERS_MAX} members")
        gone = {one for one in self.sessions if not self.is_in(one, now_ms)}
        change = Change(gone, self._let_go(gone))
        self.sessions[member] = until_ms
        held = {at: hold.holder for at, hold in enumerate(self.holds) if not hold.is_leaving}
        share = set(assign(list(self.sessions), len(self.holds), held)[member])
        for at, hold in enumerate(self.holds):
            if at not in share and held.get(at) == member:
                hold.is_leaving = True
            elif at in share and (hold.is_leaving or not hold.holder):
                hold.holder, hold.is_leaving, hold.fence = member, False, fences.next()
            else:
                continue
            change.partitions.add(at)
        return change

    def leave(self, member: str) -> Change:
        """Let a member go."""
        gone = {member} & self.sessions.keys()
        return Change(gone, self._let_go(gone))

    def _let_go(self, gone: set[str]) -> set[int]:
        let_go = {at for at, hold in enumerate(self.holds) if hold.holder in gone}
        for at in let_go:
            self.holds[at].holder, self.holds[at].is_leaving = "", False
        for member in gone:
            del self.sessions[member]
        return let_go

    def holding(self, member: str, commit: Commit, streams: Sequence[str], now_ms: int) -> tuple[Hold, str]:
        """Return the partition of a commit, and its stream of those of the source.

        Raises:
            LeaseLost: the member does not hold it under that fence.
            BadRequest: the source has another number of partitions, or it emits more than JOB_EMITS_MAX.
        """
        if self.is_in(member, now_ms) and 0 <= commit.partition < len(self.holds):
            hold = self.holds[commit.partition]
            if (hold.holder, hold.fence) == (member, commit.fence):
                check_commit(commit)
                if len(streams) != len(self.holds):
                    raise BadRequest(f"the group was begun with {len(self.holds)} partitions")
                return hold, streams[commit.partition]
        raise LeaseLost(f"{member!r} does not hold partition {commit.partition} under that fence")

    def seek(self, positions: Mapping[int, Position | None], fences: Fences) -> None:
        """Stand elsewhere in partitions, each under a new fence: what is on its way is refused."""
        for at, position in positions.items():
            hold = self.holds[at]
            hold.position, hold.fence = position, fences.next()

    def assigned(self, member: str) -> Assigned:
        """Return what a member that is in holds."""
        return Assigned(
            tuple(
                Held(at, hold.fence, fence_number(hold.fence), hold.position)
                for at, hold in enumerate(self.holds)
                if hold.holder == member and not hold.is_leaving
            ),
            self.sessions[member],
        )

    def look(self, source: str, name: str, now_ms: int) -> GroupInfo:
        """Return the group as one looks at it."""
        positions = {at: hold.position for at, hold in enumerate(self.holds) if hold.position is not None}
        alive = {member: until_ms for member, until_ms in self.sessions.items() if self.is_in(member, now_ms)}
        held = {member: self.assigned(member).held for member in alive}
        members = tuple(
            Member(member, tuple(each.partition for each in held[member]), until_ms)
            for member, until_ms in alive.items()
        )
        fences = {each.partition: each.fence_number for all_held in held.values() for each in all_held}
        return GroupInfo(source, name, positions, members, fences)


def leads_on(stands: Position | None, position: Position, is_past: Callable[[Position], bool]) -> bool:
    """Tell whether a commit of `position` moves a group on that stands at `stands`, or repeats it.

    `is_past` tells whether the stream is past a position of its own timeline. What retention has dropped
    meanwhile was handled all the same.

    Raises:
        PositionConflict: it leads back, beyond the end, or to another timeline.
    """
    if position == stands:
        return False
    if not is_past(position):
        raise PositionConflict(f"{position.epoch}:{position.offset} is no place of the stream")
    if stands is None or position.offset > stands.offset:
        return True
    if position.offset < stands.offset:
        raise PositionConflict(f"the group stands further on, at {stands.epoch}:{stands.offset}")
    return not is_past(stands)
