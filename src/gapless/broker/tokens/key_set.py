"""The public keys of one JWKS endpoint (RFC 7517): fetched when needed, and kept."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec import Raw, Struct

from gapless.broker.tokens.signatures import Checks, Jwk, from_jwk
from gapless.core.errors import Unauthorized, Unavailable
from gapless.core.limits import (
    JWKS_ABSENT_MS,
    JWKS_ASKED_MAX,
    JWKS_FRESH_MS,
    JWKS_KEYS_MAX,
    JWKS_RETRY_MS,
)
from gapless.ports import Clock

__all__ = ["Fetch", "KeySet"]

Fetch = Callable[
    [], Awaitable[bytes]
]  # the endpoint's answer, within bounds of size and time; or Unavailable

log: Final = logging.getLogger("gapless.tokens")


class _Set(Struct):
    keys: list[Raw]


class KeySet:
    """Keys by their id (`kid`), of one endpoint alone, which `place` names in the log.

    Keys are fetched again once they are an hour old, or when a token names one that is not known. There is
    one fetch at a time, shared by all tokens that wait for it, and a pause between two. When a fetch fails,
    the known keys stay in use; what names another key is told to come back.
    """

    def __init__(self, fetch: Fetch, clock: Clock, *, place: str) -> None:
        self._fetch = fetch
        self._clock = clock
        self._place = place
        self._keys: dict[str, Checks] = {}
        self._fetched_ms = -JWKS_FRESH_MS
        self._next_ms = 0  # before that nothing is fetched
        self._fetching: asyncio.Task[None] | None = None
        self._asked: set[str] = set()  # ids that the next answer decides on
        self._absent: set[str] = set()  # ids that the latest answer did not hold

    def ready(self, key_id: str) -> Awaitable[None] | None:
        """Return what to wait for before the key is asked for, or None. It ends, and raises nothing."""
        now_ms = self._clock.now_ms()
        old_ms = now_ms - self._fetched_ms
        known = old_ms < JWKS_FRESH_MS if key_id in self._keys else self._is_absent(key_id)
        if known:
            return None
        if self._fetching is None:
            if now_ms < self._next_ms:
                return None
            self._fetching = asyncio.get_running_loop().create_task(self._renew())
        if len(self._asked) < JWKS_ASKED_MAX:
            self._asked.add(key_id)
        return _ended(self._fetching)

    def checks(self, key_id: str) -> Checks:
        """Return what the key checks.

        Raises:
            Unauthorized: there is no such key.
            Unavailable: that cannot be told now.
        """
        checks = self._keys.get(key_id)
        if checks is not None:
            return checks
        if self._is_absent(key_id):
            raise Unauthorized("the token names a key that its issuer does not have")
        raise Unavailable("the keys that tokens are signed with cannot be fetched now")

    def close(self) -> None:
        """Give up a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()

    def _is_absent(self, key_id: str) -> bool:
        return key_id in self._absent and self._clock.now_ms() - self._fetched_ms < JWKS_ABSENT_MS

    async def _renew(self) -> None:
        try:
            keys = _read(await self._fetch(), self._place)
        except Unavailable as error:
            log.warning(
                "keys of tokens: %s: %s; %d known keys stay in use", self._place, error, len(self._keys)
            )
        else:
            if keys.keys() != self._keys.keys():
                log.info("keys of tokens: %s has %d", self._place, len(keys))
            self._keys = keys
            self._fetched_ms = self._clock.now_ms()
            kept = self._absent if len(self._absent) < JWKS_ASKED_MAX else set()
            self._absent = (kept | self._asked) - keys.keys()
        finally:
            self._asked.clear()
            self._fetching = None
            self._next_ms = self._clock.now_ms() + JWKS_RETRY_MS


async def _ended(fetching: asyncio.Task[None]) -> None:
    """Wait for it without owning it: who goes away does not end it for the others."""
    await asyncio.wait([fetching])


def _read(answer: bytes, place: str) -> dict[str, Checks]:
    """Return the keys of a JWKS that can check tokens; others in it are passed over (RFC 7517, section 5).

    Of two with the same id the first counts.

    Raises:
        Unavailable: it is no JWKS, too large a one, or without such a key.
    """
    try:
        entries = msgspec.json.decode(answer, type=_Set).keys
    except (ValueError, RecursionError) as error:
        raise Unavailable("the answer is no JWKS") from error
    if len(entries) > JWKS_KEYS_MAX:
        raise Unavailable(f"a JWKS has up to {JWKS_KEYS_MAX} keys, but this has {len(entries)}")
    keys: dict[str, Checks] = {}
    for entry in entries:
        try:
            jwk = msgspec.json.decode(entry, type=Jwk)
            checks = from_jwk(jwk)
        except (ValueError, RecursionError) as error:
            log.debug("keys of tokens: %s: one is passed over: %s", place, error)
            continue
        if jwk.kid:
            keys.setdefault(jwk.kid, checks)
    if not keys:
        raise Unavailable("the answer holds no key that can check tokens")
    return keys
