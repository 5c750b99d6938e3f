"""The reference of the HTTP API: its pages, and an OpenAPI document, from the types of requests and answers."""

import inspect
from collections.abc import Iterator
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Raw, Struct, defstruct
from msgspec.structs import FieldInfo, fields

from docs.generate.answers import ANSWERS, Failure, Items, Refused
from docs.generate.words import default_of, said, table, type_of
from gapless import __version__
from gapless.core.limits import PAGE_MESSAGES_MAX, SCROLL_MESSAGES
from gapless.server.api import requests
from gapless.server.care import Job
from gapless.server.messages.query import PARAMETERS

__all__ = ["METHODS", "api_page", "openapi"]

METHODS: dict[str, type[Struct]] = {
    "publish": requests.PublishRequest,
    "broadcast": requests.BroadcastRequest,
    "batch": requests.BatchRequest,
    "subscribe": requests.SubscribeRequest,
    "unsubscribe": requests.UnsubscribeRequest,
    "disconnect": requests.DisconnectRequest,
    "refresh": requests.RefreshRequest,
    "presence": requests.PresenceRequest,
    "presence_stats": requests.PresenceStatsRequest,
    "history": requests.HistoryRequest,
    "history_remove": requests.HistoryRemoveRequest,
    "channels": requests.ChannelsRequest,
    "info": requests.InfoRequest,
    "rpc": requests.RpcRequest,
    "revoke": requests.RevokeRequest,
    "block": requests.BlockRequest,
    "unblock": requests.UnblockRequest,
    "revocations": requests.RevocationsRequest,
}

HEAD = """# Server API

For backends: `POST /api/<method>` with a JSON object, and the key as `X-API-Key: <key>`, `Authorization: apikey <key>`
or `?api_key=<key>`. The prefix is `http_api.handler_prefix`, the key `http_api.key`. Names and answers are Centrifugo's,
so its clients (`cent`, and those of other languages) work; what is only ours is said. Fields that a method does not know are ignored.

An answer has either `result` or `error`; a batch has `replies`. An error has Centrifugo's `code` and `message`, and ours:
`reason`, a stable name, and `temporary`, whether the same call may succeed later. All are explained under [codes](codes.md).
The status is 200 all the same, unless the request was none (400), the key is wrong (401), or there is no such method (404).
With `http_api.error_mode = "transport"`, or the header `X-Centrifugo-Error-Mode: transport`, errors are told by the status too.

Old clients may `POST /api` with `{"method": …, "params": …}`, one object a line.

All of this as an OpenAPI document: [openapi.json](openapi.json).
"""


def api_page() -> str:
    """Return the page of the server API."""
    parts = [HEAD]
    for name, request in METHODS.items():
        parts.append(f"## {name}\n\n{_told(request)}\n\n{_fields(request)}")
        if name in ANSWERS:
            answer = ANSWERS[name]
            parts.append(f"Result: {_lower(_told(answer))}\n\n{_fields(answer)}")
        else:
            parts.append(
                'Replies: `{"replies": […]}`, one for each command and in their order, each `{"<method>": result}` or `{"error": …}`.\n'
            )
    parts += [f"## {kind.__name__}\n\n{_told(kind)}\n\n{_fields(kind)}" for kind in _inner()]
    text = "\n".join(parts)
    for name, request in METHODS.items():
        text = text.replace(f"(#{request.__name__.lower()})", f"(#{name})")
    return text


def _inner() -> list[type[Struct]]:
    """Return the types that stand within requests and answers, in the order in which they are met."""
    found: dict[type[Struct], None] = {}
    waiting: list[Any] = [
        field.type for kind in (*METHODS.values(), *ANSWERS.values()) for field in fields(kind)
    ]
    for kind in waiting:  # it grows meanwhile
        waiting += get_args(kind)
        if isinstance(kind, type) and issubclass(kind, Struct) and kind not in found:
            found[kind] = None
            waiting += [field.type for field in fields(kind)]
    return [kind for kind in found if kind not in METHODS.values()]


