"""Holds what the sources say against the model, and makes one configuration of it."""

import reprlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo

from gapless.core.durations import milliseconds
from gapless.core.errors import ConfigError
from gapless.core.limits import MISTAKES_MAX
from gapless.ports import Durability
from gapless.server.config.fields import DURATION, are_durations, is_secret, keys, section_of
from gapless.server.config.model import Config
from gapless.server.config.sources import Source

__all__ = ["Reading", "examine", "read", "refusal"]

Sections = dict[str, Any]  # by the names of the model's fields; a leaf is a `_Setting`
# Lists whose items a variable or flag names (GAPLESS_QUEUES__MAIL__LEASE), and what they are.
NAMED: Final = {
    "namespaces": "channel.namespaces: there is no namespace",
    "users": "console.users: there is no user",
    "queues": "queues: there is none with the name",
    "streams": "streams: there is none with the name",
}
INHERITED: Final = ("history_meta_ttl_ms", "publication_data_format")


class Reading(Struct, frozen=True):
    """What the sources say: a configuration unless there are mistakes, and what has no effect.

    `draft` is one without what is wrong, if that can be. `origins` tells for each key that was set, by its
    path, where.
    """

    config: Config | None
    draft: Config | None
    mistakes: list[str]
    remarks: list[str]
    origins: dict[str, str]

    def checked(self) -> Config:
        """Return the configuration; raises ConfigError, which says all that is wrong, if there is none."""
        if self.config is None:
            raise refusal(self.mistakes)
        return self.config

    def place(self, path: str) -> str:
        """Return where a key was set, or else the first one of its section; nothing if none was."""
        while path and path not in self.origins:
            within = [
                place for key, place in self.origins.items() if key.startswith((f"{path}.", f"{path}["))
            ]
            if within:
                return within[0]
            path = path.rpartition(".")[0]
        return self.origins.get(path, "")


def read(
    sources: Iterable[Source], *, lenient: bool = False, tell: Callable[[str], object] = lambda remark: None
) -> Config:
    """Make a configuration of `sources`; later ones override earlier ones. `tell` hears what has no effect.

    With `lenient`, keys that gapless does not have are told and left out; without, they are errors.

    Raises:
        ConfigError: a key is unknown, or a value not what was expected; says where, and what would do, of
            as many mistakes as there are (up to 20).
    """
    found = examine(sources, lenient=lenient)
    for remark in found.remarks:
        tell(remark)
    return found.checked()


def refusal(mistakes: list[str]) -> ConfigError:
    """Return the error that says all that is wrong, of as many mistakes as there are (up to 20)."""
    if len(mistakes) == 1:
        return ConfigError(mistakes[0])
    shown = mistakes[:MISTAKES_MAX]
    more = len(mistakes) - len(shown)
    lines = [
        f"{len(mistakes)} mistakes in the configuration:",
        *shown,
        *([f"and {more} more"] if more else []),
    ]
    return ConfigError("\n  ".join(lines))


def examine(sources: Iterable[Source], *, lenient: bool = False) -> Reading:
    """Make a configuration of `sources` as `read` does, and tell what came of it."""
    reader = _Reader(lenient=lenient)
    merged: Sections = {}
    for source in sources:
        reader.merge(merged, reader.of(source), source)
        reader.remarks += [source.remark] if source.remark else []
        if source.unknown:
            reader.say(source.unknown, harmless=lenient)
    reader.inherit(merged)
    whole = reader.whole(Config, merged, "")
    assert isinstance(whole, Config) or reader.mistakes, "what cannot be made is a mistake"
    draft = whole if isinstance(whole, Config) else None
    return Reading(
        None if reader.mistakes else draft,
        draft,
        reader.mistakes,
        reader.remarks,
        dict(_origins(Config, merged, "")),
    )


class _Setting(Struct, frozen=True):
    """A value of a leaf, from where, and its path there."""

    value: Any
    source: Source
    path: str

    @property
    def place(self) -> str:
        return self.source.place(self.path)


