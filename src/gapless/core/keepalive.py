"""Decides when to ping a connection and when to give it up. Sans I/O, sans clock."""

from enum import Enum, auto

__all__ = ["Action", "Keepalive"]


class Action(Enum):
    """What the owner of a connection is to do now."""

    PING = auto()
    STALE = auto()  # no connect command came in time
    NO_PONG = auto()  # the peer is gone
    STUCK = auto()  # the socket is full and nothing drains from it


class Keepalive:
    """One connection's deadlines; the owner calls `due` at or after `due_ms` and does as told.

    While writes are paused no ping is due, and drained bytes count as a pong: a
    reader that is slow but alive is never given up (semantics 3). A ping that still waits behind
    other bytes is not answered late; its pong is good whenever it comes.
    """

    __slots__ = (
        "_awaiting_pong",
        "_backlog_bytes",
        "_backlog_since_ms",
        "_full_bytes",
        "_interval_ms",
        "_opened",
        "_owed",
        "_pinged",
        "_pong_ms",
        "_stuck_ms",
        "due_ms",
    )

    def __init__(self, *, stale_ms: int, interval_ms: int, pong_ms: int, stuck_ms: int, now_ms: int) -> None:
        assert 0 <= pong_ms < interval_ms
        self._interval_ms = interval_ms
        self._pong_ms = pong_ms
        self._stuck_ms = stuck_ms
        self._opened = False
        self._pinged = False
        self._awaiting_pong = False
        self._owed = 0  # pings whose pong may still come
        self._backlog_bytes = 0  # what stood before the peer when a pong was last looked for, and since when
        self._backlog_since_ms = 0
        self._full_bytes: int | None = None  # what the full socket held when last looked at
        self.due_ms = now_ms + stale_ms

    def opened(self, first_ping_ms: int) -> None:
        """Note the connect command; the first ping is due at `first_ping_ms`."""
        self._opened = True
        self.due_ms = first_ping_ms

    def pong(self) -> bool:
        """Note a pong; False when none was owed."""
        if not self._owed:
            return False
        self._owed -= 1
        self._awaiting_pong = False
        return True

    def pinged(self, buffered_bytes: int) -> None:
        """Note how much waits to be sent, the ping included, now that it was written."""
        self._backlog_bytes = buffered_bytes

    def deaf(self, now_ms: int) -> None:
        """Note that nothing is read from the peer for now, so that no pong can be heard."""
        self.due_ms = max(self.due_ms, now_ms + (self._pong_ms or self._interval_ms))

    def paused(self, buffered_bytes: int, now_ms: int) -> None:
        """Note that the socket is full."""
        self._full_bytes = buffered_bytes
        self.due_ms = now_ms + self._stuck_ms

    def resumed(self, now_ms: int) -> None:
        """Note that the socket drained, which is as good as a pong."""
        self._full_bytes = None
        self._awaiting_pong = self._pinged = False
        self.due_ms = now_ms + self._interval_ms

    def due(self, now_ms: int, buffered_bytes: int) -> Action | None:
        """Return what to do now, if anything, and move `due_ms` on."""
        if now_ms < self.due_ms:
            return None
        if self._full_bytes is not None:
            return self._look_again(now_ms, buffered_bytes)
        if not self._opened:
            return Action.STALE
        if self._awaiting_pong:
            return self._look_for_pong(now_ms, buffered_bytes)
        if self._pinged:
            self._pinged = False
            self.due_ms = now_ms + self._interval_ms - self._pong_ms
            return None
        self._pinged = self._awaiting_pong = self._pong_ms > 0
        self._owed += self._pinged
        self._backlog_bytes = 0
        self._backlog_since_ms = now_ms
        self.due_ms = now_ms + (self._pong_ms or self._interval_ms)
        return Action.PING

    def _look_for_pong(self, now_ms: int, buffered_bytes: int) -> Action | None:
        if not buffered_bytes and not self._backlog_bytes:
            return Action.NO_PONG
        if buffered_bytes != self._backlog_bytes:
            self._backlog_bytes = buffered_bytes
            self._backlog_since_ms = now_ms
        elif now_ms - self._backlog_since_ms >= self._stuck_ms:
            return Action.STUCK
        self.due_ms = now_ms + self._pong_ms
        return None

    def _look_again(self, now_ms: int, buffered_bytes: int) -> Action | None:
        assert self._full_bytes is not None
        if buffered_bytes == self._full_bytes:  # neither drained nor, by an answer or two, added to
            return Action.STUCK
        self._full_bytes = buffered_bytes
        self.due_ms = now_ms + self._stuck_ms
        return None