def _told(kind: type[Struct]) -> str:
    """Return the docstrings of a type and of those it builds on."""
    own = (base for base in kind.__mro__ if base.__module__ == kind.__module__)
    return "\n\n".join(filter(None, map(inspect.cleandoc, (base.__doc__ or "" for base in own))))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _fields(kind: type[Struct]) -> str:
    lines = [(f"`{field.name}`", type_of(field), default_of(field)) for field in fields(kind)]
    return table(("Field", "Value", "Default"), lines) if lines else ""


# OpenAPI --------------------------------------------------------------------------------------


def openapi() -> bytes:
    """Return the HTTP API as an OpenAPI 3.1 document."""
    kinds = [*METHODS.values(), *ANSWERS.values(), Failure, Items, Job]
    described = [_described(kind) for kind in kinds]
    _, components = msgspec.json.schema_components(described, ref_template="#/components/schemas/{name}")
    document = {
        "openapi": "3.1.0",
        "info": {"title": "gapless", "version": __version__, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "http://127.0.0.1:8000/api"}],
        "security": [{"key": []}],
        "paths": {**{f"/{name}": {"post": post} for name, post in _posts()}, **_messages()},
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }
    return msgspec.json.format(msgspec.json.encode(document))


@cache
def _described(kind: type[Struct]) -> Any:
    """Return a type like `kind` in which JSON that is taken as it is may be anything: a schema has no raw bytes."""
    described = [
        (field.encode_name, _typed(field.type), _default(field))
        if not field.required
        else (field.encode_name, _typed(field.type))
        for field in fields(kind)
    ]
    made = defstruct(kind.__name__, described, kw_only=True)
    made.__doc__ = _told(kind)
    return made


def _typed(kind: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Raw:
        return Any
    if origin in (Union, UnionType):
        return reduce(or_, map(_typed, inner))
    if origin in (list, dict, tuple):
        return origin[tuple(_typed(each) if each is not ... else each for each in inner)]
    return _described(kind) if isinstance(kind, type) and issubclass(kind, Struct) else kind


def _default(field: FieldInfo) -> Any:
    if field.default_factory is not NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return None if isinstance(field.default, Raw) else field.default


def _ref(kind: type[Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _posts() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, request in METHODS.items():
        yield (
            name,
            {
                "operationId": name,
                "summary": said(request).partition("\n")[0],
                "requestBody": {"required": True, "content": _content(_ref(request))},
                "responses": {
                    "200": {"description": "a result, or an error", "content": _content(_answer(name))},
                    **{
                        status: {"description": description, "content": _content(_ref(Failure))}
                        for status, description in (
                            ("400", "malformed"),
                            ("401", "the key is missing or wrong"),
                        )
                    },
                },
            },
        )


def _answer(name: str) -> dict[str, Any]:
    if name not in ANSWERS:
        replies = {"type": "array", "items": {"type": "object"}}
        return {"type": "object", "required": ["replies"], "properties": {"replies": replies}}
    result = {"type": "object", "required": ["result"], "properties": {"result": _ref(ANSWERS[name])}}
    return {"oneOf": [result, _ref(Failure)]}


def _messages() -> dict[str, Any]:
    place = {"name": "channel", "in": "path", "required": True, "schema": {"type": "string"}}
    query = [
        {
            "name": name,
            "in": "query",
            "schema": {
                "type": "integer",
                "minimum": 1,
                "maximum": PAGE_MESSAGES_MAX,
                "default": SCROLL_MESSAGES,
            }
            if name == "size"
            else {"type": "string"},
        }
        for name in PARAMETERS
    ]
    refused = {"description": "refused", "content": _content(_ref(Refused))}
    return {
        "/channels/{channel}/messages": {
            "get": {
                "operationId": "messages",
                "summary": "Read a page of what a channel keeps.",
                "security": [{"key": []}, {"token": []}],
                "parameters": [place, *query],
                "responses": {
                    "200": {"description": "a page", "content": _content(_ref(Items))},
                    "default": refused,
                },
            }
        }
    }
