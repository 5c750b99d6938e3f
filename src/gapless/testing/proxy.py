"""A TCP proxy that treats connections as tunnels do: it cuts, stalls and half-opens them, from a seed."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final, cast

from msgspec import Struct

from gapless.core.limits import CLOSE_MS
from gapless.ports import Clock, Timer

__all__ = ["Counters", "Faults", "Proxy"]

CONNECTIONS_MAX: Final = 4_096


class Faults(Struct, frozen=True, kw_only=True):
    """What befalls each connection, again and again: first a calm, then one of three faults.

    `cut`, `stall` and `half_open` say how often each comes, against the others. The pairs are the
    least and the most milliseconds.

    - cut: both ends are lost, in the middle of what is being passed on.
    - stall: nothing passes, in either direction; then all of it does.
    - half-open: one end is lost and the other is not told:
      what it sends is swallowed, until it is lost too.
    """

    calm_ms: tuple[int, int] = (1_000, 10_000)
    stall_ms: tuple[int, int] = (100, 2_000)
    half_open_ms: tuple[int, int] = (1_000, 4_000)
    cut: int = 4
    stall: int = 4
    half_open: int = 2


@dataclass(slots=True)
class Counters:
    """What a proxy has done so far."""

    connections: int = 0
    refused: int = 0
    cuts: int = 0
    stalls: int = 0
    half_opens: int = 0
    passed_bytes: int = 0


class Proxy:
    """Passes connections on to `target`, and ill-treats them while there are `faults`.

    Each connection has dice of its own, thrown from `random`. At most `connections_max` are open; more are
    refused, and so is everything while the proxy is `blocked`.
    """

    def __init__(
        self,
        target: tuple[str, int],
        clock: Clock,
        random: Random,
        faults: Faults | None = None,
        *,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self.target = target
        self.clock = clock
        self.faults = faults
        self.counters = Counters()
        self.blocked = False
        self.links: set[_Link] = set()
        self._random = random
        self._connections_max = connections_max
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Accept connections; return the port, which matters where 0 was asked for. Raises OSError."""
        self._server = await asyncio.get_running_loop().create_server(self._accept, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    def heal(self) -> None:
        """Let no more faults begin; those under way end as they would have."""
        self.faults = None

    def block(self) -> None:
        """Cut all connections, and refuse new ones until `unblock`."""
        self.blocked = True
        self._cut_all()

    def unblock(self) -> None:
        """Let connections through again."""
        self.blocked = False

    def stall(self, delay_ms: int) -> None:
        """Let nothing pass on the connections that there are, in either direction; then all of it."""
        for link in self.links:
            link.stall(delay_ms)

    async def close(self) -> None:
        """Cut everything and free the port."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._cut_all()

    def _cut_all(self) -> None:
        for link in tuple(self.links):
            link.cut()

    def _accept(self) -> asyncio.Protocol:
        full = len(self.links) >= self._connections_max
        link = _Link(self, Random(self._random.getrandbits(64)))
        link.refused = self.blocked or full
        return link.client


class _Fault(StrEnum):
    CUT = "cut"
    STALL = "stall"
    HALF_OPEN = "half_open"


class _End(asyncio.Protocol):
    """One of the two connections of a link. It is read from while nothing holds it."""

    def __init__(self, link: "_Link") -> None:
        self.link = link
        self.transport: asyncio.Transport | None = None
        self._holds = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.link.opened(self)

    def data_received(self, data: bytes) -> None:
        self.link.received(self, data)

    def pause_writing(self) -> None:
        self.link.opposite(self).hold()

    def resume_writing(self) -> None:
        self.link.opposite(self).release()

    def connection_lost(self, exc: Exception | None) -> None:
        self.link.lost(self)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def hold(self) -> None:
        self._holds += 1
        if self._holds == 1 and self.transport is not None:
            self.transport.pause_reading()

    def release(self) -> None:
        self._holds -= 1
        if self._holds == 0 and self.transport is not None:
            self.transport.resume_reading()


class _Link:
    """A client's connection and the one to the target that it is passed on to."""

    def __init__(self, proxy: Proxy, random: Random) -> None:
        self.client = _End(self)
        self.server = _End(self)
        self.refused = False
        self._proxy = proxy
        self._random = random
        self._timer: Timer | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._doomed = False
        self._stalled = False
        self._deserted: _End | None = None  # the end that still thinks it is connected
        self._over = False

    def opposite(self, end: _End) -> _End:
        """Return the other end."""
        return self.server if end is self.client else self.client

    # Connections --------------------------------------------------------------------------

    def opened(self, end: _End) -> None:
        """Connect to the target, or begin to pass on."""
        if end is self.server:
            if self._over:
                self.server.abort()
            else:
                self.client.release()
                self._calm()
        elif self.refused:
            self._proxy.counters.refused += 1
            self.cut()
        else:
            self._proxy.counters.connections += 1
            self._proxy.links.add(self)
            loop = asyncio.get_running_loop()
            loop.call_soon(self.client.hold)  # 3.11.2 reads after connection_made, paused or not
            self._connecting = loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.server, *self._proxy.target)
        except OSError:  # the target is down, and the client is told as by any network
            self.cut()

    def received(self, end: _End, data: bytes) -> None:
        """Pass data on: whole, up to where the connection is cut, or not at all."""
        receiver = self.opposite(end).transport
        if self._deserted is end or receiver is None:
            return
        if self._doomed:
            self._proxy.counters.cuts += 1
            data = data[: self._random.randrange(len(data))]
        receiver.write(data)
        self._proxy.counters.passed_bytes += len(data)
        if self._doomed:
            self.cut(spare=receiver)

    def lost(self, end: _End) -> None:
        """Lose the other end too, once it has sent what it was given; a deserted end is left to itself."""
        if self._deserted in (None, end):
            self.cut(spare=self.opposite(end).transport)

    def cut(self, spare: asyncio.Transport | None = None) -> None:
        """Lose both ends: at once, but for `spare`, which has a moment to send what it was given."""
        if self._over:
            return
        self._over = True
        self._proxy.links.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        for end in (self.client, self.server):
            if end.transport is not None and end.transport is spare:
                spare.close()
                self._proxy.clock.after(CLOSE_MS, spare.abort)
            else:
                end.abort()

    # Faults -------------------------------------------------------------------------------

    def _calm(self) -> None:
        faults = self._proxy.faults
        if faults is not None:
            self._timer = self._proxy.clock.after(self._random.randint(*faults.calm_ms), self._strike)

    def _strike(self) -> None:
        faults = self._proxy.faults
        if faults is None:
            return
        weights = [getattr(faults, fault) for fault in _Fault]
        match self._random.choices(list(_Fault), weights)[0]:
            case _Fault.CUT:
                self._doomed = True
            case _Fault.STALL:
                self.stall(self._random.randint(*faults.stall_ms))
            case _Fault.HALF_OPEN:
                self._desert(self._random.randint(*faults.half_open_ms))

    def stall(self, delay_ms: int) -> None:
        """Hold both ends for a while; one that is deserted has it worse."""
        if self._deserted is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        if not self._stalled:
            self.client.hold()
            self.server.hold()
        self._stalled = True
        self._proxy.counters.stalls += 1
        self._timer = self._proxy.clock.after(delay_ms, self._go_on)

    def _go_on(self) -> None:
        self._stalled = False
        self.client.release()
        self.server.release()
        self._calm()

    def _desert(self, delay_ms: int) -> None:
        self._proxy.counters.half_opens += 1
        self._deserted = self._random.choice((self.client, self.server))
        self.opposite(self._deserted).abort()
        self._timer = self._proxy.clock.after(delay_ms, self.cut)
