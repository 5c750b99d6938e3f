"""Replays and exports over HTTP: objects, one a line, as they fall due."""

from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gapless.core.errors import BadRequest, GaplessError
from gapless.protocol.payloads import failure_of
from gapless.protocol.reading import ReplayedMessage, ReplayRequest
from gapless.server.api import Door
from gapless.server.api.calls import refusal_body

__all__ = ["replay_route"]

Replay = Callable[[ReplayRequest], AsyncIterator[list[ReplayedMessage]]]

METHOD: Final = "stream/replay"
LINES: Final = "application/x-ndjson"
_encoder: Final = msgspec.json.Encoder()
_decode: Final = msgspec.json.Decoder(ReplayRequest).decode


def replay_route(replay: Replay, door: Door, prefix: str) -> Route:
    """Return the route of `POST stream/replay`, for whoever has the API's key or a session."""

    async def answer(request: Request) -> Response:
        scope = request.scope
        try:
            door.check(scope["headers"], scope["query_string"], METHOD)
            pages = replay(_asked(await request.body()))
            first: list[ReplayedMessage] = await anext(pages, [])  # what is refused is told by the status
        except ClientDisconnect:
            return Response(status_code=400)
        except GaplessError as error:
            body = refusal_body(error)
            return Response(body, error.http_status, media_type="application/json")
        return StreamingResponse(_lines(first, pages), media_type=LINES)

    return Route(f"{prefix}/{METHOD}", answer, methods=["POST"])


def _asked(body: bytes) -> ReplayRequest:
    try:
        body.decode()
        return _decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"malformed request: {error}") from error


async def _lines(
    first: list[ReplayedMessage], pages: AsyncIterator[list[ReplayedMessage]]
) -> AsyncIterator[bytes]:
    yield _encoded(first)
    try:
        async for page in pages:
            yield _encoded(page)
    except GaplessError as error:
        yield _encoder.encode_lines([{"error": failure_of(error)}])


def _encoded(page: list[ReplayedMessage]) -> bytes:
    """Return messages, one a line; a line break within a payload can only be white space."""
    lines = _encoder.encode_lines(page)
    if lines.count(b"\n") == len(page):
        return lines
    whole = (msgspec.json.format(_encoder.encode(message), indent=-1) for message in page)
    return b"".join(line + b"\n" for line in whole)
