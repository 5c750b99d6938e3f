"""Arbitrary commands and replies, and how an independent implementation sees them."""

import types
from collections.abc import Callable
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st
from msgspec import Struct

from gapless.protocol.messages import (
    NO_PAYLOAD,
    ClientInfo,
    Command,
    FilterNode,
    HistoryResult,
    Payload,
    PresenceResult,
    PresenceStatsResult,
    Reply,
    payload,
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=5,
)
JSON_TEXTS = JSON_VALUES.map(msgspec.json.encode)

# Fields that are on the wire in JSON even when they are zero.
ALWAYS = {
    ClientInfo: {"user", "client"},
    HistoryResult: {"publications", "epoch", "offset"},
    PresenceResult: {"presence"},
    PresenceStatsResult: {"num_clients", "num_users"},
}


def structs(kind: type[Struct], depth: int = 0) -> st.SearchStrategy[Any]:
    """Arbitrary structs of one type, a filter of bounded depth."""
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{name: _values(hint, depth) for name, hint in hints.items()})


def _values(hint: Any, depth: int) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = arguments[1]
        return st.just(0) | st.integers(bounds.ge, bounds.le)
    if origin in (Union, types.UnionType):
        return st.none() | _values(arguments[0], depth)
    if origin is list:
        return st.lists(_values(arguments[0], depth), max_size=2) if depth < 3 else st.just([])
    if origin is dict:
        return st.dictionaries(st.text(max_size=5), _values(arguments[1], depth), max_size=2)
    if hint is Payload:
        return st.just(NO_PAYLOAD) | JSON_TEXTS.map(payload)
    if hint in (str, bool):
        return st.from_type(hint)
    return structs(hint, depth + (hint is FilterNode))


def seen(struct: Struct, data: Callable[[bytes], Any], number: Callable[[int], Any], always: bool) -> Any:
    """Return `struct` as a dict of what is on the wire, payloads by `data` and integers by `number`."""

    def value(of: Any) -> Any:
        match of:
            case Struct():
                return seen(of, data, number, always)
            case Payload():
                return data(bytes(of))
            case list():
                return [value(item) for item in of]
            case dict():
                return {key: value(item) for key, item in of.items()}
            case int() if not isinstance(of, bool):
                return number(of)
        return of

    kept = ALWAYS.get(type(struct), set()) if always else set()
    fields = {name: getattr(struct, name) for name in struct.__struct_fields__}
    return {
        name: value(of)
        for name, of in fields.items()
        if name in kept or not (of is None or of == 0 or of in ("", [], {}) or of is NO_PAYLOAD)
    }


def understood(struct: Any, descriptor: Any) -> Any:
    """Clear the fields of `struct` that an older schema does not have."""
    for name in struct.__struct_fields__:
        field, held = descriptor.fields_by_name.get(name), getattr(struct, name)
        if field is None:
            setattr(struct, name, getattr(type(struct)(), name))
        elif isinstance(held, Struct):
            understood(held, field.message_type)
        elif isinstance(held, list):
            _ = [understood(item, field.message_type) for item in held if isinstance(item, Struct)]
        elif isinstance(held, dict):
            value = field.message_type.fields_by_name["value"].message_type
            _ = [understood(item, value) for item in held.values() if isinstance(item, Struct)]
    return struct


def _one_of_each(kind: type[Struct]) -> st.SearchStrategy[Any]:
    """Structs with at most one of their optional parts, as they are on a real wire."""
    hints = get_type_hints(kind, include_extras=True)
    parts = {
        name: _values(get_args(hint)[0], 0) for name, hint in hints.items() if type(None) in get_args(hint)
    }
    rest = {name: _values(hint, 0) for name, hint in hints.items() if name not in parts}
    return st.one_of([st.builds(kind, **rest, **{name: part}) for name, part in parts.items()])


COMMANDS = _one_of_each(Command)
REPLIES = _one_of_each(Reply)
