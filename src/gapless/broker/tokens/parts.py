"""The three parts of a token (RFC 7515, compact form), before anything about it is believed."""

import json
from binascii import a2b_base64, b2a_base64
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn

from gapless.core.errors import Unauthorized
from gapless.core.limits import (
    TOKEN_BYTES_MAX,
    TOKEN_HEADER_BYTES_MAX,
    TOKEN_HEADERS_REMEMBERED_MAX,
)

__all__ = ["Header", "Parts", "decoded", "encoded", "split"]

# Header parameters that bring a key along, or rules of the sender's choice.
REFUSED_PARAMETERS: Final = ("b64", "crit", "jku", "jwk", "x5c", "x5u", "zip")
# Other kinds of token are signed with the same keys (RFC 8725, section 3.11): they open nothing here.
TYPES: Final = ("jwt", "at+jwt", "application/jwt", "application/at+jwt")

# "!" is in neither alphabet.
_FROM_URL: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")


class Header(NamedTuple):
    """What a token's header says about its signature. An empty `key_id` is none."""

    algorithm: str
    key_id: str


class Parts(NamedTuple):
    """A token in parts: what is signed (`content`, its second half is `payload`), and the signature."""

    header: Header
    content: bytes
    payload: bytes
    signature: bytes


def split(token: str) -> Parts:
    """Take a token apart.

    Raises:
        Unauthorized: it is too long, not of three parts, or its header is not one to go on with.
    """
    if len(token) > TOKEN_BYTES_MAX:
        raise Unauthorized(f"a token has up to {TOKEN_BYTES_MAX} bytes")
    try:
        text = token.encode("ascii")
    except UnicodeEncodeError as error:
        raise Unauthorized("a token is ASCII") from error
    content, _, signature = text.rpartition(b".")
    header, _, payload = content.partition(b".")
    return Parts(_header(header), content, payload, signature)


def decoded(part: bytes) -> bytes:
    """Decode base64url without padding (RFC 7515, section 2).

    Raises:
        ValueError: it holds anything else.
    """
    return a2b_base64(part.translate(_FROM_URL) + b"=="[: -len(part) % 4], strict_mode=True)


def encoded(data: bytes) -> bytes:
    """Encode as base64url without padding."""
    return b2a_base64(data, newline=False).translate(_TO_URL, b"=")


@lru_cache(maxsize=TOKEN_HEADERS_REMEMBERED_MAX)
def _header(part: bytes) -> Header:
    """Judge a header. The same few come with all tokens, so each is read once."""
    if len(part) > TOKEN_HEADER_BYTES_MAX:
        raise Unauthorized(f"a token's header has up to {TOKEN_HEADER_BYTES_MAX} bytes")
    try:
        header = json.loads(decoded(part).decode(), object_pairs_hook=_unique, parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        raise Unauthorized("the token's header is not base64url of JSON") from error
    if not isinstance(header, dict):
        raise Unauthorized("the token's header is not an object")
    for name in REFUSED_PARAMETERS:
        if name in header:
            raise Unauthorized(f"the token's header may not have {name!r}")
    algorithm, kind, key_id = header.get("alg"), header.get("typ", "JWT"), header.get("kid", "")
    if not (isinstance(algorithm, str) and isinstance(kind, str) and isinstance(key_id, str)):
        raise Unauthorized("alg, typ and kid in a token's header are texts")
    if kind.lower() not in TYPES:
        raise Unauthorized(f"a token of type {kind!r} opens nothing here")
    return Header(algorithm, key_id)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse two of one name: readers differ in which of them counts."""
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("a name stands twice")
    return unique


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
