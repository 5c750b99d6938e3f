"""Keeps what is revoked: in the store, in memory, and on the connections that are open."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from gapless.broker.revocations import Revocation, Revocations
from gapless.core.errors import (
    GaplessError,
    LimitExceeded,
    PermissionDenied,
    PositionConflict,
    PositionLost,
    StoreDamaged,
    Unauthorized,
)
from gapless.core.limits import (
    PAGE_BYTES_MAX,
    PAGE_MESSAGES_MAX,
    REVOCATIONS_LOOK_MS,
    REVOCATIONS_MAX,
    REVOCATIONS_PER_MESSAGE_MAX,
    REVOKED_PER_TURN_MAX,
)
from gapless.core.stream import Entry, Outcome, Page, Position, Retention, Stored
from gapless.ports import Clock, Streams, Timer
from gapless.protocol.codes import Disconnect, Unsubscribe
from gapless.server.parting import pause
from gapless.server.session import Session
from gapless.server.sessions import Sessions

__all__ = ["STREAM", "Revoking"]

STREAM: Final = "gapless.revocations"
FOREVER: Final = Retention()
# Messages beyond twice the decisions that count, after which the stream is written anew.
SUPERSEDED_MAX: Final = 1_000

log: Final = logging.getLogger("gapless.revocations")


class _Decisions(Struct):
    """A message of the stream. A decision that is stored for the first time has the time of its message."""

    decisions: list[Revocation] = field(default_factory=list)


_decode: Final = msgspec.json.Decoder(_Decisions).decode
_encode: Final = msgspec.json.Encoder().encode


class Revoking:
    """Follows a stream of decisions that all nodes of a store share; `held` is what they come to.

    Nothing expires from the stream. A store that has lost decisions which hold (a backup was restored) gets
    them back from a node that knows them; a block that was lifted since the backup is there again.
    """

    def __init__(self, store: Streams, sessions: Sessions, clock: Clock) -> None:
        self.held = sessions.revocations
        self._store = store
        self._sessions = sessions
        self._clock = clock
        self._at = Position("", 0)
        self._timer: Timer | None = None
        self._looking: asyncio.Task[None] | None = None
        self._enforcing: asyncio.Task[None] | None = None
        self._news = False
        self._stopped = False

    # Follow -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read all decisions, then follow what comes.

        Raises:
            StoreError: they cannot be read. Without them nobody may be served.
        """
        await self._read_anew()
        self._look_later()

    async def stop(self) -> None:
        """Follow no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [task for task in (self._looking, self._enforcing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _look_later(self) -> None:
        if not self._stopped:
            self._timer = self._clock.after(REVOCATIONS_LOOK_MS, self._look_soon)

    def _look_soon(self) -> None:
        if not self._stopped:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        try:
            heads = await self._store.heads([STREAM])
            floor, last = heads.heads[STREAM]
            if Position(heads.epoch, last) != self._at:
                await self._read_on()
            if last - floor > 2 * len(self.held) + SUPERSEDED_MAX:
                await self._write_anew()
        except GaplessError as error:
            log.warning("revocations could not be followed: %s", error)
        finally:
            self._look_later()

    async def _read_on(self) -> None:
        try:
            found, self._at = await self._decisions(self._at)
        except PositionLost:
            await self._read_anew()
        else:
            self._take(found)

    async def _read_anew(self) -> None:
        """Read the whole stream; give back to it what only this node knows, as after a restored backup."""
        found, at = await self._decisions(None)
        stored = Revocations()
        stored.take(found)
        self.held.drop_over(self._clock.now_ms())
        lost = self.held.beyond(stored)
        self._take(found)
        if lost:
            log.warning("the store had lost %d revocations, which are stored again", len(lost))
            await self._append(_chunks(lost))
        self._at = at  # not before: what could not be given back now is, at the next look

    async def _decisions(self, after: Position | None) -> tuple[list[Revocation], Position]:
        """Return what follows a position, and where that ends."""
        found: list[Revocation] = []
        while True:
            page = await self._store.read(
                STREAM, after=after, limit_messages=PAGE_MESSAGES_MAX, limit_bytes=PAGE_BYTES_MAX
            )
            found += _read(page)
            after = Position(page.epoch, page.through)
            if page.through >= page.head:
                return found, after

    # Decide -------------------------------------------------------------------------------

    async def decide(self, decision: Revocation) -> None:
        """Store a decision; on this node it holds then, on others within a second.

        Raises:
            LimitExceeded: so many hold already.
            Unavailable: it could not be stored.
        """
        self.held.drop_over(self._clock.now_ms())
        more = not decision.over(self._clock.now_ms()) and not self.held.has(decision)
        if more and len(self.held) >= REVOCATIONS_MAX:
            raise LimitExceeded(
                f"{REVOCATIONS_MAX} revocations hold already: let them end (expire_at) when their tokens do"
            )
        stored = await self._append([[decision]])
        self._take([replace(decision, at_ms=stored.time_ms)])

    async def _write_anew(self) -> None:
        """Append what still counts, then drop all before it; nothing if somebody else appends meanwhile."""
        before = self._at
        self.held.drop_over(self._clock.now_ms())
        chunks = _chunks(self.held)
        if chunks:
            try:
                await self._append(chunks, before)
            except PositionConflict:
                return
        await self._store.trim(STREAM, before.offset)

    async def _append(self, chunks: Sequence[list[Revocation]], after: Position | None = None) -> Stored:
        """Append messages of decisions; if `after` is given, only there, and one right after the other."""
        done: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()

        def told(entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
            if not done.done():
                done.set_result(outcomes)

        entries = []
        for index, chunk in enumerate(chunks):
            expected = Position(after.epoch, after.offset + index) if after is not None else None
            entries.append(Entry(STREAM, _encode(_Decisions(chunk)), FOREVER, expected=expected, origin=self))
        self._store.append(entries, told)
        outcomes = await done
        for outcome in outcomes:
            if isinstance(outcome, GaplessError):
                raise outcome
        last = outcomes[-1]
        assert isinstance(last, Stored)
        return last

    # Enforce ------------------------------------------------------------------------------

    def _take(self, decisions: Sequence[Revocation]) -> None:
        self.held.take(decisions)
        self._news = self._news or bool(decisions)
        if self._news and (self._enforcing is None or self._enforcing.done()):
            self._enforcing = asyncio.get_running_loop().create_task(self._enforce())

    async def _enforce(self) -> None:
        """Hold every connection against what is revoked, so many in a turn that nobody notices."""
        while self._news:
            self._news = False
            sessions = list(self._sessions.all)
            for first in range(0, len(sessions), REVOKED_PER_TURN_MAX):
                if first:
                    await pause(self._clock, 0)
                for session in sessions[first : first + REVOKED_PER_TURN_MAX]:
                    self._hold(session)

    def _hold(self, session: Session) -> None:
        claims, now_ms = session.claims, self._clock.now_ms()
        try:
            self.held.check(claims.user, claims.token_id, claims.issued_ms, now_ms)
        except PermissionDenied:
            session.disconnected(Disconnect.PERMISSION_DENIED)
            return
        except Unauthorized:
            session.disconnected(Disconnect.INVALID_TOKEN)
            return
        for subscription in list(session.subscriptions.values()):
            grant = subscription.grant
            if grant is None or grant.issued_ms is None:
                continue
            try:
                self.held.check(claims.user, grant.token_id, grant.issued_ms, now_ms)
            except Unauthorized:
                session.unsubscribed(subscription, Unsubscribe.SERVER)


def _read(page: Page) -> list[Revocation]:
    found = []
    for message in page.messages:
        try:
            decisions = _decode(message.data).decisions
        except msgspec.DecodeError as error:
            raise StoreDamaged(f"stream {STREAM!r}, offset {message.offset}: {error}") from error
        found += [each if each.at_ms else replace(each, at_ms=message.time_ms) for each in decisions]
    return found


def _chunks(decisions: Iterable[Revocation]) -> list[list[Revocation]]:
    chosen = list(decisions)
    return [
        chosen[first : first + REVOCATIONS_PER_MESSAGE_MAX]
        for first in range(0, len(chosen), REVOCATIONS_PER_MESSAGE_MAX)
    ]
