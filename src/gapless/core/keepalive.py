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
    reader that is slow but alive is never given up (semantics 3).
    """

    __slots__ = (
        "_awaiting_pong",
        "_full_bytes",
        "_interval_ms",
        "_opened",
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
        self._full_bytes: int | None = None  # what the full socket held when last looked at
        self.due_ms = now_ms + stale_ms

    def opened(self, first_ping_ms: int) -> None:
        """Note the connect command; the first ping is due at `first_ping_ms`."""
        self._opened = True
        self.due_ms = first_ping_ms

    def pong(self) -> bool:
        """Note a pong; False when none was owed."""
        owed, self._awaiting_pong = self._awaiting_pong, False
        return owed

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
            return Action.NO_PONG
        if self._pinged:
            self._pinged = False
            self.due_ms = now_ms + self._interval_ms - self._pong_ms
            return None
        self._pinged = self._awaiting_pong = self._pong_ms > 0
        self.due_ms = now_ms + (self._pong_ms or self._interval_ms)
        return Action.PING

    def _look_again(self, now_ms: int, buffered_bytes: int) -> Action | None:
        assert self._full_bytes is not None
        if buffered_bytes >= self._full_bytes:
            return Action.STUCK
        self._full_bytes = buffered_bytes
        self.due_ms = now_ms + self._stuck_ms
        return None
