"""Both ends of a connection over TCP: each proves that it has the key before the other believes it anything.

A proof is an HMAC of what both ends drew for this connection. So the key itself is never sent, nothing that
was sent proves anything a second time, and neither end's proof is the other's. What is said afterwards is not
encrypted, unless the connection is TLS.
"""

import asyncio
import hmac
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from gapless.core.limits import (
    GUESTS_MAX,
    OWNER_WAIT_MS,
    SHARED_CLOCK_SAMPLES,
    SHARED_DEAD_MS,
    SHARED_FRAME_BYTES_MAX,
    SHARED_PROOF_BYTES_MAX,
)
from gapless.ports import After, Timer
from gapless.sharing.frames import VERSION, Challenge, Denied, Pong, Proof, Proved, frame
from gapless.sharing.link import READ, Link
from gapless.sharing.serving import Guest, Host

__all__ = ["Gate", "Listen", "RemoteLink"]

log: Final = logging.getLogger("gapless.store")

_OF_OWNER: Final = msgspec.msgpack.Decoder(Challenge | Proved | Denied)
_OF_GUEST: Final = msgspec.msgpack.Decoder(Proof)


class Listen(Struct, frozen=True):
    """Where processes of other machines may join, with which key; encrypted if there is `tls`."""

    host: str
    port: int
    key: bytes
    tls: ssl.SSLContext | None = None


def _proof(key: bytes, who: bytes, owners_nonce: bytes, guests_nonce: bytes) -> bytes:
    """Return how `who` proves the key: bound to this version, and to what both ends drew."""
    nonces = b"".join(len(nonce).to_bytes(4, "big") + nonce for nonce in (owners_nonce, guests_nonce))
    return hmac.digest(key, b"gapless store %d %b " % (VERSION, who) + nonces, "sha256")


class RemoteLink(Link):
    """A connection to an owner on another machine.

    The owner's clock is known by what it tells with each pong: what a call is stamped with is at most as far
    behind it as that took to arrive, and never ahead. So no call is taken for younger than it is.
    """

    pings_always = True  # an idle connection that is dead would hear of nothing

    def __init__(self, after: After, elapsed_ns: Callable[[], int], key: bytes, nonce: bytes) -> None:
        super().__init__(after, elapsed_ns)
        self._key = key
        self._nonce = nonce
        self._owners_nonce = b""
        self._ahead_ns: deque[int] = deque(maxlen=SHARED_CLOCK_SAMPLES)
        self._frames.bytes_max = SHARED_PROOF_BYTES_MAX
        self._take = self._challenged

    def _challenged(self, body: bytes) -> None:
        if not self._is_understood(body):
            return
        match _OF_OWNER.decode(body):
            case Challenge(_, nonce) if nonce:
                self._owners_nonce = nonce
                proof = _proof(self._key, b"guest", nonce, self._nonce)
                self._take = self._judged
                self._transport.write(frame(Proof(self._nonce, proof)))
            case _:
                raise LookupError

    def _judged(self, body: bytes) -> None:
        match _OF_OWNER.decode(body):
            case Proved(proof):
                expected = _proof(self._key, b"owner", self._owners_nonce, self._nonce)
                if not hmac.compare_digest(proof, expected):
                    self._refuse("who answers there does not have the key: it is not believed")
                    self._transport.abort()
                    return
                self._frames.bytes_max = SHARED_FRAME_BYTES_MAX
                self._take = self._greeted
            case Denied():
                self._refuse("the key is not the one that is listened with there (store.listen_key)")
            case _:
                raise LookupError

    def _greeted(self, body: bytes) -> None:
        super()._greeted(body)
        welcome = self.welcome.result() if self.welcome.exception() is None else None
        if welcome is not None:
            self._note(welcome.at_ns)

    def _told_by_owner(self, body: bytes) -> None:
        said = READ.decode(body)
        if isinstance(said, Pong):
            self._note(said.at_ns)
        self._hear(said)

    def _note(self, at_ns: int) -> None:
        self._ahead_ns.append(at_ns - self._elapsed_ns())

    def owners_ns(self) -> int:
        """Return what the owner's steady clock says, or a little less."""
        return self._elapsed_ns() + max(self._ahead_ns)


