"""Which algorithms a key may check, and how: one family per key (RFC 8725, section 3.1).

HMAC is computed here: through PyJWT it took 17 of the 18 µs that a token cost; all else is PyJWT's.
"""

import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from gapless.broker.tokens.parts import decoded, encoded
from gapless.core.limits import RSA_BITS_MAX, RSA_BITS_MIN

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

__all__ = ["PUBLIC", "Check", "Checks", "Jwk", "from_jwk", "from_pem", "from_secret"]

Check = Callable[[bytes, bytes], bool]  # whether content and signature, both as they stand, belong together
Checks = Mapping[str, Check]  # by algorithm

HMAC: Final = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
RSA: Final = ("RS256", "RS384", "RS512")
CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
EDDSA: Final = "EdDSA"
PUBLIC: Final = frozenset((*RSA, *CURVES.values(), EDDSA))  # checked with a public key

PARTS: Final = ("kty", "n", "e", "crv", "x", "y")  # of a JWK, which make the key

Number = Annotated[str, Meta(max_length=RSA_BITS_MAX // 5)]  # base64url, 6 bits a character


class Jwk(Struct):
    """A public key as a JWKS holds it (RFC 7517, 7518 section 6, 8037); private parts are not read."""

    kty: str
    kid: str = ""
    use: str | None = None
    alg: str | None = None
    key_ops: list[str] | None = None
    n: Number = ""
    e: Annotated[str, Meta(max_length=11)] = ""  # 64 bits; larger ones only make checking slow
    crv: str = ""
    x: Number = ""
    y: Number = ""


def from_secret(secret: str) -> Checks:
    """Return the HMAC checks of a shared secret.

    Raises:
        ValueError: it is a public key, which an attacker has too.
    """
    if "-----BEGIN" in secret or secret.startswith(("ssh-", "ecdsa-sha2-")):
        raise ValueError("must be a secret of your own, but this is a key file")
    key = secret.encode()
    return {name: _hmac(key, digest) for name, digest in HMAC.items()}


def _hmac(key: bytes, digest: str) -> Check:
    def check(content: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(encoded(hmac.digest(key, content, digest)), signature)

    return check


def from_pem(pem: str) -> tuple[str, Checks]:
    """Return the type (`kty`) and the checks of a public key, or of a certificate's.

    Raises:
        ValueError: it is not PEM, or no public key that tokens are signed with.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    if "PRIVATE KEY-----" in pem:
        raise ValueError("must be a public key, but this is a private one")
    try:
        data = pem.encode()
        key: PublicKeyTypes = (
            load_pem_x509_certificate(data).public_key()
            if b"BEGIN CERTIFICATE" in data
            else load_pem_public_key(data)
        )
    except Exception as error:  # cryptography has many for what it cannot read
        raise ValueError("must be the PEM of a public key, which this is not") from error
    return _checks(key)


def from_jwk(jwk: Jwk) -> Checks:
    """Return the checks of a key in a JWKS, as far as its `use`, `key_ops` and `alg` let it check any.

    Raises:
        ValueError: it is not for checking tokens; a symmetric key never is.
    """
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

    readers: dict[str, Callable[[dict[str, Any]], Any]] = {
        "RSA": RSAAlgorithm.from_jwk,
        "EC": ECAlgorithm.from_jwk,
        "OKP": OKPAlgorithm.from_jwk,
    }
    if jwk.kty not in readers:
        raise ValueError(f"keys of type {jwk.kty!r} are not taken from a JWKS")
    if jwk.use not in (None, "sig") or (jwk.key_ops is not None and "verify" not in jwk.key_ops):
        raise ValueError("it is not for checking signatures")
    public = {name: value for name, value in msgspec.structs.asdict(jwk).items() if value and name in PARTS}
    try:
        key = readers[jwk.kty](public)
    except Exception as error:  # PyJWT and cryptography have many for what they cannot read
        raise ValueError(f"it is no key of type {jwk.kty}") from error
    _, checks = _checks(key)
    if jwk.alg is None:
        return checks
    if jwk.alg not in checks:
        raise ValueError(f"alg {jwk.alg!r} does not go with the key")
    return {jwk.alg: checks[jwk.alg]}


def _checks(key: "PublicKeyTypes") -> tuple[str, Checks]:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    match key:
        case RSAPublicKey() if RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
            return "RSA", {name: _public(key, name) for name in RSA}
        case RSAPublicKey():
            raise ValueError(f"must have {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, but this has {key.key_size}")
        case EllipticCurvePublicKey() if key.curve.name in CURVES:
            name = CURVES[key.curve.name]
            return "EC", {name: _public(key, name)}
        case Ed25519PublicKey():
            return "OKP", {EDDSA: _public(key, EDDSA)}
    raise ValueError("must be of RSA, a curve P-256, P-384 or P-521, or Ed25519, but this is not")


def _public(key: "PublicKeyTypes", name: str) -> Check:
    from jwt.algorithms import get_default_algorithms

    algorithm = get_default_algorithms()[name]

    def check(content: bytes, signature: bytes) -> bool:
        try:
            return algorithm.verify(content, key, decoded(signature))
        except ValueError:
            return False

    return check
