"""Finds words for a mistake in the configuration. Imported when there is one."""

from difflib import get_close_matches
from enum import Enum
from typing import Any, get_args

from msgspec import Meta
from msgspec.structs import FieldInfo

from gapless.server.config.centrifugo import Remark, Verdict, general
from gapless.server.config.fields import DURATION, are_durations, paths
from gapless.server.config.model import Config

__all__ = ["expected", "flat", "hint", "nearly", "told"]


def expected(field: FieldInfo) -> str:
    """Say what a value must be."""
    if field.name.endswith(DURATION):
        return _duration(field)
    for kind in (field.type, *get_args(field.type)):
        if isinstance(kind, type) and issubclass(kind, Enum):
            return "one of " + ", ".join(repr(member.value) for member in kind)
    if field.type is bool:
        return "true or false"
    if field.type == list[str]:
        return "a list of texts"
    if field.type == dict[str, str]:
        return "a table of texts"
    if field.type is int or int in get_args(field.type):
        return "a whole number" + _between(*_bounds(field.type))
    if float in get_args(field.type):
        return "a number" + _between(*_bounds(field.type))
    if any(meta.pattern for meta in _metas(field.type)):
        return 'a path such as "/api"'
    return "a text" + (" that is not empty" if any(meta.min_length for meta in _metas(field.type)) else "")


def _duration(field: FieldInfo) -> str:
    if are_durations(field):
        return 'a list of durations such as ["1s", "10s"]'
    least_ms = _bounds(field.type)[0]
    return 'a duration such as "1h30m"' + (f" of at least {least_ms} ms" if least_ms else "")


def _metas(kind: Any) -> list[Meta]:
    return [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, Meta)]


def _bounds(kind: Any) -> tuple[Any, Any]:
    metas = _metas(kind)
    return (metas[0].ge, metas[0].le) if metas else (None, None)


def _between(least: int | None, most: int | None) -> str:
    if most is not None:
        return f" from {least} to {most}"
    return f" of at least {least}" if least is not None else ""


def told(remark: Remark) -> str:
    """Say what gapless does with a key that it does not have."""
    match remark.verdict:
        case Verdict.MISSING:
            return f"{remark.path}: this key of Centrifugo's is not one that gapless has: {remark.sentence}"
        case Verdict.IGNORED:
            return f"{remark.path}: this key of Centrifugo's has no effect: {remark.sentence}"
        case _:
            return f"{remark.path}: unknown key{hint(general(remark.path))}"


def hint(path: str) -> str:
    """Name the path most like `path`: in its section, else by its last word, else by all of them."""
    known = list(dict.fromkeys(general(other) for other, _ in paths(Config)))
    if path in known:
        return "; write it below its sections, each an object of its own"
    section, _, key = path.rpartition(".")
    siblings = {other.rpartition(".")[2]: other for other in known if other.rpartition(".")[0] == section}
    anywhere = {other.rpartition(".")[2]: other for other in reversed(known)}  # the first of a name counts
    whole = {other.replace(".", "_"): other for other in known}
    for among, word in ((siblings, key), (anywhere, key), (whole, path.replace(".", "_"))):
        if near := _nearest(word, among):
            return f"; did you mean {near}?"
    return ""


def _nearest(word: str, among: dict[str, str]) -> str:
    found = get_close_matches(word, among, n=1, cutoff=0.7)
    return among[found[0]] if found else ""


def nearly(variable: str) -> str:
    """Return the path that a variable's name almost means, if its underscores are taken for levels."""
    return _nearest(variable.lower(), {path.replace(".", "_"): path for path, _ in paths(Config)})


def flat(variable: str) -> str:
    """Return the path that a variable's name means if its underscores are taken for levels, or nothing."""
    return next((path for path, _ in paths(Config) if path.replace(".", "_") == variable.lower()), "")
