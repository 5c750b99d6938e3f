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
