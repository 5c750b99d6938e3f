"""Hot routes beside an ASGI app on one connection: who answers what, and in which order."""

import asyncio
import contextlib
import itertools
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapless.core.limits import HEAD_BYTES_MAX, IDLE_MS
from gapless.server.http import HttpConnection
from gapless.server.request import TEXT, Request
from gapless.server.site import HttpLimits, Site
from tests.server.raw_socket import upgrade
from tests.server.serving import HandClock, Serving, on_a_loop, serving, until


def post(path: str, body: bytes, *fields: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode() + body


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: here", *fields, "", ""]).encode()


class Later:
    """A hot handler that leaves it to the test when to answer."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> None:
        self.asked.append(request)


@on_a_loop
async def test_a_hot_route_answers_with_json_the_date_and_the_length() -> None:
    async with serving() as served:
        client = await served.connect()
        client.send(post("/hot", b'{"a":1}'))
        response = await client.response()
        assert (response.status, response.body) == (200, b'{"a":1}')
        assert response.headers["content-type"] == "application/json"
        assert response.headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"
        served.clock.move(1000)
        client.send(post("/app", b"x"))
        assert (await client.response()).headers["date"] == "Thu, 01 Jan 1970 00:00:01 GMT"


@on_a_loop
async def test_a_handler_sees_the_request_as_it_was_sent() -> None:
    later = Later()
    async with serving(hot={("POST", "/api/publish"): later}) as served:
        client = await served.connect()
        client.send(post("/api/publish?key=%20x", b"body", "X-API-Key: secret", "x-twice: a", "X-Twice: b"))
        await until(lambda: bool(later.asked))
        (request,) = later.asked
        assert (request.method, request.path, request.query) == (b"POST", b"/api/publish", b"key=%20x")
        assert (request.body, request.address) == (b"body", "127.0.0.1")
        assert request.header(b"x-api-key") == b"secret"
        assert request.header(b"x-twice") == b"a, b"
        assert request.header(b"x-other") is None
        request.respond(418, b"tea", TEXT + b"x-pot: 1\r\n")
        response = await client.response()
        assert (response.status, response.headers["x-pot"]) == (418, "1")


@pytest.mark.parametrize("target", ["/hot?a=b", "http://elsewhere/hot"])
def test_a_hot_route_is_found_by_its_path_alone(target: str) -> None:
    @on_a_loop
    async def test() -> None:
        async with serving(app=None) as served:
            client = await served.connect()
            client.send(post(target, b"x"))
            assert (await client.response()).headers["content-type"] == "application/json"

    test()


@on_a_loop
async def test_another_method_or_path_goes_to_the_app() -> None:
    async with serving() as served:
        client = await served.connect()
        client.send(post("/hot/", b"1"), post("/HOT", b"2"), b"PUT /hot HTTP/1.1\r\nHost: here\r\n\r\n")
        for body in (b"1", b"2", b""):
            response = await client.response()
            assert (response.body, response.headers.get("content-type")) == (body, None)


@on_a_loop
async def test_chunks_and_pieces_make_one_body() -> None:
    async with serving() as served:
        client = await served.connect()
        for path in (b"/hot", b"/app"):
            client.send(b"POST " + path + b" HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in (b"3;x=y\r\nabc\r\n", b"2\r\n", b"de\r", b"\n0\r\n", b"X-Trailer: dropped\r\n\r\n"):
                await served.settle()
                client.send(piece)
            assert (await client.response()).body == b"abcde"


@on_a_loop
async def test_responses_keep_the_order_of_their_requests_whoever_answers_them() -> None:
    later = Later()
    async with serving(hot={("POST", "/later"): later}) as served:
        client = await served.connect()
        paths = ["/hot", "/later", "/app", "/later", "/hot", "/app", "/hot"]
        client.send(*[post(path, b"%d" % number) for number, path in enumerate(paths)])
        for count in (1, 2):
            await until(lambda count=count: len(later.asked) == count)  # type: ignore[misc]
            await served.settle()
            later.asked[-1].respond(200, later.asked[-1].body)
        assert [(await client.response()).body for _ in paths] == [b"%d" % number for number in range(7)]


@on_a_loop
async def test_a_thousand_requests_at_once_are_answered_without_recursion() -> None:
    later = Later()
    async with serving(hot={("POST", "/later"): later}) as served:
        client = await served.connect()
        client.send(post("/later", b"first"), *[post("/hot", b"%d" % number) for number in range(1000)])
        await until(lambda: bool(later.asked))
        await served.settle()
        assert served.handled == []
        later.asked[0].respond(200, b"first")
        assert [(await client.response()).body for _ in range(1001)] == [
            b"first",
            *[b"%d" % number for number in range(1000)],
        ]


@on_a_loop
async def test_while_a_response_is_owed_no_more_than_one_read_of_requests_is_taken() -> None:
    later = Later()
    async with serving(hot={("POST", "/later"): later}) as served:
        client = await served.connect()
        client.send(post("/later", b"x" * 1000) * 2000)
        await until(lambda: bool(later.asked))
        await served.settle()
        (connection,) = served.site.connections
        assert len(connection._waiting) <= len(served.site.buffer) // 1000
        assert not connection._transport.is_reading()


@on_a_loop
async def test_an_answer_to_a_peer_that_has_left_is_no_harm() -> None:
    later = Later()
    async with serving(hot={("GET", "/later"): later}) as served:
        client = await served.connect()
        client.send(get("/later"))
        await until(lambda: bool(later.asked))
        client.leave()
        await until(lambda: not served.site.connections)
        later.asked[0].respond(200, b"too late")


@on_a_loop
async def test_a_request_is_answered_once() -> None:
    later = Later()
    async with serving(hot={("GET", "/later"): later}) as served:
        client = await served.connect()
        client.send(get("/later"))
        await until(lambda: bool(later.asked))
        later.asked[0].respond(200, b"")
        with pytest.raises(AssertionError):
            later.asked[0].respond(200, b"")


@on_a_loop
async def test_a_handler_that_fails_gives_500_and_the_end(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Request) -> None:
        raise RuntimeError("broken")

    async with serving(hot={("GET", "/fail"): fail}) as served:
        client = await served.connect()
        client.send(get("/fail"), get("/hot"))
        assert [response.status for response in await client.responses()] == [500]
        assert served.handled == []
    assert [(record.levelno, record.name) for record in caplog.records] == [(logging.ERROR, "gapless.http")]


@on_a_loop
async def test_a_bug_of_ours_is_not_taken_for_a_bad_request(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as served:
        monkeypatch.setattr("gapless.server.http.read_head", None)
        client = await served.connect()
        client.send(get("/hot"))
        assert [response.status for response in await client.responses()] == [500]
    assert [(record.levelno, record.name) for record in caplog.records] == [(logging.ERROR, "gapless.http")]
    assert "TypeError" in caplog.text


PIECES = [
    post("/hot", b"body"),
    post("/app", b"body"),
    get("/hot"),
    get("/app", "Connection: close"),
    get("/hot", "Connection: Upgrade", "Upgrade: h2c"),
    upgrade("/nowhere"),
    b"POST /hot HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    b"GET /hot HTTP/1.1\r\n",
    b"Host: here\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 3\r\n",
    b"\r\n",
    b"\n",
    b"0\r\n\r\n",
    b"\xff\x00 garbage",
]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12).map(b"".join),
    st.lists(st.integers(0, 2000), max_size=6),
)
def test_whatever_comes_is_answered_or_refused(data: bytes, cuts: list[int]) -> None:
    @on_a_loop
    async def test() -> None:
        async with serving() as served:
            client = await served.connect()
            places = [0, *sorted(cuts), len(data)]
            for start, end in itertools.pairwise(places):
                if not client.writer.is_closing():
                    client.send(data[start:end])
                await asyncio.sleep(0)
            await served.settle()
            reading = asyncio.create_task(client.responses())
            while not reading.done():
                served.clock.move(IDLE_MS)
                await asyncio.sleep(0)
            with contextlib.suppress(ConnectionError):  # what follows a last request is not read
                statuses = {response.status for response in await reading}
                assert statuses <= {200, 400, 404, 408, 431, 501, 505}
            assert {body for _, body in served.handled} <= {b"", b"body"} | {
                data[index : index + 3] for index in range(len(data))
            }
            await until(lambda: not served.site.connections)

    test()


@on_a_loop
async def test_an_app_that_fails_gives_500_and_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("broken")

    async with serving(app=fail) as served:
        client = await served.connect()
        client.send(get("/fail"), get("/hot"))
        assert [response.status for response in await client.responses()] == [500]
    assert {record.name for record in caplog.records} == {"gapless.http"}


@on_a_loop
async def test_an_app_learns_that_its_client_has_left() -> None:
    told = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        told.set()

    async with serving(app=app) as served:
        client = await served.connect()
        client.send(get("/"))
        await served.settle()
        client.leave()
        await told.wait()


@on_a_loop
async def test_an_app_that_answers_early_leaves_the_rest_of_the_body_unread() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with serving(app=app) as served:
        client = await served.connect()
        whole = post("/app", b"x" * 100_000)
        client.send(whole[:50_000])
        assert (await client.response()).status == 401
        client.send(whole[50_000:], post("/hot", b"next"))
        assert (await client.response()).body == b"next"


@on_a_loop
async def test_an_app_reads_a_large_body_in_pieces() -> None:
    async with serving() as served:
        client = await served.connect()
        body = bytes(range(256)) * 4000
        client.send(post("/app", body))
        assert (await client.response()).body == body


@on_a_loop
async def test_the_app_gets_the_scope_that_asgi_describes() -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body", "body": b""})

    async with serving(app=app) as served:
        client = await served.connect()
        client.send(get("/a%20b?c=%64", "X-Y: z"))
        assert (await client.response()).status == 204
        (scope,) = scopes
        assert scope["client"] == client.writer.get_extra_info("sockname")
        assert scope["server"] == ("127.0.0.1", served.front.port)
        assert {key: scope[key] for key in ("type", "http_version", "method", "path", "raw_path")} == {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": "/a b",
            "raw_path": b"/a%20b",
        }
        assert (scope["query_string"], scope["scheme"]) == (b"c=%64", "http")
        assert scope["headers"] == [(b"host", b"here"), (b"x-y", b"z")]


@pytest.mark.parametrize("path", ["/hot", "/app"])
def test_a_client_that_asks_may_go_on(path: str) -> None:
    @on_a_loop
    async def test() -> None:
        async with serving() as served:
            client = await served.connect()
            whole = post(path, b"body", "Expect: 100-continue")
            client.send(whole[:-4])
            assert (await client.response()).status == 100
            client.send(whole[-4:])
            assert (await client.response()).body == b"body"

    test()


@pytest.mark.parametrize("path", ["/hot", "/app"])
def test_http_1_0_gets_one_response_and_needs_no_host(path: str) -> None:
    @on_a_loop
    async def test() -> None:
        async with serving() as served:
            client = await served.connect()
            client.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            (response,) = await client.responses()
            assert (response.status, response.headers["connection"]) == (200, "close")

    test()


@pytest.mark.parametrize("path", ["/hot", "/app"])
def test_an_offer_of_http_2_is_declined_and_the_request_served(path: str) -> None:
    @on_a_loop
    async def test() -> None:
        async with serving() as served:
            client = await served.connect()
            offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
            client.send(post(path + "?a=b", b"body", *offer), post("/hot", b"next"))
            assert [(await client.response()).body for _ in range(2)] == [b"body", b"next"]

    test()


@on_a_loop
async def test_an_upgrade_behind_an_unanswered_request_is_refused_in_its_turn() -> None:
    later = Later()
    async with serving(hot={("GET", "/later"): later}) as served:
        client = await served.connect()
        client.send(get("/later"), upgrade())
        await until(lambda: bool(later.asked))
        await served.settle()
        later.asked[0].respond(200, b"")
        assert [response.status for response in await client.responses()] == [200, 400]


@on_a_loop
async def test_a_full_head_is_not_too_large() -> None:
    async with serving() as served:
        client = await served.connect()
        fields = [f"X-{number}: " + "a" * 150 for number in range(96)]
        head = get("/hot", *fields)
        assert HEAD_BYTES_MAX * 0.9 < len(head) < HEAD_BYTES_MAX
        client.send(head)
        assert (await client.response()).status == 200


@on_a_loop
async def test_a_full_body_is_not_too_large() -> None:
    async with serving(limits=HttpLimits(body_bytes_max=1000)) as served:
        client = await served.connect()
        for path in ("/hot", "/app"):
            client.send(post(path, b"x" * 1000), post(path, b"y" * 1000))
            assert [(await client.response()).body[:1] for _ in range(2)] == [b"x", b"y"]


@on_a_loop
async def test_an_endless_chunk_extension_is_refused() -> None:
    async with serving(limits=HttpLimits(body_bytes_max=1000)) as served:
        client = await served.connect()
        client.send(b"POST /hot HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n3;")
        client.send(b"a" * 200_000)
        assert [response.status for response in await client.responses()] == [413]


def test_a_connection_that_ends_leaves_nothing_behind() -> None:
    import gc
    import weakref

    @on_a_loop
    async def test() -> None:
        gc.collect()
        gc.disable()
        served = Serving()
        await served.front.listen("127.0.0.1", 0)
        client = await served.connect()
        client.send(get("/hot"), get("/hot"))
        assert (await client.response()).status == 200
        (connection,) = served.site.connections
        gone = weakref.ref(connection)
        del connection
        client.leave()
        await until(lambda: gone() is None)
        gc.enable()
        await served.end()

    test()


def test_a_connection_is_one_buffer_short_of_asyncio() -> None:
    @on_a_loop
    async def test() -> None:
        site = Site(None, HandClock())
        first, second = HttpConnection(site), HttpConnection(site)
        assert first.is_buffered_protocol()
        assert first.get_buffer(-1) is second.get_buffer(-1)

    test()
