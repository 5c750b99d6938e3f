"""The methods about who may not be here any more: revoked tokens, blocked users."""

from heapq import nsmallest
from typing import Any

from gapless.broker.revocations import OVER_MS, Kind, Revocation
from gapless.core.errors import BadRequest
from gapless.core.limits import REVOCATIONS_PAGE_MAX, REVOKED_ID_BYTES_MAX
from gapless.ports import Clock
from gapless.server.api.calls import encode
from gapless.server.api.requests import BlockRequest, RevocationsRequest, RevokeRequest, UnblockRequest
from gapless.server.revoking import Revoking

__all__ = ["Revoke"]


class Revoke:
    """What a backend may revoke. Each method is answered once the decision is stored; repeat it at will.

    Raises:
        BadRequest: a field is missing or malformed.
        LimitExceeded: REVOCATIONS_MAX hold already.
        Unavailable: it could not be stored.
    """

    def __init__(self, revoking: Revoking, clock: Clock) -> None:
        self._revoking = revoking
        self._clock = clock

    async def revoke(self, request: RevokeRequest) -> bytes:
        """Revoke one token, or those of a user; what they opened is ended."""
        if bool(request.user) == bool(request.token_id):
            raise BadRequest("name the user, or the token_id")
        if request.token_id:
            if request.issued_before is not None:
                raise BadRequest("issued_before goes with a user")
            decision = Revocation(Kind.TOKEN, _id(request.token_id), ends_ms=_ms(request.expire_at))
        else:
            before_ms = _ms(request.issued_before) or self._clock.now_ms()
            decision = Revocation(
                Kind.USER, _id(request.user), ends_ms=_ms(request.expire_at), issued_before_ms=before_ms
            )
        return await self._decide(decision)

    async def block(self, request: BlockRequest) -> bytes:
        """End a user's connections, and refuse new ones."""
        return await self._decide(Revocation(Kind.BLOCK, _id(request.user), ends_ms=_ms(request.expire_at)))

    async def unblock(self, request: UnblockRequest) -> bytes:
        """Let a user come back. What was revoked stays revoked."""
        return await self._decide(Revocation(Kind.BLOCK, _id(request.user), ends_ms=OVER_MS))

    def revocations(self, request: RevocationsRequest) -> bytes:
        """Return what holds, a page of it in the order of their names."""
        now_ms, after = self._clock.now_ms(), request.after or ""
        limit = min(request.limit or REVOCATIONS_PAGE_MAX, REVOCATIONS_PAGE_MAX)
        held = (each for each in self._revoking.held if each.name > after and not each.over(now_ms))
        page = nsmallest(limit + 1, held, key=lambda each: each.name)
        told: dict[str, Any] = {"revocations": [_told(each) for each in page[:limit]]}
        if len(page) > limit:
            told["next"] = page[limit - 1].name
        return encode(told)

    async def _decide(self, decision: Revocation) -> bytes:
        await self._revoking.decide(decision)
        return b"{}"


def _id(id: str) -> str:
    if not 0 < len(id.encode()) <= REVOKED_ID_BYTES_MAX:
        raise BadRequest(f"the id of a user or token has 1 to {REVOKED_ID_BYTES_MAX} bytes")
    return id


def _ms(seconds: float | None) -> int:
    return int((seconds or 0) * 1000)


def _told(revocation: Revocation) -> dict[str, Any]:
    named = "token_id" if revocation.kind is Kind.TOKEN else "user"
    told: dict[str, Any] = {"kind": revocation.kind, named: revocation.id, "at": revocation.at_ms / 1000}
    if revocation.kind is Kind.USER:
        told["issued_before"] = revocation.issued_before_ms / 1000
    if revocation.ends_ms:
        told["expire_at"] = revocation.ends_ms / 1000
    return told
