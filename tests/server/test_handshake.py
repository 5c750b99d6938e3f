"""How a WebSocket is opened, and who is turned away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gapless.server.handshake import WebSocketEndpoint
from gapless.server.origin import Origins
from gapless.server.socket import Handshake, Receiver, Socket
from gapless.testing.echo import Echo
from tests.server.raw_socket import ACCEPT, KEY, TEXT, frame, upgrade
from tests.server.serving import Serving, on_a_loop, until


class Door(Serving):
    """Opens WebSockets at /ws for pages of there.example, and remembers the handshakes."""

    def __init__(self) -> None:
        self.handshakes: list[Handshake] = []
        super().__init__(
            upgrades=lambda clock: {
                "/ws": WebSocketEndpoint(
                    self.accept, clock, origins=Origins(["https://there.example"])
                ).upgrade
            }
        )

    def accept(self, handshake: Handshake, socket: Socket) -> Receiver:
        self.handshakes.append(handshake)
        return Echo(handshake, socket)


@asynccontextmanager
async def opened() -> AsyncIterator[Door]:
    door = Door()
    await door.front.listen("127.0.0.1", 0)
    try:
        yield door
    finally:
        await door.end()


@pytest.mark.parametrize("offer", ["permessage-deflate", "permessage-deflate; client_max_window_bits, x-any"])
def test_compression_is_declined_so_that_nothing_small_becomes_large(offer: str) -> None:
    @on_a_loop
    async def test() -> None:
        async with opened() as door:
            client = await door.connect()
            client.send(upgrade("/ws", f"Sec-WebSocket-Extensions: {offer}"))
            response = await client.response()
            assert response.status == 101
            assert "sec-websocket-extensions" not in response.headers

    test()


@on_a_loop
async def test_an_opening_handshake_is_answered_as_the_rfc_asks() -> None:
    async with opened() as door:
        client = await door.connect()
        client.send(upgrade("/ws?a=b%20c", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2"))
        response = await client.response()
        assert response.status == 101
        assert response.headers["upgrade"].lower() == "websocket"
        assert response.headers["connection"].lower() == "upgrade"
        assert response.headers["sec-websocket-accept"] == ACCEPT.decode()
        assert "sec-websocket-protocol" not in response.headers
        (handshake,) = door.handshakes
        assert handshake == ("a=b%20c", "127.0.0.1", False, None)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (upgrade(connection="keep-alive, Upgrade"), 101),  # Firefox
        (upgrade("/ws", "Origin: https://there.example"), 101),
        (upgrade("/ws", "Origin: http://here"), 101),
        (upgrade("/ws", "Content-Length: 0"), 101),
        (upgrade("/ws", "Origin: https://evil.example"), 403),
        (upgrade("/ws", "Origin: null"), 403),
        (upgrade("/ws", "Origin: http://here", "Origin: https://evil.example"), 403),
        (upgrade("/elsewhere"), 404),
        (upgrade(version=8), 426),
        (upgrade("/ws", "Sec-WebSocket-Version: 13"), 426),
        (upgrade().replace(KEY, b""), 400),
        (upgrade().replace(KEY, b"dG9vIHNob3J0"), 400),
        (upgrade().replace(KEY, b"!" * 22 + b"=="), 400),
        (upgrade("/ws", "Content-Length: 3") + b"abc", 400),
        (upgrade("/ws", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        (upgrade().replace(b"GET", b"POST"), 400),
        (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (upgrade("/ws", "Host: there"), 400),
    ],
)
def test_only_a_sound_handshake_from_an_allowed_origin_is_let_in(data: bytes, status: int) -> None:
    @on_a_loop
    async def test() -> None:
        async with opened() as door:
            client = await door.connect()
            client.send(data)
            response = await client.response()
            assert response.status == status
            assert bool(door.handshakes) == (status == 101)
            if status == 426:
                assert response.headers["sec-websocket-version"] == "13"
            if status != 101:
                assert await client.rest() == b""

    test()


@pytest.mark.parametrize(
    ("path", "offered", "chosen", "binary"),
    [
        ("/ws", None, None, False),
        ("/ws", "centrifuge-json", "centrifuge-json", False),
        ("/ws", "centrifuge-protobuf", "centrifuge-protobuf", True),
        ("/ws", "mqtt, centrifuge-protobuf", "centrifuge-protobuf", True),
        ("/ws", "centrifuge-json,centrifuge-protobuf", "centrifuge-json", False),
        ("/ws", "mqtt", None, False),
        ("/ws?format=protobuf", None, None, True),
        ("/ws?x=y&cf_protocol=protobuf", None, None, True),
        ("/ws?format=json", None, None, False),
        ("/ws?format=%ff&cf_protocol=%c3", None, None, False),
        ("/ws?format=protobuf", "centrifuge-json", "centrifuge-json", True),
    ],
)
def test_protobuf_is_chosen_by_subprotocol_or_query(
    path: str, offered: str | None, chosen: str | None, binary: bool
) -> None:
    @on_a_loop
    async def test() -> None:
        async with opened() as door:
            client = await door.connect()
            client.send(upgrade(path, *([f"Sec-WebSocket-Protocol: {offered}"] if offered else [])))
            response = await client.response()
            assert (response.status, response.headers.get("sec-websocket-protocol")) == (101, chosen)
            assert door.handshakes[0].binary == binary

    test()


@on_a_loop
async def test_frames_that_came_with_the_handshake_are_not_lost() -> None:
    async with opened() as door:
        client = await door.connect()
        messages = [b"x" * 5000, b"y", b"z" * 60_000]
        client.send(upgrade(), *[frame(TEXT, message) for message in messages])
        assert (await client.response()).status == 101
        assert [await client.receive() for _ in messages] == [(TEXT, message) for message in messages]


@on_a_loop
async def test_a_connection_that_has_served_requests_may_become_a_websocket() -> None:
    async with opened() as door:
        client = await door.connect()
        client.send(b"GET /hot HTTP/1.1\r\nHost: here\r\n\r\n", upgrade(), frame(TEXT, b"hello"))
        assert (await client.response()).status == 200
        assert (await client.response()).status == 101
        assert await client.receive() == (TEXT, b"hello")
        assert door.site.connections == set()


@on_a_loop
async def test_none_is_opened_once_the_server_stops() -> None:
    async with opened() as door:
        client = await door.connect()
        head = upgrade()
        client.send(head[:20])
        await until(lambda: bool(door.site.connections))
        door.front.stop_accepting()
        client.send(head[20:])
        assert (await client.response()).status == 503
        assert door.handshakes == []
