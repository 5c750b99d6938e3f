"""Tokens: who a client is and what it may, signed by the user's backend (RFC 7519, Centrifugo's claims)."""

from gapless.broker.tokens.claims import Claims, Grant, Override, SubscriptionClaims
from gapless.broker.tokens.key_set import Fetch, KeySet
from gapless.broker.tokens.verifier import Trust, Verifier

__all__ = ["Claims", "Fetch", "Grant", "KeySet", "Override", "SubscriptionClaims", "Trust", "Verifier"]
