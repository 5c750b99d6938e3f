"""The reference of the HTTP API, from the types of requests and answers: the methods, and the verbs."""

from collections.abc import Iterable
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import fields

from docs.generate.words import default_of, table, type_of
from gapless.server.api.answers import ANSWERS
from gapless.server.openapi import METHODS, told

__all__ = ["api_page", "queues_page", "streams_page"]

HEAD = """# Server API

For backends: `POST /api/<method>` with a JSON object, and the key as `X-API-Key: <key>`, `Authorization: apikey <key>`
or `?api_key=<key>`. The prefix is `http_api.handler_prefix`, the key `http_api.key`. Names and answers are Centrifugo's,
so its clients (`cent`, and those of other languages) work; what is only ours is said. Fields that a method does not know are ignored.

An answer has either `result` or `error`; a batch has `replies`. An error has Centrifugo's `code` and `message`, and ours:
`reason`, a stable name, and `temporary`, whether the same call may succeed later. All are explained under [codes](codes.md).
The status is 200 all the same, unless the request was none (400), the key is wrong (401), or there is no such method (404).
With `http_api.error_mode = "transport"`, or the header `X-Centrifugo-Error-Mode: transport`, errors are told by the status too.

Old clients may `POST /api` with `{"method": …, "params": …}`, one object a line.

Methods of [queues](queues-api.md) and [streams](streams-api.md) have pages of their own. All of this as an OpenAPI
document: [openapi.json](openapi.json), which a server has at `/openapi.json`.
"""


VERBS = """For backends: `POST /api/{family}/<verb>`, as the other methods of the [server API](server-api.md). For clients whose
token allows it: rpc `gapless.{family}.<verb>` with the same request and the same result. Python's library has them too.

Times are milliseconds since the Unix epoch by the store's clock, durations (`_ms`) are milliseconds. A field that a verb does
not know is an error. Where several items are asked for that do not depend on each other, each is answered by itself:
with `result`, or with `error`. A call that waits ends when its caller goes away; over rpc it waits for 4 s at most.
"""

QUEUES = "# Queues\n\n" + VERBS.format(family="queue")
STREAMS = (
    "# Streams\n\n"
    + VERBS.format(family="stream")
    + """
A `source` is what can be read: a declared stream (`orders`), a namespace with its boundary (`chat:`), or one channel (`chat:1`).
"""
)


def api_page() -> str:
    """Return the page of the server API."""
    return _page(HEAD, [name for name in METHODS if "/" not in name or name.startswith("token/")])


def queues_page() -> str:
    """Return the page of the verbs of queues."""
    return _page(QUEUES, [name for name in METHODS if name.startswith("queue/")])


def streams_page() -> str:
    """Return the page of the verbs of streams."""
    return _page(STREAMS, [name for name in METHODS if name.startswith("stream/")])


def _page(head: str, names: list[str]) -> str:
    parts = [head]
    for name in names:
        request = METHODS[name]
        parts.append(f"## {name}\n\n{told(request)}\n\n{_fields(request)}")
        if name in ANSWERS:
            answer = ANSWERS[name]
            parts.append(f"Result: {_lower(told(answer))}\n\n{_fields(answer)}")
        else:
            parts.append(
                'Replies: `{"replies": […]}`, one for each command and in their order, each `{"<method>": result}` or `{"error": …}`.\n'
            )
    requests = [METHODS[name] for name in names]
    inner = _inner([*requests, *(ANSWERS[name] for name in names if name in ANSWERS)])
    parts += [
        f"## {kind.__name__}\n\n{told(kind)}\n\n{_fields(kind)}" for kind in inner if kind not in requests
    ]
    text = "\n".join(parts)
    for name in names:
        text = text.replace(f"(#{METHODS[name].__name__.lower()})", f"(#{name.replace('/', '')})")
    return text


def _inner(kinds: Iterable[type[Struct]]) -> list[type[Struct]]:
    """Return the types that stand within others, in the order in which they are met."""
    found: dict[type[Struct], None] = {}
    waiting: list[Any] = [field.type for kind in kinds for field in fields(kind)]
    for kind in waiting:  # it grows meanwhile
        waiting += get_args(kind)
        if isinstance(kind, type) and issubclass(kind, Struct) and kind not in found:
            found[kind] = None
            waiting += [field.type for field in fields(kind)]
    return list(found)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _fields(kind: type[Struct]) -> str:
    lines = [
        (f"`{field.encode_name}`", type_of(field, wire=True), default_of(field, wire=True))
        for field in fields(kind)
    ]
    return table(("Field", "Value", "Default"), lines) if lines else ""
