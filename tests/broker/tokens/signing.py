"""Keys, and tokens made by hand, so that they may be wrong in any way."""

import base64
import hmac
import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import get_default_algorithms

SECRET = "a secret of the backend's"
NOW_MS = 1_700_000_000_000
NOW_SECONDS = NOW_MS // 1000

HS = ("HS256", "HS384", "HS512")
RS = ("RS256", "RS384", "RS512")
CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}
# What each kind of key may check.
KINDS = {
    "secret": HS,
    "RSA": RS,
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA",),
}
OPTIONS = {
    "secret": "hmac_secret_key",
    "RSA": "rsa_public_key",
    "P-256": "ecdsa_public_key",
    "P-384": "ecdsa_public_key",
    "P-521": "ecdsa_public_key",
    "Ed25519": "ed25519_public_key",
}
ALGORITHMS = [(kind, algorithm) for kind, algorithms in KINDS.items() for algorithm in algorithms]


def private(kind: str, which: int = 0, bits: int = 2048) -> Any:
    """The private key of a kind; `which` makes another."""
    return _made(kind, which, bits)


@cache
def _made(kind: str, which: int, bits: int) -> Any:
    match kind:
        case "secret":
            return SECRET if which == 0 else f"another secret, {which}"
        case "RSA":
            return rsa.generate_private_key(65537, bits)
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "Ed448":
            return ed448.Ed448PrivateKey.generate()
    return ec.generate_private_key(CURVES[kind])


def pem(kind: str, which: int = 0, bits: int = 2048) -> str:
    """What a configuration holds of a key."""
    if kind == "secret":
        return str(private(kind, which))
    public = private(kind, which, bits).public_key()
    return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def private_pem(kind: str) -> str:
    held = private(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return str(held.decode())


def jwk(kind: str, kid: str, which: int = 0, **more: Any) -> dict[str, Any]:
    """A key as a JWKS holds it."""
    algorithms = {"RSA": "RS256", "Ed25519": "EdDSA", "Ed448": "EdDSA"}
    public = private(kind, which).public_key()
    held = get_default_algorithms()[algorithms.get(kind, "ES256")].to_jwk(public, as_dict=True)
    return {**held, "kid": kid, "use": "sig", **more}


def segment(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signature(content: str, key: Any, algorithm: str) -> str:
    """Sign as `algorithm` says, with whatever key."""
    if isinstance(key, str):
        digest = f"sha{algorithm[2:]}" if algorithm in HS else "sha256"
        return segment(hmac.digest(key.encode(), content.encode(), digest))
    return segment(get_default_algorithms()[algorithm].sign(content.encode(), key))


def signed(claims: object, key: Any = SECRET, signed_as: str = "HS256", **header: Any) -> str:
    """A token with a true signature; `header` may say something else."""
    content = f"{segment({'alg': signed_as, 'typ': 'JWT', **header})}.{segment(claims)}"
    return f"{content}.{signature(content, key, signed_as)}"
