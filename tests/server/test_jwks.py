"""Fetching keys over HTTP, from servers that mean well and from others."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gapless.core.errors import ConfigError, Unavailable
from gapless.core.limits import JWKS_BYTES_MAX, JWKS_MS
from gapless.server.jwks import Endpoint
from tests.broker.tokens.signing import private
from tests.server.serving import HandClock, on_a_loop, until

BODY = b'{"keys":[]}'
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n" + BODY


class Server:
    """Answers every connection with the same bytes; then closes it, or holds it until it is let go."""

    def __init__(self, answer: bytes, *, hold: bool = False, repeat: int = 1, bytewise: bool = False) -> None:
        self.heads: list[bytes] = []
        self.gone = 0
        self.sent_bytes = 0
        self._answer = answer
        self._hold = hold
        self._repeat = repeat
        self._bytewise = bytewise

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            for piece in self._pieces():
                writer.write(piece)
                await writer.drain()
                self.sent_bytes += len(piece)
                for _ in range(3 * self._bytewise):  # so that each arrives alone
                    await asyncio.sleep(0)
            if self._hold:
                await reader.read()
        except OSError:
            pass
        finally:
            self.gone += 1
            writer.transport.abort() if self._hold else writer.close()

    def _pieces(self) -> list[bytes]:
        if self._bytewise:
            return [bytes([byte]) for byte in self._answer]
        return [self._answer] * self._repeat


@asynccontextmanager
async def listening(server: Server, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve on a free port of this machine; yields where."""
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/keys?set=1"
    finally:
        listener.close()
        await listener.wait_closed()


async def fetched(answer: bytes, *, hold: bool = False, bytewise: bool = False) -> bytes:
    async with listening(Server(answer, hold=hold, bytewise=bytewise)) as url:
        return await Endpoint(url, HandClock(), insecure=True).fetch()


