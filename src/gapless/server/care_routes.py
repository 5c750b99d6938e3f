"""The care of the store over HTTP, beside the server API and behind its key."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gapless.core.errors import BadRequest, GaplessError
from gapless.server.api import Door
from gapless.server.api.calls import refusal_body
from gapless.server.care import StoreCare

__all__ = ["UPLOAD", "care_routes"]

# Where the body of a request is as long as a store.
UPLOAD: Final = "/store/restore"
JSON: Final = "application/json"
CARE: Final = "store"  # what the console does not call
# What an upload or download holds in memory.
PART_BYTES: Final = 256 * 1024

Answer = Callable[[Request], Awaitable[Response]]
Asked = TypeVar("Asked", bound=Struct)


class Which(Struct):
    """A job that was begun."""

    id: str


class Size(Struct):
    """A file that is to be restored."""

    bytes: int


class Place(Struct):
    """A message of a channel."""

    channel: str
    offset: int


Erase = Callable[[str, int], Awaitable[bool]]
"""Removes one message of a channel, and tells whether there was one."""


def care_routes(care: StoreCare, door: Door, prefix: str, erase: Erase) -> list[Route]:
    """Return the routes."""
    endpoints = _Endpoints(care, erase)
    posts = {
        "/backup": endpoints.backup,
        "/check": endpoints.check,
        "/compact": endpoints.compact,
        "/room": endpoints.room,
        "/restore": endpoints.restore,
        "/erase": endpoints.erase,
        "/job": endpoints.watch,
        "/cancel": endpoints.give_up,
    }
    return [
        Route(f"{prefix}/store/backup/{{id}}", _guarded(door, endpoints.fetch)),
        *(Route(f"{prefix}/store{path}", _guarded(door, to), methods=["POST"]) for path, to in posts.items()),
    ]


class _Endpoints:
    def __init__(self, care: StoreCare, erase: Erase) -> None:
        self._care = care
        self._erase = erase

    async def backup(self, request: Request) -> Response:
        return _told(self._care.backup())

    async def check(self, request: Request) -> Response:
        return _told(self._care.check())

    async def compact(self, request: Request) -> Response:
        return _told(self._care.compact())

    async def watch(self, request: Request) -> Response:
        return _told(await self._care.watch((await _read(request, Which)).id))

    async def give_up(self, request: Request) -> Response:
        return _told(self._care.give_up((await _read(request, Which)).id))

    async def erase(self, request: Request) -> Response:
        place = await _read(request, Place)
        return _told({"erased": await self._erase(place.channel, place.offset)})

    async def room(self, request: Request) -> Response:
        return _told({"free_bytes": await self._care.check_room((await _read(request, Size)).bytes)})

    async def restore(self, request: Request) -> Response:
        keep = request.query_params.get("discard", "") not in ("1", "true")
        size = int(request.headers.get("content-length", 0))
        return _told(await self._care.restore(_parts(request), size, keep=keep))

    async def fetch(self, request: Request) -> Response:
        id = request.path_params["id"]
        file = self._care.file(id)
        size = file.stat().st_size
        fields = {"content-length": str(size)}
        body = _read_file(file, size, lambda: self._care.fetched(id))
        return StreamingResponse(body, headers=fields, media_type="application/vnd.sqlite3")


def _guarded(door: Door, answer: Answer) -> Answer:
    async def guarded(request: Request) -> Response:
        scope = request.scope
        try:
            door.check(scope["headers"], scope["query_string"], CARE)
            return await answer(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except GaplessError as error:
            # What is left of an upload is not waited for.
            fields = {"connection": "close"}
            return Response(refusal_body(error), error.http_status, fields, JSON)

    return guarded


def _told(result: object) -> Response:
    return Response(msgspec.json.encode({"result": result}), media_type=JSON)


async def _read(request: Request, kind: type[Asked]) -> Asked:
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.MsgspecError as error:
        raise BadRequest(str(error)) from error


def _parts(request: Request) -> Callable[[], Awaitable[bytes]]:
    """Return what reads a body part by part; the end is an empty one."""
    stream = request.stream()

    async def part() -> bytes:
        held = bytearray()
        async for data in stream:
            held += data
            if len(held) >= PART_BYTES:
                break
        return bytes(held)

    return part


async def _read_file(file: Path, size: int, read: Callable[[], object]) -> AsyncGenerator[bytes]:
    """Read a file of so many bytes in parts; `read` is called once the last one was handed over."""
    left = size
    try:
        with await asyncio.to_thread(file.open, "rb") as opened:
            while left and (data := await asyncio.to_thread(opened.read, PART_BYTES)):
                left -= len(data)
                yield data
    finally:  # whoever has all may be gone before this goes on
        if not left:
            read()
