"""TLS on the port: what it is made of, and how it holds against who is slow or speaks something else."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gapless.core.errors import ConfigError
from gapless.core.limits import HEAD_MS
from gapless.server import front
from gapless.server.config.model import Tls
from gapless.server.front import Front
from gapless.server.handshake import WebSocketEndpoint
from gapless.server.tls import context, files_of
from gapless.testing.echo import Echo
from tests.certificates import Pair, certificate
from tests.server.raw_socket import TEXT, RawSocket, close, frame, upgrade
from tests.server.serving import Serving, on_a_loop, until

NOW = datetime.now(UTC)
NOW_MS = int(NOW.timestamp() * 1000)
GET = b"GET /hot HTTP/1.1\r\nHost: here\r\n\r\n"
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # how a handshake begins

OURS = certificate()


def made(pair: Pair, client_ca: str = "") -> ssl.SSLContext:
    found = context(Tls(enabled=True, cert_pem=pair.cert, key_pem=pair.key, client_ca_pem=client_ca), NOW_MS)
    assert found is not None
    return found


def refused(values: dict[str, str], now_ms: int = NOW_MS) -> str:
    with pytest.raises(ConfigError) as caught:
        context(Tls(enabled=True, **values), now_ms)
    assert "PRIVATE KEY" not in str(caught.value)
    return str(caught.value)


# What it is made of -------------------------------------------------------------------------


def test_without_tls_there_is_no_context_and_nothing_is_read() -> None:
    assert context(Tls(cert_pem="/nowhere"), NOW_MS) is None
    assert not list(files_of(Tls(cert_pem="/nowhere")))


def test_certificate_and_key_are_files_or_pem_or_base64_of_it(tmp_path: Path) -> None:
    OURS.write(tmp_path)
    files = (str(OURS.cert_file(tmp_path)), str(OURS.key_file(tmp_path)))
    coded = [base64.b64encode(pem.encode()).decode() for pem in OURS]
    for cert, key in (files, OURS, coded):
        tls = Tls(enabled=True, cert_pem=cert, key_pem=key)
        found = context(tls, NOW_MS)
        assert found is not None
        assert found.minimum_version is ssl.TLSVersion.TLSv1_2
        assert [str(path) for path in files_of(tls)] == (list(files) if cert == files[0] else [])


def test_what_cannot_be_used_is_named_with_its_reason(tmp_path: Path) -> None:
    OURS.write(tmp_path)
    cert, key = OURS
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "broken.pem").write_text(cert.replace("M", "N"))
    other, locked = certificate(), certificate(password=b"secret")
    table = {
        "cert_pem: is missing: name a PEM file": {"key_pem": key},
        "key_pem: is missing": {"cert_pem": cert},
        f"cert_pem: {tmp_path}/none.pem: cannot be read: No such file": {
            "cert_pem": f"{tmp_path}/none.pem",
            "key_pem": key,
        },
        f"cert_pem: {tmp_path}: cannot be read: Is a directory": {"cert_pem": f"{tmp_path}", "key_pem": key},
        f"cert_pem: {tmp_path}/empty.pem: is no PEM": {"cert_pem": f"{tmp_path}/empty.pem", "key_pem": key},
        f"cert_pem: {tmp_path}/broken.pem: is no certificate": {
            "cert_pem": f"{tmp_path}/broken.pem",
            "key_pem": key,
        },
        "cert_pem: is no certificate": {"cert_pem": key, "key_pem": key},
        "key_pem: cannot be used with its certificate": {"cert_pem": cert, "key_pem": cert},
        f"key_pem: {tmp_path}/server.key: is not the key of the certificate": {
            "cert_pem": other.cert,
            "key_pem": str(OURS.key_file(tmp_path)),
        },
        "key_pem: is encrypted; give the key without a password": {
            "cert_pem": locked.cert,
            "key_pem": locked.key,
        },
        "client_ca_pem: is no certificate of an authority": {
            "cert_pem": cert,
            "key_pem": key,
            "client_ca_pem": key,
        },
        "cert_pem: a\0b: cannot be read: is no path": {"cert_pem": "a\0b", "key_pem": key},
    }
    for told, values in table.items():
        assert f"http_server.tls.{told}" in refused(values)


@pytest.mark.parametrize(("days", "told"), [(40, "expired on"), (-40, "is not valid before")])
def test_a_certificate_that_is_not_valid_now_is_refused(days: int, told: str) -> None:
    now_ms = int((NOW + timedelta(days=days)).timestamp() * 1000)
    assert told in refused({"cert_pem": OURS.cert, "key_pem": OURS.key}, now_ms)


# The port -----------------------------------------------------------------------------------


class Secured(Serving):
    """A front that speaks TLS, and nothing else."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(upgrades=lambda clock: {"/ws": WebSocketEndpoint(Echo, clock).upgrade})
        self.front = Front(self.site, tls=tls)

    async def client(self, trusted: ssl.SSLContext) -> RawSocket:
        opened = asyncio.open_connection(
            "127.0.0.1", self.front.port, ssl=trusted, server_hostname="localhost"
        )
        self.clients.append(RawSocket(*await opened))
        return self.clients[-1]


