"""The joined end of one connection: frames in both directions, and whether the owner is there still."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from gapless.core.errors import GaplessError, StoreRefused
from gapless.core.limits import OWNER_BEAT_MS, OWNER_BEATS_MAX, SHARED_FRAME_BYTES_MAX, SHARED_HIGH_BYTES
from gapless.ports import After, Timer
from gapless.sharing.frames import VERSION, Frames, FromOwner, Ping, Sent, Welcome, frame

__all__ = ["READ", "Link"]

READ: Final = msgspec.msgpack.Decoder(FromOwner)
_WELCOME: Final = msgspec.msgpack.Decoder(Welcome)
_VERSION: Final = msgspec.msgpack.Decoder(list[Any])


class Link(asyncio.Protocol):
    """A connection to an owner.

    `welcome` is what it said first, or None if it said nothing. Until `attach` names who hears what it says,
    nothing more is read.
    """

    _transport: asyncio.Transport

    pings_always = False  # also while nothing is waited for

    def __init__(self, after: After, elapsed_ns: Callable[[], int]) -> None:
        self._after = after
        self._elapsed_ns = elapsed_ns
        self._take = self._greeted
        self._loop = asyncio.get_running_loop()
        self._frames = Frames(SHARED_FRAME_BYTES_MAX)
        self._told: list[bytes] = []
        self._silent_beats = 0
        self._beats: Timer | None = None
        self._is_full = False
        self._early: list[Any] = []
        self._hear: Callable[[Any], object] = self._early.append
        self.is_lost = self.is_leaving = self.is_closing = False
        self.welcome: asyncio.Future[Welcome | None] = self._loop.create_future()

    def attach(
        self,
        hear: Callable[[Any], None],
        lost: Callable[[], None],
        silent: Callable[[], None],
        is_waiting: Callable[[], bool],
    ) -> None:
        """Name who hears: of what is said, of the end, and of an owner that does not answer."""
        self._hear, self._lost, self._silent, self._is_waiting = hear, lost, silent, is_waiting
        self._beats = self._after(OWNER_BEAT_MS, self._beat)
        for said in self._early:
            hear(said)
        if self.is_lost:
            self._loop.call_soon(lost)
        else:
            self._transport.resume_reading()

    @property
    def takes_calls(self) -> bool:
        """Tell whether a call may be said: the owner goes on."""
        return not (self.is_lost or self.is_leaving or self.is_closing)

    # What is said -------------------------------------------------------------------------

    def say(self, told: bytes) -> None:
        """Write at the end of the tick, with all that is said until then, or when there is room."""
        if not self._told:
            self._loop.call_soon(self._flush)
        self._told.append(told)

    def _flush(self) -> None:
        if self._told and not self._is_full and not self.is_lost:
            told, self._told = self._told, []
            self._transport.write(frame(Sent(self.owners_ns())) + b"".join(told))

    def owners_ns(self) -> int:
        """Return what the owner's steady clock says: on one machine they are the same."""
        return self._elapsed_ns()

    @property
    def is_full(self) -> bool:
        """Tell whether what is said waits for room."""
        return self._is_full

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._flush()

    # What is heard ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=SHARED_HIGH_BYTES)

    def data_received(self, data: bytes) -> None:
        self._silent_beats = 0
        try:
            for body in self._frames.feed(data):
                self._take(body)
        except (msgspec.MsgspecError, GaplessError, LookupError) as error:
            if self.welcome.done():
                context = {"message": "the store's owner is not understood", "exception": error}
                self._loop.call_exception_handler(context)
            else:
                self._refuse("who answers there is no gapless that shares its store")
            self._transport.abort()

    def _refuse(self, why: str) -> None:
        if not self.welcome.done():
            self.welcome.set_exception(StoreRefused(why))

    def _is_understood(self, body: bytes) -> bool:
        """Tell whether what an owner says first is of this version."""
        version = _VERSION.decode(body)[1]
        if version != VERSION:
            self._refuse(
                f"it is open in another process, which shares it in version {version}, this one in"
                f" version {VERSION}: use the same gapless in both"
            )
        return bool(version == VERSION)

    def _greeted(self, body: bytes) -> None:
        if self._is_understood(body):
            self._transport.pause_reading()
            self._take = self._told_by_owner
            self.welcome.set_result(_WELCOME.decode(body))

    def _told_by_owner(self, body: bytes) -> None:
        self._hear(READ.decode(body))

    def _beat(self) -> None:
        """Ask now and then whether the owner is there. Who was stopped itself has missed no beat."""
        if self.is_lost:
            return
        self._beats = self._after(OWNER_BEAT_MS, self._beat)
        if not (self.pings_always or self._is_waiting()):
            self._silent_beats = 0
            return
        self._silent_beats += 1
        if self._silent_beats > OWNER_BEATS_MAX:
            self._silent()
            self.close()
        elif not self._is_full:
            self.say(frame(Ping()))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if not self.welcome.done():
            self.welcome.set_result(None)
        if self._beats is not None:
            self._beats.cancel()
            self._lost()

    def close(self) -> None:
        """End the connection."""
        self.is_closing = True
        self._transport.abort()
