"""Holds what the sources say against the model, and makes one configuration of it."""

from collections.abc import Callable, Iterable
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo

from gapless.core.errors import ConfigError
from gapless.server.config.durations import milliseconds
from gapless.server.config.model import Config
from gapless.server.config.sources import Source

__all__ = ["DURATION", "keys", "read", "section_of"]

DURATION: Final = "_ms"


def read(sources: Iterable[Source], *, tolerate: Callable[[str], object] | None = None) -> Config:
    """Make a configuration of `sources`; later ones override earlier ones.

    With `tolerate`, keys that gapless does not have are told to it and left out; without, they are errors.

    Raises:
        ConfigError: a key is unknown, or a value not what was expected; says where, and what would do.
    """
    merged: dict[str, Any] = {}
    names = []
    for source in sources:
        _merge(merged, _Reader(source, tolerate).section(Config, source.tree, ""))
        names.append(source.name)
    _inherit(merged)
    try:
        return msgspec.convert(merged, Config)
    except ConfigError as error:
        raise ConfigError(f"{', '.join(dict.fromkeys(names))}: {error}") from error


def keys(model: type[Struct]) -> dict[str, FieldInfo]:
    """Return the fields of a section by the names they have in a file."""
    return {field.name.removesuffix(DURATION): field for field in msgspec.structs.fields(model)}


def section_of(field: FieldInfo) -> type[Struct] | None:
    """Return the model of a field that is a section, or a list of sections."""
    inner = get_args(field.type)[0] if get_origin(field.type) is tuple else field.type
    return inner if isinstance(inner, type) and issubclass(inner, Struct) else None


class _Reader:
    """Walks one source along the model."""

    def __init__(self, source: Source, tolerate: Callable[[str], object] | None) -> None:
        self._source = source
        self._tolerate = tolerate

    def section(self, model: type[Struct], tree: Any, path: str) -> dict[str, Any]:
        if not isinstance(tree, dict):
            raise self._wrong(path, "a section with keys of its own", tree)
        fields = keys(model)
        found = {}
        for key, value in tree.items():
            place = f"{path}.{key}" if path else key
            field = fields.get(key)
            if field is None:
                self._unknown(place)
            else:
                found[field.name] = self._value(field, value, place)
        return found

    def _value(self, field: FieldInfo, value: Any, path: str) -> Any:
        inner = section_of(field)
        if inner is None:
            return self._leaf(field, value, path)
        if inner is field.type:
            return self.section(inner, value, path)
        items = self._items(value)
        if not isinstance(items, list):
            raise self._wrong(path, "a list of sections", value)
        return [self.section(inner, item, f"{path}[{number}]") for number, item in enumerate(items)]

    def _items(self, value: Any) -> Any:
        if not self._source.spelled:
            return value
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value

    def _leaf(self, field: FieldInfo, value: Any, path: str) -> Any:
        try:
            return msgspec.convert(self._read(field, value), field.type, strict=not self._source.spelled)
        except ValueError as error:
            from gapless.server.config.mistakes import expected

            raise self._wrong(path, expected(field), value) from error

    def _read(self, field: FieldInfo, value: Any) -> Any:
        if field.name.endswith(DURATION):
            return milliseconds(value if isinstance(value, str) else "")
        if self._source.spelled and field.type == list[str]:
            return value.replace(",", " ").split()
        return value

    def _wrong(self, path: str, expected: str, value: Any) -> ConfigError:
        told = "what is there" if path.endswith("key") else repr(value)  # keys are secrets
        return ConfigError(f"{self._source.place(path)}: {path}: expected {expected}, not {told}")

    def _unknown(self, path: str) -> None:
        from gapless.server.config.mistakes import unknown

        message = f"{self._source.place(path)}: {unknown(path)}"
        if self._tolerate is None:
            raise ConfigError(message)
        self._tolerate(message)


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _inherit(merged: dict[str, Any]) -> None:
    """Give namespaces what the channel section says for all of them."""
    channel = merged.get("channel", {})
    if "history_meta_ttl_ms" in channel:
        for namespace in [channel.setdefault("without_namespace", {}), *channel.get("namespaces", [])]:
            namespace.setdefault("history_meta_ttl_ms", channel["history_meta_ttl_ms"])