@asynccontextmanager
async def secured(tls: ssl.SSLContext | None = None) -> AsyncIterator[Secured]:
    served = Secured(tls or made(OURS))
    await served.front.listen("127.0.0.1", 0)
    try:
        yield served
    finally:
        await served.end()


@on_a_loop
async def test_http_and_websockets_are_spoken_over_tls() -> None:
    async with secured() as served:
        client = await served.client(OURS.client())
        client.send(GET, b"nonsense\r\n\r\n")
        assert [response.status for response in await client.responses()] == [200, 400]
        page = await served.client(OURS.client())
        page.send(upgrade(), frame(TEXT, b"hello"))
        assert (await page.response()).status == 101
        assert await page.receive() == (TEXT, b"hello")
        page.send(close(1000))
        assert await page.closed() == (1000, "")
        assert await page.rest() == b""


@on_a_loop
async def test_who_speaks_http_to_it_is_cut_off() -> None:
    async with secured() as served:
        for sent in (GET, b"\0" * 100, HELLO + bytes(600)):
            client = await served.connect()
            client.send(sent)
            assert b"HTTP/" not in await client.rest()
        assert not served.handled


@pytest.mark.parametrize("sent", [b"", HELLO])
def test_of_who_leaves_amid_a_handshake_nothing_is_said(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with secured() as served:
            client = await served.connect()
            client.send(sent)
            await until(lambda: len(served.front._shaking) == 1)
            client.writer.close()
            await until(lambda: not served.front._shaking)
            asyncio.get_running_loop().call_exception_handler({"message": "of another kind"})

    on_a_loop(test)()
    assert [record.message for record in caplog.records] == ["of another kind"]


@pytest.mark.parametrize("sent", [b"", HELLO])
def test_a_handshake_that_takes_too_long_is_given_up(sent: bytes) -> None:
    async def test() -> None:
        async with secured() as served:
            client = await served.connect()
            client.send(sent)
            await until(lambda: len(served.front._shaking) == 1)
            served.clock.move(HEAD_MS)
            assert await client.rest() == b""
            assert not served.front._shaking

    on_a_loop(test)()


@on_a_loop
async def test_who_is_slow_gives_way_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "HANDSHAKES_MAX", 3)
    async with secured() as served:
        slow = [await served.connect() for _ in range(5)]
        await until(lambda: len(served.front._shaking) == 3)
        client = await served.client(OURS.client())
        client.send(GET)
        assert (await client.response()).status == 200
        assert [await one.rest() for one in slow[:3]] == [b""] * 3
        assert len(served.front._shaking) == 2


@on_a_loop
async def test_stopping_waits_for_no_handshake() -> None:
    async with secured() as served:
        client = await served.connect()
        client.send(HELLO)
        await until(lambda: len(served.front._shaking) == 1)
        await served.front.shutdown(0)
        assert await client.rest() == b""


@on_a_loop
async def test_another_certificate_holds_for_who_comes_after_it() -> None:
    renewed = certificate()
    async with secured() as served:
        before = await served.client(OURS.client())
        served.front.tls = made(renewed)
        with pytest.raises(ssl.SSLCertVerificationError):
            await served.client(OURS.client())
        for client in (before, await served.client(renewed.client())):
            client.send(GET)
            assert (await client.response()).status == 200


@on_a_loop
async def test_where_clients_need_a_certificate_no_other_is_heard(tmp_path: Path) -> None:
    theirs = certificate("client").write(tmp_path)
    async with secured(made(OURS, theirs.cert)) as served:
        known = OURS.client()
        known.load_cert_chain(theirs.cert_file(tmp_path), theirs.key_file(tmp_path))
        client = await served.client(known)
        client.send(GET)
        assert (await client.response()).status == 200
        stranger = await served.client(OURS.client())
        stranger.send(GET)
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            assert await stranger.rest() == b""
        assert len(served.handled) == 1
