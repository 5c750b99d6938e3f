"""A simulated WebSocket connection: two ends, latency, a width, and all that goes wrong between them.

Bytes of one direction arrive in the order in which they were sent, as far as they arrive at all.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from msgspec import Struct

from gapless.core.limits import CLOSE_MS
from gapless.server.socket import Receiver
from gapless.testing.loop import VirtualLoop

__all__ = ["Conditions", "Link", "Peer"]

ABNORMAL: Final = 1006
DRAIN_MS: Final = 20


class Conditions(Struct, frozen=True):
    """How good a connection is. `bytes_per_ms` 0: as wide as anyone asks for."""

    latency_ms_max: int = 20
    bytes_per_ms: int = 0
    high_bytes: int = 4096


class Peer(Protocol):
    """The client's end."""

    def opened(self) -> None:
        """The connection stands."""

    def received(self, data: bytes, written_ms: int) -> None:
        """Take bytes of the server's stream, cut anywhere. `written_ms` is when they were written."""

    def closed(self, code: int) -> None:
        """The connection is over; called once, last, and not after `Link.leave`."""


class Link:
    """One connection. Implements `server.socket.Socket`, the server's end.

    `peer` is the client while it listens; `ended` is for the server. `accept` is called with the link once it
    reaches the server, and returns the session, or None when nobody listens there. `wrote` is told of each
    write what the buffer held before it, and what was added.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        conditions: Conditions,
        peer: Peer,
        accept: Callable[["Link"], Receiver | None],
        wrote: Callable[["Link", int, int], object],
    ) -> None:
        self.conditions = conditions
        self.write = self._write
        self.stalled_since_ms: int | None = None
        self.slow = False  # was ever full
        self._loop = loop
        self._random = random
        self.peer: Peer | None = peer
        self._accept = accept
        self._receiver: Receiver | None = None
        self._wrote = wrote
        self._dead = False  # nothing arrives any more, and nobody knows yet
        self.ended = False
        self._closing: int | None = None
        self._unsent: deque[tuple[bytes, int]] = deque()
        self._unsent_bytes = 0
        self._draining = False
        self._paused = False
        self._reading = True
        self._down: deque[tuple[bytes, int]] = deque()
        self._up: deque[tuple[bytes, bool] | int] = deque()
        self._waiting: deque[tuple[bytes, bool] | int] = deque()
        self._down_ms = self._up_ms = 0
        loop.after_ms(self._latency_ms(), self._reach)

    # The client's end ---------------------------------------------------------------------

    def send(self, payload: bytes, binary: bool) -> None:
        """Send one message to the server."""
        self._fly_up((payload, binary))

    def leave(self, code: int) -> None:
        """Close the client's end: the server hears of it, unless the link is dead."""
        self.peer = None
        self._fly_up(code)

    # What goes wrong ----------------------------------------------------------------------

    def cut(self) -> None:
        """Lose what is under way; both ends hear of it, each in its time."""
        self._die()
        self._loop.after_ms(self._latency_ms(), self._lost_by_peer, ABNORMAL)
        self._loop.after_ms(self._latency_ms(), self._end, ABNORMAL)

    def half_open(self) -> None:
        """Lose everything from now on, and tell nobody."""
        self._die()

    def stall(self) -> None:
        """Let the client take nothing until `flow`."""
        if self.stalled_since_ms is None:
            self.stalled_since_ms = self._loop.now_ms

    def flow(self, conditions: Conditions | None = None) -> None:
        """Let the client take what waits, under new conditions if any."""
        self.stalled_since_ms = None
        self.conditions = conditions or self.conditions
        self._drain_later()

    def lose_server(self) -> None:
        """Cut the link because the server died: it hears of nothing any more."""
        self.ended = True
        self._receiver = None
        self._die()
        self._loop.after_ms(self._latency_ms(), self._lost_by_peer, ABNORMAL)

    # The server's end ---------------------------------------------------------------------

    def close(self, code: int, reason: str) -> None:
        """Let what was written drain for a moment, then end."""
        if self._closing is None and not self.ended:
            self._closing = code
            self._loop.after_ms(CLOSE_MS, self._abort)
            if not self._unsent and not self._dead:
                self._fly_down(b"")

    def buffered_bytes(self) -> int:
        """How much was written and not taken yet."""
        return self._unsent_bytes

    def traffic(self) -> None:
        """Tell nothing: there is no system below."""

    def pause_reading(self) -> None:
        """Keep what arrives."""
        self._reading = False

    def resume_reading(self) -> None:
        """Hand over what was kept."""
        self._reading = True
        self._loop.after_ms(0, self._hand_over)

    def _write(self, data: bytes) -> None:
        assert data, "an empty write"
        if self.ended or self._closing is not None:
            return
        self._wrote(self, self.buffered_bytes(), len(data))
        if not self._unsent and not self._narrow():
            self._fly_down(data)
            return
        self._unsent.append((data, self._loop.now_ms))
        self._unsent_bytes += len(data)
        self._drain_later()
        if self.buffered_bytes() > self.conditions.high_bytes and not self._paused:
            self._paused = self.slow = True
            if self._receiver is not None:
                self._receiver.writing_paused()

    # Down ---------------------------------------------------------------------------------

    def _narrow(self) -> bool:
        return self._dead or self.stalled_since_ms is not None or self.conditions.bytes_per_ms > 0

    def _drain_later(self) -> None:
        if self._unsent and not self._draining and not self._dead and self.stalled_since_ms is None:
            self._draining = True
            self._loop.after_ms(DRAIN_MS, self._drain)

    def _drain(self) -> None:
        self._draining = False
        if self._dead or self.stalled_since_ms is not None:
            return
        room = self.conditions.bytes_per_ms * DRAIN_MS or self._unsent_bytes
        while self._unsent and room:
            data, written_ms = self._unsent.popleft()
            if len(data) > room:
                self._unsent.appendleft((data[room:], written_ms))
                data = data[:room]
            room -= len(data)
            self._unsent_bytes -= len(data)
            self._fly_down(data, written_ms)
        if not self._unsent and self._closing is not None:
            self._fly_down(b"")
        self._drain_later()
        if self._paused and self._unsent_bytes < self.conditions.high_bytes // 4:
            self._paused = False
            if self._receiver is not None and self._closing is None:
                self._receiver.writing_resumed()

    def _fly_down(self, data: bytes, written_ms: int | None = None) -> None:
        self._down.append((data, self._loop.now_ms if written_ms is None else written_ms))
        self._down_ms = max(self._down_ms, self._loop.now_ms + self._latency_ms())
        self._loop.after_ms(self._down_ms - self._loop.now_ms, self._land)

    def _land(self) -> None:
        if self._dead:
            return
        data, written_ms = self._down.popleft()
        if data:
            if self.peer is not None:
                self.peer.received(data, written_ms)
            return
        assert self._closing is not None
        self._lost_by_peer(self._closing)
        self._fly_up(self._closing)

    def _lost_by_peer(self, code: int) -> None:
        peer, self.peer = self.peer, None
        if peer is not None:
            peer.closed(code)

    # Up -----------------------------------------------------------------------------------

    def _reach(self) -> None:
        if self._dead:
            return
        self._receiver = self._accept(self)
        if self._receiver is None:
            self.ended = True
            self.cut()
        else:
            self._loop.after_ms(self._latency_ms(), self._open)

    def _open(self) -> None:
        if self.peer is not None and not self._dead:
            self.peer.opened()

    def _fly_up(self, what: tuple[bytes, bool] | int) -> None:
        if not self._dead:
            self._up.append(what)
            self._up_ms = max(self._up_ms, self._loop.now_ms + self._latency_ms())
            self._loop.after_ms(self._up_ms - self._loop.now_ms, self._hear)

    def _hear(self) -> None:
        if self._dead:
            return
        what = self._up.popleft()
        if isinstance(what, int) and not self._reading:
            self._die()  # a reset: what was not read is lost
            self._end(ABNORMAL)
            return
        self._waiting.append(what)
        self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting and self._reading and not self.ended:
            what = self._waiting.popleft()
            if isinstance(what, int):
                self._die()
                self._end(what)
            elif self._closing is None and self._receiver is not None:
                self._receiver.received(*what)

    # The end ------------------------------------------------------------------------------

    def _abort(self) -> None:
        if not self.ended:
            self._die()
            self._end(self._closing or ABNORMAL)
            self._lost_by_peer(ABNORMAL)

    def _die(self) -> None:
        self._dead = True
        self._down.clear()
        self._up.clear()
        self._waiting.clear()

    def _end(self, code: int) -> None:
        if not self.ended:
            self.ended = True
            if self._receiver is not None:
                self._receiver.closed(code, "")

    def _latency_ms(self) -> int:
        return self._random.randint(0, self.conditions.latency_ms_max)
