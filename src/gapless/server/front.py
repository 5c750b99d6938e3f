"""The port: accepts connections, and gives them up again in good order."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import partial
from typing import Any, Final

import aiofastnet
from aiofastnet.selector_transport import SelectorSocketTransport  # type: ignore[import-not-found]

from gapless.core.errors import Unavailable
from gapless.core.limits import ACCEPT_PAUSE_MS, HANDSHAKES_MAX, SOCKET_UNSENT_BYTES
from gapless.ports import Timer
from gapless.server.http import HttpConnection
from gapless.server.site import Site

__all__ = ["Front", "cannot_listen", "reserve"]

_BACKLOG: Final = 4096
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # as where IPv6 is off
_ACCEPTS_PER_TURN: Final = 128
_DATE_MS: Final = 1_000

log: Final = logging.getLogger("gapless.front")


class Front:
    """One TCP port, for HTTP and WebSockets alike. Needs uvloop or asyncio's selector loop.

    `tls` secures the connections that come from now on; it may be set anew.
    """

    def __init__(self, site: Site, *, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self._site = site
        self._listening: list[_Listening] = []
        self._shaking: dict[asyncio.Task[Any], None] = {}  # TLS handshakes, the oldest first
        self._date_timer: Timer | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; useful where 0 was asked for."""
        return int(self._listening[0].getsockname()[1])

    async def listen(self, host: str, port: int, *, reuse_port: bool = False) -> None:
        """Accept connections on `host` ("" for every address); port 0 is any free one.

        With `reuse_port` several processes share the port. Raises OSError, as when the port is in use.
        """
        loop = asyncio.get_running_loop()
        if self.tls is not None:
            loop.set_exception_handler(partial(_pass_over, loop.get_exception_handler()))
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self._listening = _bound(found, port, reuse_port=reuse_port)
        try:
            for listening in self._listening:
                listening.listen(_BACKLOG)
                loop.add_reader(listening.fileno(), self._accept, listening)
        except OSError:
            self.stop_accepting()
            raise
        self._tell_date()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._pause(listening, error)
                return
            self._open(connection)

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        """Leave who waits to the kernel; a listening socket stays readable and keeps the loop spinning."""
        log.error("no connection can be accepted for %d ms: %s", ACCEPT_PAUSE_MS, error.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening.fileno())

        def go_on() -> None:
            if listening in self._listening:
                loop.add_reader(listening.fileno(), self._accept, listening)

        self._site.clock.after(ACCEPT_PAUSE_MS, go_on)

    def _open(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self.tls is None:
            # What `connect_accepted_socket` comes to, without its task: 12 µs less for each connection.
            SelectorSocketTransport(loop, connection, HttpConnection(self._site))
        else:
            self._shake_hands(connection, self.tls)

    def _shake_hands(self, connection: socket.socket, tls: ssl.SSLContext) -> None:
        """Secure a connection. Who is slow at it gives way to others before its time is over."""
        limits = self._site.limits
        while len(self._shaking) >= HANDSHAKES_MAX:
            oldest = next(iter(self._shaking))
            del self._shaking[oldest]
            oldest.cancel()
        securing = aiofastnet.connect_accepted_socket(
            asyncio.get_running_loop(),
            lambda: HttpConnection(self._site),
            connection,
            ssl=tls,
            ssl_handshake_timeout=2 * limits.head_ms / 1000,  # a timer of ours is faster
            ssl_shutdown_timeout=limits.close_ms / 1000,
        )
        task = asyncio.get_running_loop().create_task(securing)
        timer = self._site.clock.after(limits.head_ms, task.cancel)
        self._shaking[task] = None

        def over(task: asyncio.Task[Any]) -> None:
            timer.cancel()
            self._shaking.pop(task, None)
            error = ConnectionAbortedError("it was too slow") if task.cancelled() else task.exception()
            if error is not None:  # a peer that left, or that speaks no TLS
                log.debug("a connection was not secured: %s", error)
                connection.close()

        task.add_done_callback(over)

    def _tell_date(self) -> None:
        """Keep the Date field (RFC 9110, 6.6.1) of this second."""
        clock, site = self._site.clock, self._site
        date = formatdate(clock.now_ms() / 1000, usegmt=True).encode()
        site.date = b"date: %b\r\n" % date
        site.default_headers[:] = [(b"date", date)]
        self._date_timer = clock.after(_DATE_MS, self._tell_date)

    def stop_accepting(self) -> None:
        """Close the port; open connections finish what they owe, and become no WebSockets."""
        self._site.draining = True
        loop = asyncio.get_running_loop()
        for listening in self._listening:
            loop.remove_reader(listening.fileno())
            listening.close()
        self._listening.clear()

    async def shutdown(self, wait_ms: int) -> None:
        """Close the port, let HTTP connections finish what they owe, and end them after `wait_ms` anyhow.

        WebSockets are their sessions' to close.
        """
        self.stop_accepting()
        site = self._site
        shaking = list(self._shaking)
        for task in shaking:
            task.cancel()
        await asyncio.gather(*shaking, return_exceptions=True)
        for connection in tuple(site.connections):
            connection.drain()
        await site.emptied(wait_ms)
        for connection in tuple(site.connections):
            connection.abort()
        for task in site.tasks:
            task.cancel()
        await asyncio.gather(*site.tasks, return_exceptions=True)
        if self._date_timer is not None:
            self._date_timer.cancel()


def reserve(host: str, port: int) -> list[socket.socket]:
    """Keep a port, without listening, for processes that are to share it; port 0 is any free one.

    Raises OSError, also where another server listens that would share it.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    if port:
        for probe in _bound(found, port, reuse_port=False):
            probe.close()
    return [*_bound(found, port, reuse_port=True)]


def cannot_listen(host: str, port: int, error: OSError) -> Unavailable:
    """Return what to say of a port that cannot be listened on."""
    reason = {
        errno.EADDRINUSE: "another process listens there",
        errno.EACCES: "this user may not listen there",
    }.get(error.errno or 0, error.strerror or str(error))
    return Unavailable(f"http_server: cannot listen on {host or 'every address'}, port {port}: {reason}")


def _bound(found: Sequence[Any], port: int, *, reuse_port: bool) -> "list[_Listening]":
    """Return a socket for each of the addresses that this machine has, all at one port."""
    bound: list[_Listening] = []
    missing: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            bound.append(_bind(family, (str(address[0]), port), reuse_port=reuse_port))
            port = bound[0].getsockname()[1]
        except OSError as error:
            if error.errno not in _NO_FAMILY:
                for one in bound:
                    one.close()
                raise
            missing = error
    if missing is not None and not bound:
        raise missing
    return bound


def _bind(family: int, address: tuple[str, int], *, reuse_port: bool) -> "_Listening":
    listening = _Listening(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(reuse_port))
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Both inherited. Linux would hold 4 MB for a peer that reads nothing, and no session would know.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, SOCKET_UNSENT_BYTES)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setblocking(False)
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening


class _Accepted(socket.socket):
    """A connection that tells aiofastnet what is known already, without the kernel and `enum`: 3 µs less.

    Its protocol is not named, or aiofastnet would set TCP_NODELAY, which is inherited.
    """

    __slots__ = ("_peer",)
    family = socket.SocketType.family  # type: ignore[assignment] # a plain number
    type = socket.SocketType.type  # type: ignore[assignment]

    def __init__(self, family: int, descriptor: int, peer: Any) -> None:
        super().__init__(family, socket.SOCK_STREAM, 0, descriptor)
        self._peer = peer

    def getpeername(self) -> Any:
        """Return the peer's address."""
        return self._peer


class _Listening(socket.socket):
    """Accepts such connections."""

    family = socket.SocketType.family  # type: ignore[assignment]

    def accept(self) -> tuple[_Accepted, Any]:
        """See `socket.accept`."""
        descriptor, peer = self._accept()  # type: ignore[attr-defined] # what `socket.accept` calls
        return _Accepted(self.family, descriptor, peer), peer


_Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


def _pass_over(handler: _Handler | None, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of who leaves amid a handshake, as every port scan does.

    aiofastnet reports it as an error in the loop, and not even with an exception but with its class.
    """
    if context.get("exception") is ConnectionResetError:
        log.debug("a connection was not secured: it was reset")
    elif handler is not None:
        handler(loop, context)
    else:
        loop.default_exception_handler(context)
