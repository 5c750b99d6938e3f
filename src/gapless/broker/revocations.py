"""Who is blocked, and which tokens do not count any more although their signature holds."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from gapless.core.errors import PermissionDenied, Unauthorized

__all__ = ["OVER_MS", "Kind", "Revocation", "Revocations"]

OVER_MS: Final = 1  # an end that has passed: lifts a block


class Kind(StrEnum):
    """What a revocation is about."""

    BLOCK = "block"
    USER = "user"
    TOKEN = "token"


class Revocation(Struct, frozen=True, gc=False):
    """One decision: that a user is blocked, its tokens are revoked, or one token is.

    `id` is the user's, or the token's (jti). It was taken at `at_ms` by the store's clock, and holds until
    `ends_ms`, 0: for ever. Of a user, tokens issued (iat) before `issued_before_ms` are revoked.
    """

    kind: Kind
    id: str
    at_ms: int = 0
    ends_ms: int = 0
    issued_before_ms: int = 0

    @property
    def name(self) -> str:
        """Return what tells it from others; of several with one name, one is held."""
        return f"{self.kind}:{self.id}"

    def over(self, now_ms: int) -> bool:
        """Tell whether it holds no more."""
        return 0 < self.ends_ms <= now_ms


class Revocations:
    """All that is revoked: the decisions of a log, taken in its order. One taken again changes nothing.

    Of the decisions to block one user, or not any more, the latest counts. Tokens stay revoked: several
    revocations of the same tokens are joined to one that ends last and reaches furthest.
    """

    def __init__(self) -> None:
        self._held: dict[Kind, dict[str, Revocation]] = {kind: {} for kind in Kind}

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    def __iter__(self) -> Iterator[Revocation]:
        for held in self._held.values():
            yield from held.values()

    def has(self, decision: Revocation) -> bool:
        """Tell whether one of the same name is held."""
        return decision.id in self._held[decision.kind]

    def take(self, decisions: Iterable[Revocation]) -> None:
        """Take decisions in, in their order."""
        for decision in decisions:
            held = self._held[decision.kind]
            before = held.get(decision.id)
            held[decision.id] = decision if before is None else _joined(before, decision)

    def drop_over(self, now_ms: int) -> None:
        """Forget what holds no more."""
        for kind, held in self._held.items():
            self._held[kind] = {id: each for id, each in held.items() if not each.over(now_ms)}

    def beyond(self, others: "Revocations") -> list[Revocation]:
        """Return what is decided here, and not, or not so far, among the others."""
        found = []
        for mine in self:
            theirs = others._held[mine.kind].get(mine.id)
            if theirs is None or _joined(theirs, mine) != theirs:
                found.append(mine)
        return found

    def check_user(self, user: str, now_ms: int) -> None:
        """Refuse a user that is blocked (`PermissionDenied`)."""
        block = self._held[Kind.BLOCK].get(user)
        if block is not None and not block.over(now_ms):
            raise PermissionDenied("the user is blocked")

    def check(self, user: str, token_id: str, issued_ms: int, now_ms: int) -> None:
        """Refuse a token of `user`; one that does not tell when it was issued (0) is older than all that do.

        Raises:
            PermissionDenied: the user is blocked.
            Unauthorized: the token is revoked.
        """
        self.check_user(user, now_ms)
        one, all_of_user = self._held[Kind.TOKEN].get(token_id), self._held[Kind.USER].get(user)
        if one is not None and not one.over(now_ms):
            raise Unauthorized("the token is revoked")
        if (
            all_of_user is not None
            and issued_ms < all_of_user.issued_before_ms
            and not all_of_user.over(now_ms)
        ):
            raise Unauthorized("the user's tokens of that time are revoked")


def _joined(before: Revocation, later: Revocation) -> Revocation:
    if before.kind is Kind.BLOCK:
        return later if later.at_ms >= before.at_ms else before
    if before.over(later.at_ms):
        return later
    if later.over(before.at_ms):
        return before
    ends_ms = max(before.ends_ms, later.ends_ms) if before.ends_ms and later.ends_ms else 0
    return replace(
        before,
        at_ms=max(before.at_ms, later.at_ms),
        ends_ms=ends_ms,
        issued_before_ms=max(before.issued_before_ms, later.issued_before_ms),
    )
