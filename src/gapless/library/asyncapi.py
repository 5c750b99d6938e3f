"""What declared functions receive, as an AsyncAPI 3.0 document made of their types.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

import inspect
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import UNSET

from gapless.library.handlers import Handler, RecurringHandler, StreamHandler
from gapless.library.payloads import Shape

__all__ = ["asyncapi"]

_SCHEMAS: Final = "#/components/schemas/"
_NO_PAYLOAD: Final = {"contentType": "application/json", "payload": {"type": "null"}}
_NOT_IN_A_KEY: Final = re.compile(r"[^A-Za-z0-9._-]")


def asyncapi(handlers: Iterable[Handler[Any]], title: str, version: str) -> dict[str, Any]:
    """Return the document: a channel for each queue and stream, an operation for each function."""
    found = list(handlers)
    bodies, schemas = _payloads([each.binding.shape for each in found if each.binding.shape is not None])
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for handler in found:
        channel, operation = _key(_kind(handler), handler.name), _key(_kind(handler), *_called(handler))
        shape = handler.binding.shape
        messages[operation] = {
            "name": operation,
            **(_NO_PAYLOAD if shape is None else bodies[shape]),
        }
        place = channels.setdefault(channel, _channel(handler))
        place["messages"][operation] = {"$ref": f"#/components/messages/{operation}"}
        operations[operation] = _operation(handler, channel, operation)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _kind(handler: Handler[Any]) -> str:
    return "stream" if isinstance(handler, StreamHandler) else "queue"


def _called(handler: Handler[Any]) -> tuple[str, ...]:
    """Return what tells a handler from all others."""
    if isinstance(handler, StreamHandler):
        return handler.name, handler.terms.group
    return (handler.name,)


def _key(*parts: str) -> str:
    """Return a key that the document may have: `chat:` is `chat_x3a`."""
    return ".".join(_NOT_IN_A_KEY.sub(lambda found: f"_x{ord(found[0]):x}", part) for part in parts)


def _channel(handler: Handler[Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"address": handler.name, "messages": {}, "x-gapless-kind": _kind(handler)}
    settings = handler.terms.settings if isinstance(handler, StreamHandler) else None
    if settings is not None and settings.partitions is not UNSET:
        told["x-gapless-partitions"] = settings.partitions
    return told


def _operation(handler: Handler[Any], channel: str, message: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
    }
    summary, _, description = inspect.cleandoc(handler.function.__doc__ or "").partition("\n")
    if summary:
        told["summary"] = summary
    if description.strip():
        told["description"] = description.strip()
    if isinstance(handler, StreamHandler):
        told["x-gapless-group"] = handler.terms.group
    elif isinstance(handler, RecurringHandler):
        schedule = handler.schedule
        told["x-gapless-schedule"] = schedule.cron or f"every {schedule.every_ms} ms"
    return told


def _payloads(shapes: list[Shape]) -> tuple[dict[Shape, dict[str, Any]], dict[str, Any]]:
    """Return the payload of each shape, and the schemas that these refer to."""
    bodies: dict[Shape, dict[str, Any]] = {}
    schemas: dict[str, Any] = {}
    for shape in shapes:
        if shape.annotation is bytes:
            bodies[shape] = {"contentType": "application/octet-stream", "payload": {"type": "string"}}
        elif shape.is_pydantic:
            schema = shape.adapter.json_schema(ref_template=_SCHEMAS + "{model}")
            schemas |= schema.pop("$defs", {})
            bodies[shape] = {"payload": schema}
    known = [shape for shape in shapes if shape not in bodies]
    told, components = msgspec.json.schema_components(
        [shape.annotation for shape in known], ref_template=_SCHEMAS + "{name}"
    )
    bodies |= {shape: {"payload": schema} for shape, schema in zip(known, told, strict=True)}
    return bodies, schemas | components
