"""Passwords of the console's users: as they are, or as hashes that hide them (scrypt, RFC 7914)."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from binascii import Error
from typing import Final, NamedTuple

from gapless.core.errors import ConfigError
from gapless.core.limits import PASSWORD_HASH_BYTES_MAX, PASSWORD_ROUNDS_MAX

__all__ = ["COST", "SALT_BYTES", "Cost", "Hash", "hash_of", "same"]

SCHEME: Final = "scrypt:"
FORM: Final = "scrypt:<n>:<r>:<p>:<salt>:<hash>"
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32


class Cost(NamedTuple):
    """What finding one hash costs: 128 × n × r bytes, p times."""

    n: int
    r: int
    p: int


COST: Final = Cost(2**15, 8, 3)  # one of those that OWASP asks for; 32 MiB, a fifth of a second


class Hash(NamedTuple):
    """A hash of a password."""

    cost: Cost
    salt: bytes
    digest: bytes

    @classmethod
    def read(cls, text: str) -> "Hash | None":
        """Return the hash that a text is, or None if it is a password as it is.

        Raises:
            ConfigError: it begins as a hash does, and is none that can be found here.
        """
        if not text.startswith(SCHEME):
            return None
        try:
            n, r, p, salt, digest = text.removeprefix(SCHEME).split(":")
            cost = Cost(int(n), int(r), int(p))
            found = cls(cost, b64decode(salt, validate=True), b64decode(digest, validate=True))
        except (ValueError, Error) as error:
            raise ConfigError(f"a hash of a password looks like {FORM}") from error
        if not found.salt or len(found.digest) != HASH_BYTES:
            raise ConfigError(f"a hash of a password looks like {FORM}, with a hash of {HASH_BYTES} bytes")
        _check(cost)
        return found

    def __str__(self) -> str:
        salt, digest = (b64encode(part).decode() for part in (self.salt, self.digest))
        return f"{SCHEME}{self.cost.n}:{self.cost.r}:{self.cost.p}:{salt}:{digest}"


def _check(cost: Cost) -> None:
    n, r, p = cost
    if n < 2 or n & (n - 1) or r < 1 or not 1 <= p <= PASSWORD_ROUNDS_MAX:
        raise ConfigError(
            f"in {FORM} n is a power of two, r at least 1, and p from 1 to {PASSWORD_ROUNDS_MAX}"
        )
    if 128 * n * r > PASSWORD_HASH_BYTES_MAX:
        raise ConfigError(f"in {FORM} 128 × n × r is up to {PASSWORD_HASH_BYTES_MAX}")


def hash_of(password: str, salt: bytes, cost: Cost = COST) -> Hash:
    """Return the hash of a password; that takes a while, on purpose."""
    room = 128 * cost.r * (cost.n + cost.p + 2)  # what OpenSSL counts
    digest = hashlib.scrypt(
        password.encode(), salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=room + 1024, dklen=HASH_BYTES
    )
    return Hash(cost, salt, digest)


def same(one: str, other: str) -> bool:
    """Compare two secrets in a time that tells neither where they differ nor how long they are."""
    return hmac.compare_digest(hashlib.sha256(one.encode()).digest(), hashlib.sha256(other.encode()).digest())
