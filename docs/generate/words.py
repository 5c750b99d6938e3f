"""Markdown from Python: tables, and what a type or a default is called for people."""

import inspect
from collections.abc import Iterable, Sequence
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, Raw, Struct, UnsetType
from msgspec.structs import FieldInfo

from gapless.core.durations import spelled
from gapless.server.config.fields import DURATION, are_durations

__all__ = ["default_of", "said", "table", "type_of"]

_NAMES: dict[object, str] = {
    bool: "yes or no",
    int: "number",
    float: "number",
    str: "text",
    bytes: "base64",
    Raw: "any JSON",
    Any: "any JSON",
}
_NOTHING: tuple[object, ...] = (None, "", (), [], {}, UNSET)


def said(thing: object) -> str:
    """Return a docstring as Markdown."""
    return inspect.getdoc(thing) or ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def type_of(field: FieldInfo, *, wire: bool = False) -> str:
    """Say what may be written for a field; on the wire a duration is a number."""
    if wire:
        return _type(field.type)
    if are_durations(field):
        return "list of durations"
    return "duration" if field.name.endswith(DURATION) else _type(field.type)


def _type(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type(inner[0]) + _bounds(inner[1], "characters" if inner[0] is str else "items")
    if origin in (Union, UnionType):
        return " or ".join(_type(each) for each in inner if each not in (NoneType, UnsetType))
    if origin in (list, tuple):
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"map of {_type(inner[0])} to {_type(inner[1])}"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{each.value}`" if each.value else "nothing" for each in kind)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return _NAMES[kind]


def _bounds(meta: Meta, of: str) -> str:
    least, most = meta.ge, meta.le
    if least is not None and most is not None:
        return f", {least:,} to {most:,}"
    if least is not None:
        return f", at least {least:,}"
    return f", up to {meta.max_length:,} {of}" if meta.max_length else ""


def default_of(field: FieldInfo, *, wire: bool = False) -> str:
    """Write the default of a field as it would stand in a file, or on the wire."""
    default = field.default_factory() if field.default_factory is not NODEFAULT else field.default
    if field.name.endswith(DURATION) and not are_durations(field) and not wire and default is not NODEFAULT:
        return f"`{spelled(default)}`"
    if isinstance(default, Raw) or default is NODEFAULT or default in _NOTHING:
        return ""
    return f"`{msgspec.json.encode(default).decode()}`"
