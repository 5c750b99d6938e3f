"""What a configuration file of Centrifugo v6 may hold, and what gapless does with each key."""

import re
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final, get_args

from msgspec import Struct
from msgspec.structs import FieldInfo, replace

from gapless.core.durations import milliseconds, spelled
from gapless.server.config.fields import DURATION, leaves, paths, section_of
from gapless.server.config.model import Config

__all__ = ["Key", "Remark", "Verdict", "about_value", "general", "judge", "rows"]

_OFF: Final = ("", "0", "0s", "false", "none", "null", "[]", "{}")


class Verdict(StrEnum):
    """What becomes of a key. `unknown` is one that neither gapless nor Centrifugo has."""

    SAME = "same"
    OURS = "ours"
    IGNORED = "ignored"
    MISSING = "not here"
    UNKNOWN = "unknown"


class Key(Struct, frozen=True):
    """A key of Centrifugo's or ours. `sentence` says why it has no effect, or what to use instead.

    `kind` is one of `text`, `texts` (a list), `number`, `bool`, `duration`, `pem`, `table` (of texts),
    `section`, `sections` (a list); `default` is Centrifugo's and `default_here` ours, if there is such a key:
    "" for nothing, zero and false.
    """

    path: str
    kind: str
    default: str
    verdict: Verdict
    sentence: str = ""
    default_here: str = ""


class Remark(Struct, frozen=True):
    """Something to say about a key in a file. Remarks of the same `owner` are one."""

    verdict: Verdict
    path: str
    owner: str
    sentence: str = ""


def general(path: str) -> str:
    """Return the path by which a key is found in the lists: without numbers, of a namespace with a name."""
    return re.sub(r"\[\d+\]", "", path).replace("channel.without_namespace.", "channel.namespaces.")


def rows() -> list[Key]:
    """Return every key of Centrifugo's, in its order, then those that are only ours.

    What can be set for channels stands there once, as `channel.namespaces...`.
    """
    listed = _listed()
    ours = {general(path): field for path, field in paths(Config)}
    here = {general(path): _default(field, value) for path, field, value in leaves(Config())}
    only_ours = [
        Key(path, _kind(field), "", Verdict.OURS) for path, field in ours.items() if path not in listed
    ]
    return [replace(key, default_here=here.get(key.path, "")) for key in (*listed.values(), *only_ours)]


def _kind(field: FieldInfo) -> str:
    if section_of(field) is not None:
        return "section"
    if field.name.endswith(DURATION):
        return "duration"
    names = {bool: "bool", list[str]: "texts", dict[str, str]: "table"}
    return names.get(field.type, "number" if int in (field.type, *get_args(field.type)) else "text")


def _default(field: FieldInfo, value: Any) -> str:
    if not value:
        return ""
    if field.name.endswith(DURATION):
        return spelled(value)
    return "true" if value is True else str(value)


def judge(path: str, value: Any) -> Iterator[Remark]:
    """Say what there is to say about a key that gapless does not have, and about all that it holds.

    Nothing is said of what is switched off, or has the value that it has in Centrifugo anyway.
    """
    key = _listed().get(general(path))
    if key is None or key.verdict is Verdict.SAME:  # that one is only written in another way
        yield Remark(Verdict.UNKNOWN, path, path)
    elif key.kind == "section":
        yield from _judge_section(key, path, value)
    elif key.kind == "sections" and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _judge_section(key, f"{path}[{number}]", item)
    elif not _is_off(key, value):
        yield _remark(key, path)


def _judge_section(key: Key, path: str, value: Any) -> Iterator[Remark]:
    if not isinstance(value, dict):
        yield _remark(key, path)
        return
    switch = _listed().get(f"{key.path}.enabled")
    off = switch is not None and _is_off(switch, value.get("enabled", False))
    for name, inner in sorted(value.items(), key=lambda item: item[0] != "enabled"):
        for remark in judge(f"{path}.{name}", inner):
            if not off or remark.verdict is Verdict.UNKNOWN:
                yield remark


def _is_off(key: Key, value: Any) -> bool:
    if isinstance(value, list) and len(value) == 1:
        return _is_off(key, value[0])
    written = str(value).lower()
    if written in _OFF or written == key.default or about_value(key.path, value) == "":
        return True
    return key.kind == "duration" and _as_long(written, key.default or "0")


def _as_long(written: str, other: str) -> bool:
    try:
        return milliseconds(written) == milliseconds(other)
    except ValueError:
        return False


def _remark(key: Key, path: str) -> Remark:
    """Say the verdict on a key, once for all that the same sentence was said of."""
    owner, sentence = _verdict(key.path)[1:]
    levels = key.path.count(".") - owner.count(".")
    return Remark(key.verdict, path, path.rsplit(".", levels)[0] if levels else path, sentence)


def about_value(path: str, value: Any) -> str | None:
    """Return what there is to say about this very value of a key; "" is that it does no harm."""
    return _verdicts()["values"].get(f"{general(path)} = {value}")


@cache
def _verdicts() -> dict[str, dict[str, str]]:
    return tomllib.loads((files(__package__) / "centrifugo_v6_verdicts.toml").read_text())


def _verdict(path: str) -> tuple[Verdict, str, str]:
    """Return the verdict on a key that gapless does not have, of which path it is, and its sentence."""
    verdicts = _verdicts()
    prefix = general(path)
    while prefix:
        for verdict, name in ((Verdict.MISSING, "missing"), (Verdict.IGNORED, "ignored")):
            if prefix in verdicts[name]:
                return verdict, prefix, verdicts[name][prefix]
        prefix = prefix.rpartition(".")[0]
    raise AssertionError(f"no verdict on {path}")


@cache
def _listed() -> dict[str, Key]:
    """Return Centrifugo's keys by their paths; those of namespaces hold for all channels."""
    groups: dict[str, list[list[str]]] = {}
    members: list[list[str]] = []
    for line in (files(__package__) / "centrifugo_v6_keys.txt").read_text().splitlines():
        if line.startswith("  "):
            members.append(line.split(maxsplit=2))
        elif line and not line.startswith("#"):
            members = groups[line] = []
    ours = {general(path) for path, _ in paths(Config)}
    found: dict[str, Key] = {}

    def walk(group: str, path: str) -> None:
        for name, kind, *default in groups[group]:
            place = general(f"{path}.{name}" if path else name)
            inner = kind.removesuffix("[]")
            shown = kind if inner not in groups else "section" if inner == kind else "sections"
            if place not in found:
                found[place] = _key(place, shown, *default, ours=place in ours)
            if inner in groups and place != "channel.without_namespace":
                walk(inner, place)

    walk("Config", "")
    return found


def _key(path: str, kind: str, default: str = "", *, ours: bool) -> Key:
    if ours:
        return Key(path, kind, default, Verdict.SAME)
    verdict, _, sentence = _verdict(path)
    return Key(path, kind, default, verdict, sentence)
