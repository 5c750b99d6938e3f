"""What a server's answers, their absence, and other servers' answers mean."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gapless.core.errors import (
    BadRequest,
    ConfigError,
    GaplessError,
    LeaseLost,
    MethodNotFound,
    OutcomeUnknown,
    Unauthorized,
    Unavailable,
)
from gapless.library.posting import CONNECTIONS_MAX, Posting
from tests.server.serving import on_a_loop

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def at(answer: bytes) -> AsyncIterator[Posting]:
    """A server that answers so to whatever is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with serving(serve) as posting:
        yield posting


@asynccontextmanager
async def serving(serve: Answering) -> AsyncIterator[Posting]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    posting = Posting(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", api_key="k", tls=None)
    posting.open()
    try:
        yield posting
    finally:
        await posting.close()
        server.close()
        await server.wait_closed()


def http(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def refusal(reason: str) -> bytes:
    return b'{"error":{"code":1,"message":"m","reason":"%b","temporary":false}}' % reason.encode()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", OutcomeUnknown),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", OutcomeUnknown),
        (http(200, b"<html>"), OutcomeUnknown),
        (http(502, b"<html>"), OutcomeUnknown),
        (http(429, b""), Unavailable),
        (http(404, b"not here"), MethodNotFound),
        (http(413, b""), BadRequest),
        (http(401, refusal("unauthorized")), Unauthorized),
        (http(200, refusal("lease_lost")), LeaseLost),
        (http(200, refusal("of_tomorrow")), GaplessError),
    ],
)
@on_a_loop
async def test_an_answer_is_an_error_of_its_class(answer: bytes, error: type[GaplessError]) -> None:
    async with at(answer) as posting:
        with pytest.raises(error) as told:
            await posting.post("queue/list", b"{}")
    assert type(told.value) is error


@on_a_loop
async def test_a_result_is_what_stands_in_the_answer() -> None:
    async with at(http(200, b'{"result":{"a":[1]}}')) as posting:
        assert await posting.post("queue/list", b"{}") == b'{"a":[1]}'


@on_a_loop
async def test_who_is_not_there_was_asked_nothing() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    posting = Posting(f"http://127.0.0.1:{port}", api_key="", tls=None)
    posting.open()
    with pytest.raises(Unavailable, match="does not answer"):
        await posting.post("queue/list", b"{}")
    await posting.close()


@pytest.mark.parametrize(
    ("url", "websocket"),
    [
        ("http://here:8000", "ws://here:8000/connection/websocket"),
        ("https://here/gapless/api/", "wss://here/gapless/connection/websocket"),
    ],
)
def test_the_web_socket_is_beside_the_api(url: str, websocket: str) -> None:
    assert Posting(url, api_key="", tls=None).websocket == websocket


@pytest.mark.parametrize(
    "url", ["here:8000", "ftp://here", "http://", "http://:80", "http://here:port", "http://name:word@here"]
)
def test_what_is_no_url_of_a_server_is_told_at_once(url: str) -> None:
    with pytest.raises(ConfigError):
        Posting(url, api_key="", tls=None)


@on_a_loop
async def test_calls_that_wait_hold_up_no_other() -> None:
    waiting, go_on = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal waiting
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/claim " in head:
            waiting += 1
            await go_on.wait()
        writer.write(http(200, b'{"result":{}}'))
        await writer.drain()
        writer.close()

    async with serving(serve) as posting:
        calls = [posting.post("queue/claim", b"", wait_ms=10_000) for _ in range(2 * CONNECTIONS_MAX)]
        claims = [asyncio.ensure_future(call) for call in calls]
        while waiting < len(claims):  # noqa: ASYNC110 # no event tells what the kernel does
            await asyncio.sleep(0)
        assert await posting.post("queue/settle", b"") == b"{}"
        go_on.set()
        assert await asyncio.gather(*claims) == [b"{}"] * len(claims)