class _Reader:
    """Walks the sources along the model, and collects what is wrong with them."""

    def __init__(self, *, lenient: bool) -> None:
        self.mistakes: list[str] = []
        self.remarks: list[str] = []
        self._lenient = lenient
        self._source = Source(name="", tree={})

    def of(self, source: Source) -> Sections:
        """Read what one source says."""
        self._source = source
        return self._section(Config, source.tree, "") or {}

    # One source, along the model ----------------------------------------------------------

    def _section(self, model: type[Struct], tree: Any, path: str) -> Sections | None:
        tree = self._decoded(tree)
        if not isinstance(tree, dict):
            self._wrong(path, "a section with keys of its own", tree)
            return None
        fields = keys(model)
        found = {}
        for key, value in tree.items():
            place = f"{path}.{key}" if path else key
            field = fields.get(key)
            if field is None:
                self._unknown(place, value)
            elif (read := self._value(field, value, place)) is not None:
                found[field.name] = read
        return found

    def _value(self, field: FieldInfo, value: Any, path: str) -> Any:
        inner = section_of(field)
        if inner is None:
            return self._leaf(field, value, path)
        if inner is field.type:
            return self._section(inner, value, path)
        items = self._decoded(value)
        if self._source.spelled and isinstance(items, dict):
            return {name: self._section(inner, item, f"{path}.{name}") for name, item in items.items()}
        if not isinstance(items, list):
            self._wrong(path, "a list of sections", value)
            return None
        read = [self._section(inner, item, f"{path}[{number}]") for number, item in enumerate(items)]
        return [item for item in read if item is not None]

    def _decoded(self, value: Any) -> Any:
        """Return what a text of a variable or flag holds, where more than a text is wanted."""
        if not self._source.spelled or not isinstance(value, str):
            return value
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value

    def _leaf(self, field: FieldInfo, value: Any, path: str) -> _Setting | None:
        try:
            read = msgspec.convert(self._read(field, value), field.type, strict=not isinstance(value, str))
        except ValueError:
            self._bad_value(field, value, path)
            return None
        return _Setting(read, self._source, path)

    def _read(self, field: FieldInfo, value: Any) -> Any:
        if are_durations(field):
            return list(map(_duration, self._items(value))) if isinstance(value, list | str) else value
        if field.name.endswith(DURATION):
            return _duration(value)
        if field.type == dict[str, str]:
            return self._decoded(value)
        return self._items(value) if field.type == list[str] else value

    def _items(self, value: Any) -> Any:
        """Return the items of a list, which a variable or flag may hold with commas between them."""
        if not self._source.spelled or not isinstance(value, str):
            return value
        items = self._decoded(value)
        return items if isinstance(items, list) else value.replace(",", " ").split()

    # What is wrong ------------------------------------------------------------------------

    def _bad_value(self, field: FieldInfo, value: Any, path: str) -> None:
        from gapless.server.config.centrifugo import about_value
        from gapless.server.config.mistakes import expected

        why = about_value(path, value)
        if why is None:
            self._wrong(path, expected(field), value)
        elif why:
            self.say(f"{self._source.place(path)}: {path}: {value!r}: {why}", harmless=self._lenient)

    def _wrong(self, path: str, expected: str, value: Any) -> None:
        self.say(f"{self._source.place(path)}: {path}: expected {expected}, not {_shown(path, value)}")

    def _unknown(self, path: str, value: Any) -> None:
        if len(self.mistakes) > MISTAKES_MAX:  # no more are told, and looking for words takes a while
            self.say(path)
            return
        from gapless.server.config.centrifugo import Verdict, judge
        from gapless.server.config.mistakes import told

        said = set()
        for remark in judge(path, value):
            if remark.owner not in said:
                said.add(remark.owner)
                harmless = self._lenient or remark.verdict is Verdict.IGNORED
                self.say(f"{self._source.place(remark.path)}: {told(remark)}", harmless=harmless)

    def say(self, message: str, *, harmless: bool = False) -> None:
        """Note a mistake, or a remark if it is harmless."""
        (self.remarks if harmless else self.mistakes).append(message)

    # All sources together -----------------------------------------------------------------

    def merge(self, into: Sections, other: Sections, source: Source) -> None:
        """Lay `other` over `into`."""
        for key, value in other.items():
            if isinstance(value, dict) and key in NAMED:
                self._merge_named(key, into.setdefault(key, []), value, source)
            elif isinstance(value, dict):
                self.merge(into.setdefault(key, {}), value, source)
            else:
                into[key] = value

    def _merge_named(
        self, kind: str, items: list[Sections], changes: dict[str, Sections | None], source: Source
    ) -> None:
        """Lay over each item what is said of it by its name."""
        named = {_spelled(item["name"].value): item for item in items if "name" in item}
        for name, change in changes.items():
            if _spelled(name) in named:
                self.merge(named[_spelled(name)], change or {}, source)
            else:
                self.say(f"{source.name}: {NAMED[kind]} {name!r}")

    def inherit(self, merged: Sections) -> None:
        """Give namespaces what the channel section says for all, and the store what an engine does."""
        channel = merged.get("channel", {})
        without: Sections = channel.setdefault("without_namespace", {})
        for namespace in [without, *channel.get("namespaces", [])]:
            for name in INHERITED:
                if name in namespace and not namespace[name].value:  # nothing, as Centrifugo writes it
                    del namespace[name]
                if name in channel:
                    namespace.setdefault(name, channel[name])
        engine = merged.get("engine", {}).get("type")
        if engine is not None and engine.value is not None and "durability" not in merged.get("store", {}):
            memory = _Setting(Durability.MEMORY, engine.source, engine.path)
            merged.setdefault("store", {})["durability"] = memory
            self.say(
                f"{engine.place}: engine.type: acknowledged messages need survive no more than they do in"
                f" Centrifugo's memory engine: nothing (for more, remove the key or set store.durability)",
                harmless=True,
            )

    def whole(self, model: type[Struct], tree: Sections, path: str) -> Struct | None:
        """Make a section of its settings; None if they do not go together, or those of a section in it."""
        values: Sections = {}
        for key, field in keys(model).items():
            value = tree.get(field.name)
            inner, place = section_of(field), f"{path}.{key}" if path else key
            if isinstance(value, _Setting):
                values[field.name] = value.value
            elif isinstance(value, dict) and inner is not None:
                values[field.name] = self.whole(inner, value, place)
            elif isinstance(value, list) and inner is not None:
                items = [self.whole(inner, item, f"{place}[{n}]") for n, item in enumerate(value)]
                values[field.name] = None if None in items else tuple(items)
        if any(value is None and section_of(field) is not None for field, value in _of(model, values)):
            return None
        try:
            return model(**values)
        except ConfigError as error:
            self.say(f"{_place(tree)}: {error}")
            return None