# Servers that mean well -------------------------------------------------------------------------


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
    + BODY[:5]
    + b"\r\n6\r\n"
    + BODY[5:]
    + b"\r\n0\r\n\r\n"
)
ANSWERS = {
    "with its length": PLAIN,
    "in chunks": CHUNKED,
    "until it closes": b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
    "of HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    "after another": b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + PLAIN,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@on_a_loop
async def test_an_answer_is_its_body_however_it_arrives(answer: bytes) -> None:
    assert await fetched(answer) == BODY
    assert await fetched(answer, bytewise=True) == BODY


@on_a_loop
async def test_a_whole_answer_is_enough_though_the_peer_does_not_close() -> None:
    assert await fetched(PLAIN, hold=True) == BODY


@on_a_loop
async def test_the_question_is_one_get_of_the_configured_place() -> None:
    server = Server(PLAIN)
    async with listening(server) as url:
        await Endpoint(url, HandClock(), insecure=True).fetch()
        place = Endpoint(url, HandClock(), insecure=True).place
    (head,) = server.heads
    line, *fields = head.decode().split("\r\n")
    assert line == "GET /keys?set=1 HTTP/1.1"
    assert f"Host: {url.split('/')[2]}" in fields
    assert "Accept-Encoding: identity" in fields
    assert place == url.partition("?")[0], "a query may hold a secret"


# Others -----------------------------------------------------------------------------------------

REFUSED = {
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 11\r\n\r\n"
    + BODY,
    "a redirect for good": b"HTTP/1.1 308 Permanent Redirect\r\nLocation: /else\r\nContent-Length: 11\r\n\r\n"
    + BODY,
    "an error": b"HTTP/1.1 500 Oops\r\nContent-Length: 11\r\n\r\n" + BODY,
    "not found": b"HTTP/1.1 404 Not Found\r\nContent-Length: 11\r\n\r\n" + BODY,
    "another success": b"HTTP/1.1 206 Partial Content\r\nContent-Length: 11\r\n\r\n" + BODY,
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": PLAIN[:-1],
    "half a chunk": CHUNKED[:-8],
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nContent-Length: 12\r\n\r\n" + BODY,
    "a length beyond numbers": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n" + BODY,
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    + BODY,
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (JWKS_BYTES_MAX // 6),
    "a body too large": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * JWKS_BYTES_MAX,
}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED)
@on_a_loop
async def test_what_is_no_whole_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(Unavailable):
        await fetched(answer)


@on_a_loop
async def test_a_redirect_is_not_followed() -> None:
    elsewhere = Server(PLAIN)
    async with listening(elsewhere) as url:
        head = f"HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n"
        with pytest.raises(Unavailable, match="302"):
            await fetched(head.encode())
    assert not elsewhere.heads


@on_a_loop
async def test_a_hundred_megabytes_are_not_read() -> None:
    megabyte = b" " * 1024 * 1024
    server = Server(b"HTTP/1.1 200 OK\r\n\r\n" + megabyte, repeat=100)
    async with listening(server) as url:
        with pytest.raises(Unavailable, match="bytes"):
            await Endpoint(url, HandClock(), insecure=True).fetch()
        await until(lambda: server.gone == 1)
    assert server.sent_bytes < 100 * len(megabyte)


SLOW = {"says nothing": b"", "stops in its head": PLAIN[:20], "stops in its body": PLAIN[:-1]}


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
@on_a_loop
async def test_a_slow_server_is_not_waited_for(answer: bytes) -> None:
    server, clock = Server(answer, hold=True), HandClock()
    async with listening(server) as url:
        fetching = asyncio.create_task(Endpoint(url, clock, insecure=True).fetch())
        await until(lambda: bool(server.heads))
        clock.move(JWKS_MS - 1)
        await asyncio.sleep(0)
        assert not fetching.done()
        clock.move(1)
        await until(fetching.done)
        with pytest.raises(Unavailable, match="within"):
            await fetching
        await until(lambda: server.gone == 1)


@on_a_loop
async def test_a_server_that_never_shakes_hands_is_not_waited_for() -> None:
    clock, accepted = HandClock(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    fetching = asyncio.create_task(Endpoint(url, clock).fetch())
    await accepted.wait()
    clock.move(JWKS_MS)
    await until(fetching.done)
    with pytest.raises(Unavailable, match="within"):
        await fetching
    listener.close()


@on_a_loop
async def test_a_fetch_that_is_given_up_ends() -> None:
    server, clock = Server(b"", hold=True), HandClock()
    async with listening(server) as url:
        fetching = asyncio.create_task(Endpoint(url, clock, insecure=True).fetch())
        await until(lambda: bool(server.heads))
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await until(lambda: server.gone == 1)
        clock.move(JWKS_MS)


@on_a_loop
async def test_a_server_that_is_not_there_is_told() -> None:
    async with listening(Server(PLAIN)) as url:
        pass
    with pytest.raises(Unavailable, match="no answer"):
        await Endpoint(url, HandClock(), insecure=True).fetch()
    with pytest.raises(Unavailable, match="no answer"):
        await Endpoint("https://no-such-host.invalid/", HandClock()).fetch()


# Encryption -------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and its certificate for 127.0.0.1, signed by itself."""
    key, name = private("P-256"), x509.Name([])
    now = datetime.now(UTC)  # certificates are judged by the machine's clock
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    signed = builder.add_extension(names, critical=True).sign(key, SHA256())
    path = tmp_path / "server.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + signed.public_bytes(Encoding.PEM)
    )
    return path


def serving_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@on_a_loop
async def test_a_server_that_cannot_prove_its_name_is_refused_even_where_http_is_taken(
    certificate: Path,
) -> None:
    server = Server(PLAIN)
    async with listening(server, serving_tls(certificate)) as url:
        for insecure in (False, True):
            with pytest.raises(Unavailable, match="certificate"):
                await Endpoint(url, HandClock(), insecure=insecure).fetch()
    assert not server.heads


@on_a_loop
async def test_keys_come_over_tls_from_a_server_that_proves_its_name(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with listening(Server(PLAIN), serving_tls(certificate)) as url:
        assert await Endpoint(url, HandClock()).fetch() == BODY


# Where ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://{{tenant}}.example.com/keys",
        "https://example.com/{{tenant}}/keys",
        "https://example.com/{tenant}",
        "http://example.com/keys",
        "ftp://example.com/keys",
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com/keys",
        "example.com/keys",
        "https://",
        "https:///keys",
        "https://user:password@example.com/keys",
        "https://example.com:0/keys",
        "https://example.com:99999/keys",
        "https://example.com:x/keys",
        "https://[::1/keys",
        "https://example.com/keys#fragment",
        "https://example.com/a b",
        "https://example.com/keys\r\nX: y",
        "https://example.com\\@evil.example/",
        "https://exämple.com/keys",
        "",
    ],
)
def test_what_is_no_place_to_fetch_keys_from_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^jwks_public_endpoint must"):
        Endpoint(url, HandClock())


def test_http_is_taken_only_where_that_is_asked_for() -> None:
    assert Endpoint("http://[::1]:8080", HandClock(), insecure=True).place == "http://[::1]:8080"
    for url in ("https://{{tenant}}.example.com/", "ftp://example.com/", "http://a@example.com/"):
        with pytest.raises(ConfigError):
            Endpoint(url, HandClock(), insecure=True)
