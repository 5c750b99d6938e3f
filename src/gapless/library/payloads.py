"""Payloads by their annotation: how a value becomes bytes, and bytes a value of that type.

`bytes` are taken as they are. Everything else is JSON: what msgspec knows (its Structs, dataclasses,
TypedDicts, named tuples, the built-in types and unions of them), and pydantic models, if that is used.
"""

import sys
from collections.abc import Callable
from math import isfinite
from typing import Any, Final, NamedTuple, get_args

import msgspec

from gapless.core.errors import BadRequest
from gapless.protocol.messages import NO_PAYLOAD, Payload, payload

__all__ = ["Encoded", "Shape", "Undecodable", "encode", "wire"]


class Undecodable(Exception):
    """A payload is not what its handler takes."""


class Encoded(NamedTuple):
    """A payload as bytes; `binary` ones need not be JSON."""

    data: bytes
    binary: bool


def encode(value: object) -> Encoded:
    """Return a value as it is sent: bytes as they are, anything else as JSON.

    Raises:
        BadRequest: there is no JSON for it, or for a number in it (NaN, infinity).
    """
    if isinstance(value, _BYTES):
        return Encoded(bytes(value), True)
    try:
        data = _encode(value)
        if _NULL in data:  # which is what a number becomes that JSON does not have
            _check_finite(msgspec.to_builtins(value, enc_hook=_dump))
        return Encoded(data, False)
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise BadRequest(f"a payload of type {type(value).__name__} is no JSON: {error}") from error


def wire(encoded: Encoded) -> dict[str, Any]:
    """Return the fields that carry a payload: `data` or `b64data`."""
    if encoded.binary:
        return {"data": NO_PAYLOAD, "b64data": encoded.data}
    carried: Payload = payload(encoded.data)
    return {"data": carried, "b64data": None}


class Shape:
    """The type of a payload.

    Raises:
        TypeError: values of that type cannot be told in JSON.
    """

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self.is_pydantic = _needs_pydantic(annotation)
        self._decode: Callable[[bytes], Any] = _decoder(annotation)

    @property
    def adapter(self) -> Any:
        """What pydantic knows of the type, if it is pydantic's."""
        return sys.modules["pydantic"].TypeAdapter(self.annotation)

    def decode(self, data: bytes) -> Any:
        """Return the value.

        Raises:
            Undecodable: it is not of the type; says where, and why.
        """
        try:
            return self._decode(data)
        except (ValueError, TypeError, msgspec.MsgspecError, RecursionError) as error:
            raise Undecodable(f"the payload is no {_named(self.annotation)}: {error}") from error

    def encode(self, value: object) -> Encoded:
        """Return a value as it is sent to whoever takes this type.

        It is decoded as it will be there: about 0.3 µs for a small record. What is pydantic's has been
        validated when it was made.

        Raises:
            BadRequest: it is an instance of another class, or a field of it has another type.
        """
        expected = self.annotation
        if _is_record(expected) and not isinstance(value, expected):
            raise BadRequest(f"the payload has to be {_named(expected)}, not {type(value).__name__}")
        encoded = encode(value)
        if not self.is_pydantic and expected is not Any:
            try:
                self.decode(encoded.data)
            except Undecodable as error:
                raise BadRequest(str(error)) from error
        return encoded


def _decoder(annotation: Any) -> Callable[[bytes], Any]:
    if annotation is bytes:
        return bytes
    if _needs_pydantic(annotation):
        adapter = sys.modules["pydantic"].TypeAdapter(annotation)
        validate: Callable[[bytes], Any] = adapter.validate_json
        return validate
    _check_known(msgspec.inspect.type_info(annotation))
    return msgspec.json.Decoder(annotation).decode


def _check_known(info: Any) -> None:
    """Refuse what msgspec takes for a custom type, which it only does when it is asked to decode one."""
    unknown = [found.cls for found in _walk(info, set()) if isinstance(found, msgspec.inspect.CustomType)]
    if unknown:
        raise TypeError(f"{_named(unknown[0])} has no form in JSON")


def _walk(info: Any, seen: set[int]) -> list[Any]:
    if id(info) in seen:
        return []
    seen.add(id(info))
    found = [info]
    for value in _parts(info):
        found += _walk(value, seen)
    return found


def _parts(info: Any) -> list[Any]:
    parts: list[Any] = []
    for name in getattr(info, "__struct_fields__", ()):
        value = getattr(info, name)
        if isinstance(value, tuple):
            parts += [
                item for item in value if isinstance(item, msgspec.inspect.Type | msgspec.inspect.Field)
            ]
        elif isinstance(value, msgspec.inspect.Type):
            parts.append(value)
    return parts


def _needs_pydantic(annotation: Any) -> bool:
    """Tell whether a type is pydantic's, or made of such; then whoever wrote it has imported pydantic."""
    if hasattr(annotation, "__pydantic_core_schema__") or hasattr(annotation, "__pydantic_validator__"):
        return True
    return any(_needs_pydantic(part) for part in get_args(annotation))


def _is_record(annotation: Any) -> bool:
    return isinstance(annotation, type) and (
        issubclass(annotation, msgspec.Struct)
        or hasattr(annotation, "__dataclass_fields__")
        or hasattr(annotation, "__pydantic_validator__")
        or annotation is bytes
    )


def _named(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _check_finite(value: Any) -> None:
    """Raises ValueError: a number is none that JSON has."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{value} is no number in JSON")
    for part in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    ):
        _check_finite(part)


def _dump(value: Any) -> Any:
    if hasattr(value, "__pydantic_validator__") and hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


_NULL: Final = b"null"
_BYTES: Final = (bytes, bytearray, memoryview)
_encode: Final = msgspec.json.Encoder(enc_hook=_dump).encode
