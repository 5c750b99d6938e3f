"""Shows a configuration: each key with its value, as a file has it, and where it was set; no secrets."""

from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import FieldInfo

from gapless.core.durations import spelled
from gapless.core.masking import HIDDEN, masked_url
from gapless.server.config.effective import SetAt
from gapless.server.config.fields import DURATION, are_durations, is_secret, leaves
from gapless.server.config.model import Config

__all__ = ["Line", "lines", "lines_of", "masked"]

DEFAULT: Final = "default"
PEM: Final = ("-----BEGIN ", "LS0tLS1CRUdJTi")  # as it is, and in base64


class Line(Struct, frozen=True):
    """One key. `origin` is a file with its line, a variable, a flag, or `default`."""

    key: str
    value: Any
    origin: str


def lines(config: Config, origins: SetAt) -> Iterator[Line]:
    """Return every key that there is, in the model's order."""
    return lines_of(config, "", origins)


def lines_of(section: Struct, path: str, origins: SetAt) -> Iterator[Line]:
    """Return every key of the section that stands at a path."""
    for key, field, value in leaves(section, path):
        yield Line(key, masked(key, _written(field, value)), origins.get(key, DEFAULT))


def _written(field: FieldInfo, value: Any) -> Any:
    if are_durations(field):
        return [spelled(each) for each in value]
    return spelled(value) if field.name.endswith(DURATION) else value


def masked(path: str, value: Any) -> Any:
    """Return the value of a key as it may be shown and logged: no key, no password, no PEM."""
    if isinstance(value, Enum):
        return value.value
    if not isinstance(value, str) or not value:
        return value
    if is_secret(path) or any(begin in value for begin in PEM):
        return HIDDEN
    return masked_url(value)
