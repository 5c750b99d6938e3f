"""Finds words for a mistake in the configuration. Imported when there is one."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from enum import Enum
from importlib.resources import files
from typing import Any, get_args

from msgspec import Meta, Struct
from msgspec.structs import FieldInfo

from gapless.server.config.model import Config
from gapless.server.config.reading import DURATION, keys, section_of

__all__ = ["expected", "flat", "unknown"]


def expected(field: FieldInfo) -> str:
    """Say what a value must be."""
    if field.name.endswith(DURATION):
        least_ms = _bounds(field.type)[0]
        return 'a duration such as "1h30m"' + (f" of at least {least_ms} ms" if least_ms else "")
    for kind in (field.type, *get_args(field.type)):
        if isinstance(kind, type) and issubclass(kind, Enum):
            return "one of " + ", ".join(repr(member.value) for member in kind)
    if field.type is bool:
        return "true or false"
    if field.type == list[str]:
        return "a list of texts"
    if field.type is int or int in get_args(field.type):
        return "a whole number" + _between(*_bounds(field.type))
    if any(meta.pattern for meta in _metas(field.type)):
        return 'a path such as "/api"'
    return "a text"


def _metas(kind: Any) -> list[Meta]:
    return [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, Meta)]


def _bounds(kind: Any) -> tuple[Any, Any]:
    metas = _metas(kind)
    return (metas[0].ge, metas[0].le) if metas else (None, None)


def _between(least: int | None, most: int | None) -> str:
    if most is not None:
        return f" from {least} to {most}"
    return f" of at least {least}" if least is not None else ""


def unknown(path: str) -> str:
    """Say that there is no such key: that it is Centrifugo's, or which key may have been meant."""
    general = re.sub(r"\[\d+\]", "", path).replace("channel.without_namespace", "channel.namespaces")
    if general in _centrifugo():
        return f"{path}: this key of Centrifugo's is not one that gapless has"
    nearest = _nearest(general)
    return f"{path}: unknown key" + (f"; did you mean {nearest}?" if nearest else "")


def _nearest(path: str) -> str:
    """Return the known path most like `path`: of the same section, or else by its last word."""
    known = list(_paths(Config, ""))
    section, _, key = path.rpartition(".")
    siblings = {other.rpartition(".")[2]: other for other in known if other.rpartition(".")[0] == section}
    anywhere = {other.rpartition(".")[2]: other for other in known}
    for among in (siblings, anywhere):
        found = get_close_matches(key, among, n=1, cutoff=0.7)
        if found:
            return among[found[0]]
    return ""


def flat(variable: str) -> str:
    """Return the path that a variable's name means if its underscores are taken for levels, or nothing."""
    return next((path for path in _paths(Config, "") if path.replace(".", "_") == variable.lower()), "")


def _paths(model: type[Struct], path: str) -> Iterator[str]:
    for key, field in keys(model).items():
        place = f"{path}.{key}" if path else key
        yield place
        inner = section_of(field)
        if inner is not None:
            yield from _paths(inner, place)


def _centrifugo() -> set[str]:
    """Return the paths of Centrifugo's that gapless does not have: of each, its first unknown step."""
    lines = (files(__package__) / "centrifugo_v6_keys.txt").read_text().splitlines()
    found: set[str] = set()
    for line in lines:
        section, _, names = line.partition(":")
        found.update(f"{section}.{name}" if section else name for name in names.split())
    return found
