"""Bad HTTP over real sockets: each fault has its answer and ends the connection, and nothing is smuggled."""

import asyncio
import errno
import logging
import socket
from typing import Any

import pytest

from gapless.core.limits import ACCEPT_PAUSE_MS, HEAD_MS, IDLE_MS, SOCKET_UNSENT_BYTES
from gapless.server.front import Front, reserve
from gapless.server.request import Request
from gapless.server.site import HttpLimits
from tests.server.raw_socket import RawSocket
from tests.server.serving import Serving, on_a_loop, serving, until

HOST = b"Host: here\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
END = b"\r\n"


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return b"".join([b"POST /hot HTTP/1.1\r\n", *fields, END, body])


def get(*fields: bytes) -> bytes:
    return b"".join([b"GET /hot HTTP/1.1\r\n", *fields, END])


REFUSED = {
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), 400),
    "an HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/2.0 in the request line": (b"GET /hot HTTP/2.0\r\n" + HOST + END, 505),
    "HTTP/0.9": (b"GET /hot\r\n\r\n", 505),
    "an unknown version": (b"GET /hot HTTP/1.7\r\n" + HOST + END, 400),
    "an unknown method": (b"STEAL /hot HTTP/1.1\r\n" + HOST + END, 400),
    "a method in lower case": (b"get /hot HTTP/1.1\r\n" + HOST + END, 400),
    "a tunnel": (b"CONNECT here:80 HTTP/1.1\r\n" + HOST + END, 405),
    "a control character in the target": (b"GET /\x01 HTTP/1.1\r\n" + HOST + END, 400),
    "a target that is no path": (b"GET ftp://here/ HTTP/1.1\r\n" + HOST + END, 400),
    "a target of 9 KiB": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST + END, 414),
    "a space behind the version": (b"GET /hot HTTP/1.1 \r\n" + HOST + END, 400),
    "LF alone behind the request line": (b"GET /hot HTTP/1.1\n" + HOST + END, 400),
    "LF alone behind a field": (get(b"Host: here\n"), 400),
    "LF alone behind the head": (b"GET /hot HTTP/1.1\r\nHost: here\r\n\n", 400),
    "CR alone in a field": (get(HOST, b"X: a\rTransfer-Encoding: chunked\r\n"), 400),
    "a folded field": (get(HOST, b"X: a\r\n b\r\n"), 400),
    "a folded Transfer-Encoding": (post(HOST, b"Transfer-Encoding:\r\n chunked\r\n"), 400),
    "a space before the first field": (b"GET /hot HTTP/1.1\r\n Host: here\r\n\r\n", 400),
    "a space before the colon": (post(HOST, b"Content-Length : 3\r\n", body=b"abc"), 400),
    "a field without a name": (get(HOST, b": x\r\n"), 400),
    "a field without a colon": (get(HOST, b"nothing\r\n"), 400),
    "NUL in a field's name": (get(HOST, b"X\0: a\r\n"), 400),
    "NUL in a field's value": (get(HOST, b"X: \0\r\n"), 400),
    "no Host": (get(), 400),
    "two Hosts": (get(HOST, HOST), 400),
    "a Host of two": (get(b"Host: here, there\r\n"), 400),
    "a Host with a path": (get(b"Host: here/there\r\n"), 400),
    "Content-Length beside Transfer-Encoding": (
        post(HOST, b"Content-Length: 3\r\n", CHUNKED, body=b"0\r\n\r\n"),
        400,
    ),
    "Transfer-Encoding beside Content-Length": (
        post(HOST, CHUNKED, b"Content-Length: 3\r\n", body=b"0\r\n\r\n"),
        400,
    ),
    "Content-Length twice": (post(HOST, b"Content-Length: 3\r\n" * 2, body=b"abc"), 400),
    "a list of Content-Lengths": (post(HOST, b"Content-Length: 3, 3\r\n", body=b"abc"), 400),
    "a signed Content-Length": (post(HOST, b"Content-Length: +3\r\n", body=b"abc"), 400),
    "a negative Content-Length": (post(HOST, b"Content-Length: -3\r\n", body=b"abc"), 400),
    "a Content-Length in hexadecimal": (post(HOST, b"Content-Length: 0x3\r\n", body=b"abc"), 400),
    "an empty Content-Length": (post(HOST, b"Content-Length: \r\n"), 400),
    "a Content-Length beyond 64 bits": (post(HOST, b"Content-Length: 99999999999999999999\r\n"), 400),
    "another transfer coding": (post(HOST, b"Transfer-Encoding: gzip\r\n"), 501),
    "a coding behind chunked": (post(HOST, b"Transfer-Encoding: chunked, gzip\r\n"), 400),
    "a coding before chunked": (post(HOST, b"Transfer-Encoding: gzip, chunked\r\n"), 501),
    "chunked, disguised": (post(HOST, b"Transfer-Encoding: xchunked\r\n"), 501),
    "chunked behind a vertical tab": (post(HOST, b"Transfer-Encoding: \x0bchunked\r\n"), 400),
    "chunked twice": (post(HOST, CHUNKED, CHUNKED, body=b"0\r\n\r\n"), 400),
    "chunked in HTTP/1.0": (b"POST /hot HTTP/1.0\r\n" + CHUNKED + b"\r\n0\r\n\r\n", 501),
    "a chunk's size in hexadecimal notation": (post(HOST, CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n"), 400),
    "a negative chunk": (post(HOST, CHUNKED, body=b"-3\r\nabc\r\n0\r\n\r\n"), 400),
    "a space behind a chunk's size": (post(HOST, CHUNKED, body=b"3 \r\nabc\r\n0\r\n\r\n"), 400),
    "LF alone behind a chunk's size": (post(HOST, CHUNKED, body=b"3\nabc\r\n0\r\n\r\n"), 400),
    "a chunk that is longer than its size": (post(HOST, CHUNKED, body=b"3\r\nabcd\r\n0\r\n\r\n"), 400),
    "a chunk beyond 64 bits": (post(HOST, CHUNKED, body=b"fffffffffffffffff\r\nabc"), 400),
    "a Content-Length in the trailer": (
        post(HOST, CHUNKED, body=b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n"),
        400,
    ),
    "101 fields": (get(HOST, b"".join(b"X-%d: a\r\n" % number for number in range(100))), 431),
    "101 fields in the trailer": (
        post(HOST, CHUNKED, body=b"0\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(101)) + END),
        431,
    ),
    "a head of 17 KiB": (get(HOST, b"X: " + b"a" * 17_000 + END), 431),
    "a head of 70 KiB": (get(HOST, b"X: " + b"a" * 70_000 + END), 431),
    "a head without an end": (b"GET /hot HTTP/1.1\r\nX: " + b"a" * 17_000, 431),
    "a target without an end": (b"GET /" + b"a" * 17_000, 431),
    "a body over the limit": (post(HOST, b"Content-Length: 1001\r\n", body=b"a" * 1001), 413),
    "chunks over the limit": (post(HOST, CHUNKED, body=b"3e9\r\n" + b"a" * 1001 + b"\r\n0\r\n\r\n"), 413),
    "another expectation": (post(HOST, b"Expect: gold\r\n", b"Content-Length: 3\r\n", body=b"abc"), 417),
    "a WebSocket where there is none": (
        get(HOST, b"Upgrade: websocket\r\nConnection: upgrade\r\n"),
        404,
    ),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_sound_request_gets_its_status_and_the_end(data: bytes, status: int) -> None:
    @on_a_loop
    async def test() -> None:
        async with serving(limits=HttpLimits(body_bytes_max=1000)) as served:
            bad = await served.connect()
            bad.send(data)
            responses = await bad.responses()
            assert [response.status for response in responses] == [status]
            assert responses[0].headers["connection"] == "close"
            assert served.handled == []

    test()


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
def test_a_fault_is_found_however_it_is_cut_into_pieces(data: bytes, status: int) -> None:
    @on_a_loop
    async def test() -> None:
        async with serving(limits=HttpLimits(body_bytes_max=1000)) as served:
            bad = await served.connect()
            for start in range(0, len(data), step := max(1, len(data) // 40)):
                bad.send(data[start : start + step])
                await bad.writer.drain()
                await asyncio.sleep(0)
            assert [response.status for response in await bad.responses()] == [status]
            assert served.handled == []

    test()


@on_a_loop
async def test_what_follows_a_body_is_a_request_of_its_own_and_refused_as_one() -> None:
    async with serving() as served:
        long = await served.connect()
        long.send(post(HOST, b"Content-Length: 3\r\n", body=b"abcdef"))
        assert [(response.status, response.body) for response in await long.responses()] == [
            (200, b"abc"),
            (400, b"Invalid method encountered"),
        ]
        assert served.handled == [(b"/hot", b"abc")]


@on_a_loop
async def test_what_follows_a_last_request_is_dropped() -> None:
    async with serving() as served:
        last = await served.connect()
        last.send(get(HOST, b"Connection: close\r\n"), get(HOST))
        assert [response.status for response in await last.responses()] == [200]
        assert len(served.handled) == 1


@on_a_loop
async def test_a_fault_is_answered_after_the_requests_before_it() -> None:
    asked: list[Request] = []
    async with serving(hot={("GET", "/later"): asked.append}) as served:
        client = await served.connect()
        client.send(b"GET /later HTTP/1.1\r\nHost: here\r\n\r\nnonsense\r\n\r\n")
        await until(lambda: bool(asked))
        await served.settle()
        asked[0].respond(200, b"first")
        assert [response.status for response in await client.responses()] == [200, 400]


@on_a_loop
async def test_a_body_that_is_cut_short_by_nonsense_never_reaches_the_app_whole() -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while told[-1:] != ["http.disconnect"]:
            told.append((await receive())["type"])

    async with serving(app=app) as served:
        client = await served.connect()
        client.send(b"POST /app HTTP/1.1\r\n", HOST, CHUNKED, END, b"3\r\nabc\r\nnonsense")
        assert [response.status for response in await client.responses()] == [400]
        await until(lambda: told[-1:] == ["http.disconnect"])


@on_a_loop
async def test_a_slow_head_gets_408() -> None:
    async with serving() as served:
        slow = await served.connect()
        slow.send(b"GET /hot HTTP/1.1\r\nX: ")
        await served.settle()
        served.clock.move(HEAD_MS)
        assert [response.status for response in await slow.responses()] == [408]


@on_a_loop
async def test_a_trickle_does_not_move_the_deadline_of_a_head() -> None:
    async with serving() as served:
        slow = await served.connect()
        for byte in b"GET /":
            slow.send(bytes([byte]))
            await served.settle()
            served.clock.move(HEAD_MS // 5)
        assert [response.status for response in await slow.responses()] == [408]


@on_a_loop
async def test_every_head_has_a_deadline_of_its_own() -> None:
    async with serving() as served:
        client = await served.connect()
        piece = get(HOST)
        client.send(piece[:10])
        for _ in range(5):  # every read ends within a head, and each head takes less than it may
            await served.settle()
            served.clock.move(HEAD_MS - 1)
            client.send(piece[10:] + piece[:10])
            assert (await client.response()).status == 200


@on_a_loop
async def test_a_slow_head_after_a_request_gets_408() -> None:
    async with serving() as served:
        client = await served.connect()
        client.send(get(HOST))
        assert (await client.response()).status == 200
        client.send(b"GET /hot")
        await served.settle()
        served.clock.move(HEAD_MS)
        assert [response.status for response in await client.responses()] == [408]


@pytest.mark.parametrize("path", [b"/hot", b"/app"])
def test_a_slow_body_gets_408(path: bytes) -> None:
    @on_a_loop
    async def test() -> None:
        async with serving(limits=HttpLimits(body_ms=100)) as served:
            slow = await served.connect()
            slow.send(b"POST ", path, b" HTTP/1.1\r\n", HOST, b"Content-Length: 3\r\n\r\nab")
            await served.settle()
            served.clock.move(100)
            assert [response.status for response in await slow.responses()] == [408]
            assert served.handled == []

    test()


@on_a_loop
async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    async with serving() as served:
        silent = await served.connect()
        await served.settle()
        served.clock.move(HEAD_MS)
        assert await silent.rest() == b""


@on_a_loop
async def test_an_idle_connection_is_kept_for_a_while_and_then_closed() -> None:
    async with serving() as served:
        idle = await served.connect()
        for number in range(4):
            idle.send(get(HOST, b"X: %d\r\n" % number))
            assert (await idle.response()).status == 200
            served.clock.move(IDLE_MS - 1)
        served.clock.move(IDLE_MS + 2)
        assert await idle.rest() == b""


@on_a_loop
async def test_a_connection_that_waits_for_its_response_is_not_idle() -> None:
    asked: list[Request] = []
    async with serving(hot={("GET", "/later"): asked.append}) as served:
        client = await served.connect()
        client.send(b"GET /later HTTP/1.1\r\nHost: here\r\n\r\n")
        await until(lambda: bool(asked))
        served.clock.move(10 * IDLE_MS)
        asked[0].respond(200, b"at last")
        assert (await client.response()).body == b"at last"


@on_a_loop
async def test_a_refused_peer_that_stays_is_cut_off() -> None:
    async with serving() as served:
        client = await served.connect()
        client.send(b"nonsense\r\n\r\n")
        assert (await client.response()).status == 400
        assert len(served.site.connections) == 1
        served.clock.move(served.site.limits.close_ms)
        await until(lambda: not served.site.connections)


@on_a_loop
async def test_a_peer_that_takes_no_response_is_asked_no_more_and_then_cut_off() -> None:
    async with serving(hot={("GET", "/big"): lambda request: request.respond(200, bytes(1 << 20))}) as served:
        client = await served.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a socket's
        client.send(b"GET /big HTTP/1.1\r\nHost: here\r\n\r\n" * 2000)
        await served.settle()
        (connection,) = served.site.connections
        assert not connection._transport.is_reading()
        served.clock.move(4 * IDLE_MS)
        await until(lambda: not served.site.connections)


@on_a_loop
async def test_shutdown_closes_the_port_and_idle_connections_at_once_and_waits_for_responses() -> None:
    asked: list[Request] = []
    served = Serving({("GET", "/later"): asked.append})
    await served.front.listen("127.0.0.1", 0)
    port = served.front.port
    idle, silent, begun, busy = [await served.connect() for _ in range(4)]
    idle.send(get(HOST))
    assert (await idle.response()).status == 200
    begun.send(b"GET /later HTTP/1.1\r\nHo")
    busy.send(b"GET /later HTTP/1.1\r\nHost: here\r\n\r\n")
    await until(lambda: bool(asked))

    ending = asyncio.create_task(served.front.shutdown(1000))
    assert await idle.rest() == b""
    assert await silent.rest() == b""
    assert await begun.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        await RawSocket.connect(port)
    assert not ending.done()
    asked[0].respond(200, b"done")
    (response,) = await busy.responses()
    assert (response.body, response.headers["connection"]) == (b"done", "close")
    await ending
    await served.end()


@on_a_loop
async def test_shutdown_does_not_wait_for_ever() -> None:
    asked: list[Request] = []
    served = Serving({("GET", "/never"): asked.append})
    await served.front.listen("127.0.0.1", 0)
    client = await served.connect()
    client.send(b"GET /never HTTP/1.1\r\nHost: here\r\n\r\n")
    await until(lambda: bool(asked))
    ending = asyncio.create_task(served.front.shutdown(1000))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    served.clock.move(1000)
    await ending
    assert await client.rest() == b""
    await served.end()


@on_a_loop
async def test_small_writes_leave_at_once() -> None:
    async with serving() as served:
        await served.connect()
        await until(lambda: bool(served.site.connections))
        (connection,) = served.site.connections
        ours = connection._transport.get_extra_info("socket")
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@on_a_loop
async def test_what_a_peer_does_not_take_stays_where_its_session_sees_it() -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: bool(served.site.connections))
        (connection,) = served.site.connections
        transport = connection._transport
        ours = transport.get_extra_info("socket")
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == SOCKET_UNSENT_BYTES
        transport.write(bytes(4 << 20))
        assert transport.get_write_buffer_size() > 3 << 20


@on_a_loop
async def test_every_address_has_the_same_port() -> None:
    served = Serving()
    await served.front.listen("", 0)
    assert len({listening.getsockname()[1] for listening in served.front._listening}) == 1
    client = await served.connect()
    client.send(get(HOST, b"Connection: close\r\n"))
    assert [response.status for response in await client.responses()] == [200]
    await served.end()


@on_a_loop
async def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError) as caught:
        await Serving().front.listen("192.0.2.1", 0)
    assert caught.value.errno == errno.EADDRNOTAVAIL


@on_a_loop
async def test_a_port_in_use_is_an_error_that_says_so() -> None:
    async with serving() as served:
        with pytest.raises(OSError, match="Address already in use") as caught:
            await Front(served.site).listen("127.0.0.1", served.front.port)
        assert caught.value.errno == errno.EADDRINUSE


@on_a_loop
async def test_two_fronts_may_share_a_port_if_both_ask_for_it() -> None:
    first, second = Serving(), Serving()
    await first.front.listen("127.0.0.1", 0, reuse_port=True)
    await second.front.listen("127.0.0.1", first.front.port, reuse_port=True)
    await first.end()
    client = await second.connect()
    client.send(get(HOST, b"Connection: close\r\n"))
    assert [response.status for response in await client.responses()] == [200]
    await second.end()


@on_a_loop
async def test_a_port_can_be_kept_for_those_who_share_it_and_is_taken_from_nobody() -> None:
    kept = reserve("", 0)
    ports = {one.getsockname()[1] for one in kept}
    assert len(ports) == 1
    sharing = Serving()
    await sharing.front.listen("127.0.0.1", *ports, reuse_port=True)
    with pytest.raises(OSError, match="in use"):
        reserve("127.0.0.1", *ports)
    client = await sharing.connect()
    client.send(get(HOST, b"Connection: close\r\n"))
    assert [response.status for response in await client.responses()] == [200]
    await sharing.end()
    for one in kept:
        one.close()


class NoRoom(socket.socket):
    """A listening socket of a process that has no file descriptor left."""

    def accept(self) -> tuple[socket.socket, object]:
        raise OSError(errno.EMFILE, "Too many open files")


@on_a_loop
async def test_out_of_file_descriptors_accepting_pauses_instead_of_spinning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as served, serving() as other:
        (listening,) = served.front._listening
        full = NoRoom(fileno=socket.dup(listening.fileno()))
        served.front._pause(listening, OSError(errno.EMFILE, "Too many open files"))
        with caplog.at_level(logging.ERROR, "gapless.front"):
            served.front._accept(full)
        assert "Too many open files" in caplog.text
        waiting = await served.connect()
        full.close()
        await other.settle()  # time enough to accept
        assert not served.site.connections
        waiting.send(get(HOST, b"Connection: close\r\n"))
        served.clock.move(ACCEPT_PAUSE_MS)
        assert [response.status for response in await waiting.responses()] == [200]
