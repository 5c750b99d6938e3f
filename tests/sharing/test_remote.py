"""A store that is joined from another machine: who is let in, whose time counts, what outlives its owner."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gapless import backends
from gapless.backends import Options
from gapless.backends.sqlite.sharing import Owner
from gapless.core.errors import NotAvailable, StoreRefused, Unavailable
from gapless.core.limits import GUESTS_MAX
from gapless.ports import Care, Store
from gapless.sharing import frames, remote
from gapless.sharing.frames import Challenge, Denied, Proof, Proved, frame
from gapless.sharing.joined import Joined
from gapless.sharing.remote import Listen, RemoteLink
from gapless.testing.conformance.places import append, entry, head, offsets, put, read
from tests.certificates import certificate
from tests.program import free_port

KEY = "a-key-of-thirty-two-characters-or-more"
OTHER = "another-key-of-thirty-two-characters"

HOUR_NS = 3_600 * 10**9


def scene(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path / "app.db"))  # type: ignore[arg-type]

    run.__name__ = test.__name__
    return run


async def owned(path: Path, port: int = 0, key: str = KEY, tls: Any = None, **options: Any) -> Owner:
    listen = Listen("127.0.0.1", port, key.encode(), tls)
    given: dict[str, Any] = {"ballast_bytes": 0, "free_bytes_min": 0, "listen": listen} | options
    store = await backends.open(f"sqlite:{path}", Options(**given))
    assert isinstance(store, Owner)
    return store


def port_of(owner: Owner) -> int:
    assert owner.gate is not None
    return owner.gate.port


async def joined(port: int, key: str = KEY, **options: Any) -> Joined:
    store = await backends.open(f"gapless+tcp://:{key}@127.0.0.1:{port}", Options(**options))
    assert isinstance(store, Joined)
    return store


async def pair(path: Path, **options: Any) -> tuple[Owner, Joined]:
    owner = await owned(path)
    return owner, await joined(port_of(owner), **options)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - the kernel is waited for
            await asyncio.sleep(0)


async def close(*stores: Store) -> None:
    for store in stores:
        await store.close()


def in_haste() -> Callable[[], int]:
    """Return a clock by which every wait has been too long at the second look."""
    return iter(range(10**12, 10**15, 10**10)).__next__


# Who is let in


@scene
async def test_who_has_the_key_uses_the_store_as_its_own(path: Path) -> None:
    owner, edge = await pair(path)
    assert (edge.epoch, edge.durability, edge.shared) == (owner.epoch, owner.durability, True)
    assert (await append(edge)).offset == 1
    assert (await append(owner)).offset == 2
    assert offsets(await read(edge)) == [1, 2]
    await close(edge, owner)


@scene
async def test_another_key_is_refused_at_once(path: Path) -> None:
    owner = await owned(path)
    with pytest.raises(StoreRefused, match="the key is not the one"):
        await joined(port_of(owner), OTHER)
    await until(lambda: not owner.gate or not owner.gate.knocking)
    assert not owner.bus.guests
    await close(owner)


@scene
async def test_a_call_before_the_proof_is_not_heard(path: Path) -> None:
    owner = await owned(path)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(owner))
    await reader.readexactly(4)
    writer.write(frame(frames.Ping()))
    writer.write(frame(Proof(b"", b"")))
    assert b"welcome" not in await reader.read()
    writer.close()
    assert not owner.bus.guests
    await close(owner)


class Impostor(asyncio.Protocol):
    """Stands where an owner is expected, and answers as `answers` says; `heard` is what it was told."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers
        self.heard = b""
        self.transport: Any = None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.get_running_loop().create_server(lambda: self, "127.0.0.1", 0)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            self.transport.abort()
            await asyncio.sleep(0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.write(self.answers[0])

    def data_received(self, data: bytes) -> None:
        self.heard += data
        for answer in self.answers[1:]:
            self.transport.write(answer)


NONCE = b"owners"
CHALLENGE = frame(Challenge(frames.VERSION, NONCE))


@scene
async def test_an_owner_that_cannot_prove_the_key_is_not_believed_and_learns_nothing(path: Path) -> None:
    impostor = Impostor([CHALLENGE, frame(Proved(b"x" * 32))])
    async with impostor.listening() as port:
        with pytest.raises(StoreRefused, match="does not have the key"):
            await joined(port)
    assert impostor.heard
    assert KEY.encode() not in impostor.heard


@scene
async def test_an_owner_that_gives_back_the_proof_of_who_joins_is_not_believed(path: Path) -> None:
    class Mirror(Impostor):
        def data_received(self, data: bytes) -> None:
            proof = msgspec.msgpack.decode(data[4:], type=Proof)
            self.transport.write(frame(Proved(proof.proof)))

    async with Mirror([CHALLENGE]).listening() as port:
        with pytest.raises(StoreRefused, match="does not have the key"):
            await joined(port)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([frame(Challenge(frames.VERSION + 1, NONCE))], f"version {frames.VERSION + 1}, this one in version"),
        ([frame(Challenge(frames.VERSION, b""))], "no gapless"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "no gapless"),
        ([frame(["welcome", frames.VERSION, [1, 1], 1, "disk", ["standing", "e", []], 0])], "no gapless"),
        ([CHALLENGE, frame(Denied())], "the key is not the one"),
        ([CHALLENGE, CHALLENGE], "no gapless"),
    ],
)
def test_what_is_no_owner_of_this_version_is_refused(answers: list[bytes], said: str) -> None:
    async def run() -> None:
        async with Impostor(answers).listening() as port:
            with pytest.raises(StoreRefused, match=said):
                await joined(port)

    asyncio.run(run())


