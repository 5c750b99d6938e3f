"""What a model of sections and fields says about the keys of a file."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import FieldInfo

__all__ = ["DURATION", "are_durations", "is_secret", "keys", "leaves", "paths", "section_of"]

DURATION: Final = "_ms"
_SECRET: Final = ("key", "password", "secret")


def keys(model: type[Struct]) -> dict[str, FieldInfo]:
    """Return the fields of a section by the names they have in a file, as what they are if they are set."""
    return {field.name.removesuffix(DURATION): _set(field) for field in msgspec.structs.fields(model)}


def _set(field: FieldInfo) -> FieldInfo:
    if get_origin(field.type) not in (Union, UnionType):
        return field
    kinds = [kind for kind in get_args(field.type) if kind is not UnsetType]
    return msgspec.structs.replace(field, type=kinds[0]) if len(kinds) == 1 else field


def are_durations(field: FieldInfo) -> bool:
    """Tell whether a field holds several durations."""
    inner = get_args(field.type)
    return field.name.endswith(DURATION) and bool(inner) and get_origin(inner[0]) is tuple


def section_of(field: FieldInfo) -> type[Struct] | None:
    """Return the model of a field that is a section, or a list of sections."""
    inner = get_args(field.type)[0] if get_origin(field.type) is tuple else field.type
    return inner if isinstance(inner, type) and issubclass(inner, Struct) else None


def paths(model: type[Struct], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Return every key and section, with its path from the top."""
    for key, field in keys(model).items():
        place = f"{path}.{key}" if path else key
        yield place, field
        inner = section_of(field)
        if inner is not None:
            yield from paths(inner, place)


def leaves(section: Struct, path: str = "") -> Iterator[tuple[str, FieldInfo, Any]]:
    """Return every key that has a value, with its path and that value; lists of sections are numbered."""
    for key, field in keys(type(section)).items():
        place = f"{path}.{key}" if path else key
        value = getattr(section, field.name)
        if value is UNSET:
            continue
        if section_of(field) is None:
            yield place, field, value
        elif isinstance(value, Struct):
            yield from leaves(value, place)
        else:
            for number, item in enumerate(value):
                yield from leaves(item, f"{place}[{number}]")


def is_secret(path: str) -> bool:
    """Tell by its name whether the value of a key must not be shown; that of a public key may."""
    words = path.rpartition(".")[2].split("_")
    return words[-1] in _SECRET and "public" not in words
