"""What the verbs of queues and streams carry and how one of several items fails, in both directions."""

from typing import Annotated, Final

from msgspec import Meta as Bounds
from msgspec import Struct

from gapless.core.depth import too_deep
from gapless.core.errors import BadRequest, GaplessError
from gapless.core.limits import (
    JOB_DELAY_MAX_MS,
    JOB_HEADERS_BYTES_MAX,
    JOB_KEY_BYTES_MAX,
    JSON_DEPTH_MAX,
    PRIORITY_MAX,
    QUEUE_NAME_BYTES_MAX,
    WAIT_MAX_MS,
)
from gapless.protocol.messages import NO_PAYLOAD, Payload, payload
from gapless.protocol.meta import KEY_TAG, OWN_TAGS, Meta, is_json, read_meta

__all__ = [
    "NAME",
    "Answer",
    "Body",
    "Carried",
    "Count",
    "DelayMs",
    "DurationMs",
    "Failure",
    "Key",
    "Name",
    "Nothing",
    "Offset",
    "Priority",
    "Request",
    "TimeMs",
    "Wait",
    "failure_of",
]

NAME: Final = r"^[a-zA-Z0-9_][-a-zA-Z0-9_.]*$"
# Too short to be nested too deep.
SHALLOW_BYTES: Final = 2 * JSON_DEPTH_MAX

Name = Annotated[str, Bounds(pattern=NAME, max_length=QUEUE_NAME_BYTES_MAX)]
DelayMs = Annotated[int, Bounds(ge=0, le=JOB_DELAY_MAX_MS)]
Key = Annotated[str, Bounds(min_length=1, max_length=JOB_KEY_BYTES_MAX)]
Priority = Annotated[int, Bounds(ge=0, le=PRIORITY_MAX)]
Wait = Annotated[int, Bounds(ge=0, le=WAIT_MAX_MS)]
Offset = Annotated[int, Bounds(ge=0, le=2**63 - 1)]
TimeMs = Annotated[int, Bounds(ge=0, le=2**53 - 1)]
DurationMs = Annotated[int, Bounds(ge=0, le=2**53 - 1)]
Count = Annotated[int, Bounds(ge=0, le=2**53 - 1)]


# Trees, as JSON is: the garbage collector, which took a quarter of a client's time, need not look at these.
class Request(Struct, kw_only=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """What a verb is asked."""


class Answer(Struct, kw_only=True, gc=False, omit_defaults=True):
    """What a verb answers; where most fields are mostly at their defaults, those that are are left out."""


class Body(Struct, kw_only=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """What is handed in: `data`, any JSON, or `b64data`, any bytes; and `headers`, texts by name.

    JSON in `b64data` is as good as in `data`, and comes back there. All headers may have 16 KiB as JSON.
    """

    data: Payload = NO_PAYLOAD
    b64data: bytes | None = None
    headers: dict[str, str] = {}

    def stored(self, *, key: str | None = None) -> tuple[bytes, bytes, bool]:
        """Return the payload, what is stored beside it (`protocol.meta.Meta`), and whether it is not JSON.

        What is beside it has a `key` if one is given.

        Raises:
            BadRequest: there is no payload or there are two, it is nested too deep, or the headers are too
                large.
        """
        data = bytes(self.data)
        if bool(data) is (self.b64data is not None):
            raise BadRequest("either data or b64data is needed")
        binary = False
        if self.b64data is not None:
            data = self.b64data
            binary = not is_json(data)
        if len(data) > SHALLOW_BYTES and not binary and too_deep(data, JSON_DEPTH_MAX):
            raise BadRequest(f"a payload is nested up to {JSON_DEPTH_MAX} deep")
        if not (self.headers or binary or key):
            return data, b"", False
        tags = self.headers
        if tags:
            _check_headers(tags, binary=binary)
        if key:
            tags = {**tags, KEY_TAG: key}
        return data, Meta(tags=tags, binary=binary).encoded(), binary


class Carried(Struct, kw_only=True, gc=False, omit_defaults=True):
    """What is handed out: `data` if it is JSON, else `b64data`; and its headers."""

    data: Payload = NO_PAYLOAD
    b64data: bytes | None = None
    headers: dict[str, str] = {}

    def body(self) -> bytes:
        """Return the payload, whatever it is."""
        return bytes(self.data) if self.b64data is None else self.b64data

    def carry(self, data: bytes, beside: bytes) -> Meta | None:
        """Take over a payload and what was stored beside it; return the latter, read, if it is anything."""
        if not beside:
            self.data = payload(data)
            return None
        meta = read_meta(beside)
        if meta.binary:
            self.b64data = data
        else:
            self.data = payload(data)
        self.headers = meta.tags
        return meta


class Nothing(Struct):
    """It is done."""


class Failure(Struct, frozen=True):
    """Why a call, or one item of it, was refused.

    `code` and `message` are Centrifugo's words, `reason` is a stable name; with `temporary` the same may
    succeed later.
    """

    code: int
    message: str
    reason: str
    temporary: bool

    def error(self) -> GaplessError:
        """Return the error that it stands for; one that this version does not know is a GaplessError."""
        return _ERRORS.get(self.reason, GaplessError)(self.message)


def failure_of(error: GaplessError) -> Failure:
    """Return an error as callers are told it."""
    return Failure(error.number, str(error) or error.code, error.code, error.temporary)


def _check_headers(headers: dict[str, str], *, binary: bool) -> None:
    if len(Meta(tags=headers, binary=binary).encoded()) > JOB_HEADERS_BYTES_MAX:
        raise BadRequest(f"headers have up to {JOB_HEADERS_BYTES_MAX} bytes as JSON")
    if any(name.startswith(OWN_TAGS) for name in headers):
        raise BadRequest(f"headers that begin with {OWN_TAGS!r} are gapless's own")


def _by_reason(parent: type[GaplessError]) -> dict[str, type[GaplessError]]:
    found = {parent.code: parent}
    for child in parent.__subclasses__():
        found = {**found, **_by_reason(child)}  # bad_request is what is raised, not what it derives from
    return found


_ERRORS: Final = _by_reason(GaplessError)