class Gate:
    """Where processes of other machines come in: a TCP port, for who has the key.

    `nonce` draws something new. Who proves nothing in time, or is one too many, is cut off.
    """

    def __init__(self, host: Host, listen: Listen, nonce: Callable[[], bytes]) -> None:
        self.host = host
        self.listen = listen
        self.nonce = nonce
        self.knocking: dict[Knocking, None] = {}
        self._listening: socket.socket | None = None
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._listening is not None
        return int(self._listening.getsockname()[1])

    async def open(self) -> None:
        """Listen. Raises OSError."""
        listen = self.listen
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        self._listening = socket.create_server((listen.host, listen.port), family=family, backlog=GUESTS_MAX)
        self._listening.setblocking(False)
        self._server = await asyncio.get_running_loop().create_server(
            partial(Knocking, self),
            sock=self._listening,
            ssl=listen.tls,
            ssl_handshake_timeout=OWNER_WAIT_MS / 1000 if listen.tls is not None else None,
        )
        log.info("other machines may join at %s, port %d", listen.host, self.port)

    def close(self) -> None:
        """Let nobody in any more. Who came in stays."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for one in list(self.knocking):
            one.cut()

    def forsake(self) -> None:
        """Let go of the port when the loop has ended."""
        if self._listening is not None:
            self._listening.close()


class Knocking(Guest):
    """One process of another machine, which is a guest once it has proved that it has the key."""

    may_care = False

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate.host)
        self._gate = gate
        self._nonce = gate.nonce()
        self._frames.bytes_max = SHARED_PROOF_BYTES_MAX
        self._late_at: Timer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # asyncio's own type says less
        _tell_when_dead(transport.get_extra_info("socket"))
        gate = self._gate
        while len(gate.knocking) >= GUESTS_MAX:
            next(iter(gate.knocking)).cut()
        gate.knocking[self] = None
        self._late_at = gate.host.after(OWNER_WAIT_MS, self.cut)
        self._transport.write(frame(Challenge(VERSION, self._nonce)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._knocked()
        super().connection_lost(exc)

    def cut(self) -> None:
        self._knocked()
        super().cut()

    def _knocked(self) -> None:
        self._gate.knocking.pop(self, None)
        if self._late_at is not None:
            self._late_at.cancel()

    def _take(self, body: bytes) -> None:
        if self in self._gate.knocking:
            self._judge(_OF_GUEST.decode(body))
        elif not self._transport.is_closing():
            super()._take(body)

    def _judge(self, said: Proof) -> None:
        self._knocked()
        key = self._gate.listen.key
        expected = _proof(key, b"guest", self._nonce, said.nonce)
        if not said.nonce or not hmac.compare_digest(said.proof, expected):
            log.warning("a process with another key was sent away", extra={"address": self._address()})
            self._transport.write(frame(Denied()))
            self._transport.close()
            return
        self._frames.bytes_max = SHARED_FRAME_BYTES_MAX
        self._transport.write(frame(Proved(_proof(key, b"owner", self._nonce, said.nonce))))
        self._come_in()

    def _misunderstood(self, error: Exception) -> None:
        if self in self._gate.knocking:
            log.warning("somebody who is no gapless was sent away", extra={"address": self._address()})
        else:
            super()._misunderstood(error)

    def _address(self) -> str:
        return str((self._transport.get_extra_info("peername") or ("",))[0])


def _tell_when_dead(connected: Any) -> None:
    """Have the kernel end a connection from whose other end nothing comes any more."""
    for level, name, value in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", SHARED_DEAD_MS // 3_000),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", SHARED_DEAD_MS // 3_000),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 2),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", SHARED_DEAD_MS),
    ):
        if hasattr(socket, name):
            connected.setsockopt(level, getattr(socket, name), value)
