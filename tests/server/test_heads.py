import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.server.heads import Heads
from gapless.server.request import Request, read_head

HEAD = b"POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
FIELDS = [(b"host", b"x"), (b"content-length", b"2")]


def parsed(
    body: bytes = b"{}", *, keep_alive: bool = True, more: tuple[tuple[bytes, bytes], ...] = ()
) -> Request:
    request = read_head(b"POST", b"/api/publish", "1.1", [*FIELDS, *more])
    request.body = body
    request.keep_alive = keep_alive
    return request


def test_the_same_head_is_known_with_another_body() -> None:
    heads = Heads()
    assert heads.recognise(HEAD + b"{}") is None
    heads.remember(HEAD + b"{}", parsed())
    again = heads.recognise(HEAD + b"[]")
    assert again is not None
    assert (again.path, again.body, again.keep_alive, again.headers) == (b"/api/publish", b"[]", True, FIELDS)


def test_a_body_that_is_not_whole_or_not_alone_goes_to_the_parser() -> None:
    heads = Heads()
    heads.remember(HEAD + b"{}", parsed())
    for read in (HEAD, HEAD + b"{", HEAD + b"{}x", HEAD + b"{}" + HEAD + b"{}", HEAD[:-2], b"", b"\r\n\r\n"):
        assert heads.recognise(read) is None, read


def test_two_requests_in_one_read_are_not_remembered() -> None:
    heads = Heads()
    heads.remember(HEAD + b"{}" + HEAD + b"{}", parsed())
    assert heads.recognise(HEAD + b"{}") is None


def test_a_last_or_unusual_request_is_not_remembered() -> None:
    heads = Heads()
    heads.remember(HEAD + b"{}", parsed(keep_alive=False))
    heads.remember(HEAD + b"{}", parsed(more=((b"transfer-encoding", b"chunked"),)))
    heads.remember(HEAD + b"{}", parsed(more=((b"expect", b"100-continue"),)))
    assert heads.recognise(HEAD + b"{}") is None


def test_what_is_remembered_is_bounded() -> None:
    heads = Heads()
    for n in range(3_000):
        head = b"POST /api/publish HTTP/1.1\r\nHost: %d\r\nContent-Length: 2\r\n\r\n" % n
        heads.remember(head + b"{}", parsed())
    assert len(heads._known) <= 1_024
    assert heads._known


KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
OTHER_KEY = b"AAAAAAAAAAAAAAAAAAAA+/=="


def opening(key: bytes = KEY, *, name: bytes = b"Sec-WebSocket-Key", more: bytes = b"") -> bytes:
    return (
        b"GET /ws?a=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\n" + name + b": " + key + b"\r\nOrigin: http://x\r\n" + more + b"\r\n"
    )


def opened(key: bytes = KEY) -> Request:
    fields = [(b"host", b"x"), (b"upgrade", b"websocket"), (b"connection", b"Upgrade")]
    fields += [(b"sec-websocket-version", b"13"), (b"sec-websocket-key", key), (b"origin", b"http://x")]
    return read_head(b"GET", b"/ws?a=1", "1.1", fields)


def test_a_handshake_is_known_with_another_key() -> None:
    heads = Heads()
    assert heads.recognise_upgrade(opening()) is None
    heads.remember_upgrade(opening(), opened())
    again = heads.recognise_upgrade(opening(OTHER_KEY))
    assert again is not None
    expected = opened(OTHER_KEY)
    assert (again.method, again.path, again.query, again.version) == (b"GET", b"/ws", b"a=1", "1.1")
    assert again.headers == expected.headers
    assert heads.recognise_upgrade(opening()).header(b"sec-websocket-key") == KEY  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "read",
    [
        opening(b"dGhlIHNhbXBsZSBub25jZQ="),
        opening(b"dGhlIHNhbXBsZSBub25jZ==="),
        opening(b"dGhlIHNhbXBsZSBub25j\r\n=="),
        opening(b"dGhlIHNhbXBsZSBub25jZ\x00=="),
        opening(b" " + KEY),
        opening(KEY + b" "),
        opening(name=b"sec-websocket-key"),
        opening(more=b"Cookie: a=b\r\n"),
        opening(more=b"Sec-WebSocket-Key: " + KEY + b"\r\n"),
        opening().replace(b"/ws", b"/w2"),
        opening().replace(b"http://x", b"http://y"),
        opening()[:-2],
        opening() + b"\x81\x80",
        b"\r\n" + opening(),
        opening() + opening(),
    ],
)
def test_a_handshake_that_differs_in_more_than_its_key_goes_to_the_parser(read: bytes) -> None:
    heads = Heads()
    heads.remember_upgrade(opening(), opened())
    assert heads.recognise_upgrade(read) is None


def test_a_handshake_that_something_followed_is_not_remembered() -> None:
    heads = Heads()
    heads.remember_upgrade(opening() + b"\x81\x80", opened())
    heads.remember_upgrade(opening() + opening(), opened())
    assert heads._opening == {}


def test_the_handshakes_that_are_remembered_are_bounded() -> None:
    heads = Heads()
    for n in range(3_000):
        heads.remember_upgrade(opening(more=b"Cookie: %d\r\n" % n), opened())
    assert 0 < len(heads._opening) <= 1_024


@given(st.binary(min_size=1, max_size=3), st.integers(0, len(opening()) - 1))
def test_a_damaged_handshake_is_known_only_if_its_key_is_what_was_damaged(damage: bytes, at: int) -> None:
    heads = Heads()
    heads.remember_upgrade(opening(), opened())
    read = opening()[:at] + damage + opening()[at + len(damage) :]
    before, after = opening().split(KEY)
    known = heads.recognise_upgrade(read)
    if known is not None:
        key = read[len(before) : len(read) - len(after)]
        assert read == before + key + after
        assert len(key) == len(KEY)
        assert key.endswith(b"==")
        assert known.headers == opened(key).headers