def _duration(value: Any) -> int:
    return milliseconds(value if isinstance(value, str) else "")


def _of(model: type[Struct], values: Sections) -> Iterator[tuple[FieldInfo, Any]]:
    return ((field, values[field.name]) for field in keys(model).values() if field.name in values)


def _shown(path: str, value: Any) -> str:
    """Write a value for an error, without secrets."""
    if is_secret(path) or path.endswith("_pem"):
        return "what is there"
    if isinstance(value, dict | list):
        return "a section" if isinstance(value, dict) else "a list"
    return reprlib.repr(value)


def _spelled(name: str) -> str:
    """Return a namespace's name as it can stand in that of a variable."""
    return name.lower().replace("-", "_").replace(".", "_")


def _settings(tree: Any) -> Iterator[_Setting]:
    if isinstance(tree, _Setting):
        yield tree
    else:
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from _settings(inner)


def _place(tree: Sections) -> str:
    """Return where a section stands: where its first key does."""
    return next((setting.place for setting in _settings(tree)), "the configuration")


def _origins(model: type[Struct], tree: Sections, path: str) -> Iterator[tuple[str, str]]:
    for key, field in keys(model).items():
        value = tree.get(field.name)
        inner, place = section_of(field), f"{path}.{key}" if path else key
        if isinstance(value, _Setting):
            yield place, value.place
        elif isinstance(value, dict) and inner is not None:
            yield from _origins(inner, value, place)
        elif isinstance(value, list) and inner is not None:
            for number, item in enumerate(value):
                yield from _origins(inner, item, f"{place}[{number}]")
