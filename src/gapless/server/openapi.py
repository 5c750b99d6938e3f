"""The HTTP API as an OpenAPI 3.1 document, made of the types of its requests and answers."""

import inspect
from collections.abc import Iterator
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Raw, Struct, defstruct
from msgspec.structs import FieldInfo, fields

from gapless import __version__
from gapless.core.limits import PAGE_MESSAGES_MAX, SCROLL_MESSAGES
from gapless.protocol import hooks, queues, streams
from gapless.protocol.payloads import Failure
from gapless.protocol.reading import ReplayedMessage, ReplayRequest
from gapless.server.api import requests
from gapless.server.api.answers import ANSWERS, FailedCall, Items
from gapless.server.care import Job
from gapless.server.messages.query import PARAMETERS

__all__ = ["METHODS", "openapi", "told"]

METHODS: Final[dict[str, type[Struct]]] = {
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
    "connection/list": requests.ConnectionsRequest,
    "connection/stories": requests.StoriesRequest,
    "info": requests.InfoRequest,
    "rpc": requests.RpcRequest,
    "config": requests.ConfigRequest,
    "channel_options": requests.ChannelOptionsRequest,
    "explain": requests.ExplainRequest,
    "token/make": requests.TokenMakeRequest,
    "token/check": requests.TokenCheckRequest,
    "revoke": requests.RevokeRequest,
    "block": requests.BlockRequest,
    "unblock": requests.UnblockRequest,
    "revocations": requests.RevocationsRequest,
    **{verb: request for verb, (request, _) in (queues.VERBS | streams.VERBS | hooks.VERBS).items()},
}
"""The request of each method of the server API."""


def told(kind: type[Struct]) -> str:
    """Return the docstrings of a type and of those it builds on."""
    own = (base for base in kind.__mro__ if base.__module__ == kind.__module__)
    return "\n\n".join(filter(None, map(inspect.cleandoc, (base.__doc__ or "" for base in own))))


@cache
def openapi(prefix: str) -> bytes:
    """Return the HTTP API as an OpenAPI 3.1 document; `prefix` is the path that it is served below."""
    methods, others = [*METHODS.values(), *ANSWERS.values()], [FailedCall, Items, Job]
    kinds = dict.fromkeys([*methods, ReplayRequest, ReplayedMessage, *others])
    described = [_described(kind) for kind in kinds]
    _, components = msgspec.json.schema_components(described, ref_template="#/components/schemas/{name}")
    document = {
        "openapi": "3.1.0",
        "info": {"title": "gapless", "version": __version__, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": prefix}],
        "security": [{"key": []}],
        "paths": {**{f"/{name}": {"post": post} for name, post in _posts()}, **_replay(), **_messages()},
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
    """Return a type like `kind` in which JSON that is taken as it is may be anything."""
    described = [
        (field.name, _typed(field.type), _default(field))
        if not field.required
        else (field.name, _typed(field.type))
        for field in fields(kind)
    ]
    settings = kind.__struct_config__
    made = defstruct(
        kind.__name__,
        described,
        kw_only=True,
        rename={field.name: field.encode_name for field in fields(kind)},
        tag=settings.tag,
        tag_field=settings.tag_field,
    )
    made.__doc__ = told(kind)
    return made


def _typed(kind: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Raw:
        return Any
    if origin is Annotated:
        return Annotated[(_typed(inner[0]), *inner[1:])]
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
                "operationId": name.replace("/", "_"),
                "summary": (inspect.getdoc(request) or "").partition("\n")[0],
                "requestBody": {"required": True, "content": _content(_ref(request))},
                "responses": {
                    "200": {"description": "a result, or an error", "content": _content(_answer(name))},
                    **{
                        status: {"description": description, "content": _content(_ref(FailedCall))}
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
    return {"oneOf": [result, _ref(FailedCall)]}


def _replay() -> dict[str, Any]:
    lines = {"application/x-ndjson": {"schema": {"anyOf": [_ref(ReplayedMessage), _ref(FailedCall)]}}}
    return {
        "/stream/replay": {
            "post": {
                "operationId": "stream_replay",
                "summary": (inspect.getdoc(ReplayRequest) or "").partition("\n")[0],
                "requestBody": {"required": True, "content": _content(_ref(ReplayRequest))},
                "responses": {
                    "200": {"description": "messages, one a line", "content": lines},
                    "default": {"description": "refused", "content": _content(_ref(FailedCall))},
                },
            }
        }
    }


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
    refused = {"description": "refused", "content": _content(_ref(Failure))}
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