@scene
async def test_who_says_nothing_and_where_nobody_listens_is_told_after_a_while(path: Path) -> None:
    async with Impostor([b""]).listening() as silent:
        for port in (silent, free_port()):
            with pytest.raises(StoreRefused, match=f"127.0.0.1:{port}: nobody answers there"):
                await joined(port, elapsed_ns=in_haste(), after=_soon)


def _soon(delay_ms: int, callback: Callable[[], object]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(delay_ms / 100_000, callback)


@scene
async def test_who_proves_nothing_gives_way_to_others_and_is_cut_off_in_the_end(path: Path) -> None:
    owner = await owned(path)
    assert owner.gate is not None
    open_sockets = [await asyncio.open_connection("127.0.0.1", port_of(owner)) for _ in range(GUESTS_MAX + 3)]
    edge = await joined(port_of(owner))
    assert len(owner.gate.knocking) <= GUESTS_MAX
    for one in list(owner.gate.knocking):
        assert one._late_at is not None
        one.cut()  # as the timer does
    for reader, writer in open_sockets:
        await reader.read()
        writer.close()
    assert (await append(edge)).offset == 1
    await close(edge, owner)


@scene
async def test_over_tls_the_certificate_is_checked(path: Path) -> None:
    pair = certificate().write(path.parent)
    files = pair.cert_file(path.parent), pair.key_file(path.parent)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*files)
    owner = await owned(path, tls=serving)
    where = f"gapless+tls://:{KEY}@127.0.0.1:{port_of(owner)}"
    with pytest.raises(StoreRefused, match="its certificate is not trusted"):
        await backends.open(where, Options())
    edge = await backends.open(f"{where}?ca_file={files[0]}", Options())
    assert (await append(edge)).offset == 1
    await close(edge, owner)


# Time


@scene
async def test_the_clocks_of_two_machines_need_not_agree(path: Path) -> None:
    for ahead_ns in (HOUR_NS, -HOUR_NS):
        owner, edge = await pair(
            path, elapsed_ns=lambda ahead_ns=ahead_ns: time.clock_gettime_ns(time.CLOCK_BOOTTIME) + ahead_ns
        )
        await append(edge)
        await close(edge, owner)


