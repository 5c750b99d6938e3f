"""Requests to the console's routes, without a socket."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.routing import Route

__all__ = ["Answer", "ask"]


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes

    def read(self) -> Any:
        return json.loads(self.body)


async def ask(
    routes: list[Route],
    path: str,
    body: object = b"",
    *,
    method: str = "GET",
    fields: Mapping[str, str] | None = None,
    address: str = "10.0.0.1",
) -> Answer:
    """Make a request from an address."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    parts = [{"type": "http.request", "body": content, "more_body": False}]
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "server": ("here", 80),
        "client": (address, 1),
        "headers": [
            (name.encode(), text.encode()) for name, text in ({"host": "here"} | dict(fields or {})).items()
        ],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await Starlette(routes=routes)(scope, receive, send)
    fields_told = {name.decode(): text.decode() for name, text in sent[0]["headers"]}
    return Answer(sent[0]["status"], fields_told, b"".join(message.get("body", b"") for message in sent[1:]))
