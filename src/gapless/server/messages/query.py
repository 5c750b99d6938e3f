"""What is asked: the parameters of a request for messages, checked."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from gapless.core.cursor import position
from gapless.core.errors import BadRequest
from gapless.core.limits import PAGE_MESSAGES_MAX, SCROLL_MESSAGES
from gapless.core.stream import Position

__all__ = ["PARAMETERS", "Question", "read"]

PARAMETERS: Final = ("before", "after", "around", "at", "size")
# Where the page is to be; one of them at most.
_WHERE: Final = PARAMETERS[:-1]
# Of the server API; who may use it is decided elsewhere.
_KEY: Final = "api_key"

_SIZE: Final = re.compile("[0-9]{1,4}")
_MILLISECONDS: Final = re.compile("[0-9]{1,15}")  # beyond the year 9999
_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class Question(NamedTuple):
    """`size` messages before, after or around (`where`) a position, or a time in ms; or the newest."""

    where: str
    point: Position | int | None
    size: int


def read(channel: str, query: bytes) -> Question:
    """Read the query of a request for messages of `channel`.

    Raises:
        BadRequest: a parameter is unknown, stands twice, excludes another one, or is not what it has to be.
    """
    given = _parameters(query) if query else {}
    size = _size(given.pop("size")) if "size" in given else SCROLL_MESSAGES
    given.pop(_KEY, None)
    if not given:
        return Question("newest", None, size)
    if len(given) > 1:
        raise BadRequest(f"only one of {', '.join(_WHERE)} can be asked for")
    [(where, text)] = given.items()
    if where == "at":
        return Question("around", _time(where, text), size)
    if where != "around" and text[:1].isdigit():
        return Question(where, _time(where, text), size)
    return Question(where, position(channel, text), size)


def _parameters(query: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in query.split(b"&"):
        if not part:
            continue
        name, _, value = part.partition(b"=")
        key, text = _decoded(name), _decoded(value)
        if key not in PARAMETERS and key != _KEY:
            raise BadRequest(f"unknown parameter {key!r}: there are {', '.join(PARAMETERS)}")
        if key in found:
            raise BadRequest(f"{key} stands twice")
        found[key] = text
    return found


def _decoded(text: bytes) -> str:
    """Decode percent-encoding alone: a plus is a plus, as in the offset of a time."""
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise BadRequest("the query is not UTF-8") from error


def _size(text: str) -> int:
    size = int(text) if _SIZE.fullmatch(text) else 0
    if not 0 < size <= PAGE_MESSAGES_MAX:
        raise BadRequest(f"size is 1 to {PAGE_MESSAGES_MAX}")
    return size


def _time(name: str, text: str) -> int:
    """Read milliseconds since the Unix epoch, or a time as in RFC 3339 (5.6), rounded down to them."""
    if _MILLISECONDS.fullmatch(text):
        return int(text)
    upper = text.upper()
    try:
        if _RFC_3339.fullmatch(upper):
            return (datetime.fromisoformat(upper) - _EPOCH) // _MILLISECOND
    except ValueError:
        pass
    raise BadRequest(
        f"{name} is no time: write 2026-01-31T18:00:00Z, or milliseconds since the Unix epoch"
        + ("" if name == "at" else "; a cursor does not begin with a digit")
    )