@scene
async def test_a_call_that_was_long_under_way_is_not_begun(path: Path) -> None:
    owner, edge = await pair(path)
    link = edge._link
    assert isinstance(link, RemoteLink)
    link._ahead_ns.append(max(link._ahead_ns) - HOUR_NS)
    assert (await append(edge)).offset == 1, "an answer that took long makes nothing late"
    link._ahead_ns.clear()
    link._ahead_ns.append(-HOUR_NS)
    with pytest.raises(Unavailable, match="too late"):
        await append(edge)
    assert (await head(owner)).last == 1
    await close(edge, owner)


@scene
async def test_a_stamp_is_never_ahead_of_the_owners_clock(path: Path) -> None:
    owner, edge = await pair(path)
    link = edge._link
    assert isinstance(link, RemoteLink)
    assert link.owners_ns() <= owner._host.elapsed_ns()
    pongs = len(link._ahead_ns)
    link.say(frame(frames.Ping()))
    await until(lambda: len(link._ahead_ns) > pongs)
    assert link.owners_ns() <= owner._host.elapsed_ns()
    await close(edge, owner)


# What the owner's end leaves


@scene
async def test_who_joined_outlives_its_owner_and_goes_on_with_the_next_generation(path: Path) -> None:
    port = free_port()
    owner = await owned(path, port)
    edge = await joined(port, chance=lambda: 0.0)
    before = await append(edge)
    await owner.close()
    waiting = asyncio.ensure_future(append(edge))
    await asyncio.sleep(0)
    owner = await owned(path, port)
    after = await waiting
    assert (after.offset, edge.epoch) == (2, owner.epoch)
    assert after.epoch != before.epoch
    assert not edge.is_owner
    await close(edge, owner)


@scene
async def test_another_key_later_is_no_end(path: Path) -> None:
    port = free_port()
    owner = await owned(path, port)
    edge = await joined(port, chance=lambda: 0.0)
    await owner.close()
    owner = await owned(path, port, OTHER)
    gate, denied = owner.gate, list[str]()
    assert gate is not None
    find = edge._find

    async def counted() -> Any:
        found = await find()
        denied.append("" if found else "denied")
        return found

    edge._find = counted
    await until(lambda: len(denied) > 1)
    gate.listen = Listen("127.0.0.1", port, KEY.encode())
    assert (await append(edge)).offset == 1
    await close(edge, owner)


@scene
async def test_the_care_of_the_file_stays_on_its_machine(path: Path) -> None:
    owner, edge = await pair(path)
    assert isinstance(edge, Care)
    with pytest.raises(NotAvailable, match="on another machine"):
        await edge.check(lambda done, total: None)
    await close(edge, owner)


@scene
async def test_who_is_on_the_same_machine_joins_at_the_socket_and_never_owns(path: Path) -> None:
    with pytest.raises(StoreRefused, match="nobody answers"):
        await backends.open(f"gapless+unix:{path}.sock", Options(elapsed_ns=in_haste(), after=_soon))
    owner = await owned(path)
    guest = await backends.open(f"gapless+unix://{path}.sock", Options())
    assert [type(one).__name__ for one in await put(guest, entry())] == ["Stored"]
    await owner.close()
    assert isinstance(guest, Joined)
    await until(lambda: guest._link is None)
    owner = await owned(path)
    assert (await append(guest)).offset == 2
    assert not guest.is_owner
    await close(guest, owner)


def test_proofs_are_of_one_end_and_one_connection() -> None:
    prove = remote._proof
    proofs = [
        prove(key, who, one, other)
        for key in (b"k", b"l")
        for who in (b"guest", b"owner")
        for one, other in ((b"a", b"b"), (b"b", b"a"), (b"ab", b""), (b"", b"ab"))
    ]
    assert len(set(proofs)) == len(proofs)
