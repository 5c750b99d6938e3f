"""The owner's end: a store that other processes use through a socket as if it were theirs."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any, Final, cast

import msgspec

from gapless.core.errors import GaplessError, LimitExceeded, NotAvailable, Unavailable
from gapless.core.limits import (
    CALL_LATE_MS,
    CLOSE_MS,
    GUESTS_MAX,
    SHARED_CALLS_MAX,
    SHARED_FRAME_BYTES_MAX,
    SHARED_HIGH_BYTES,
)
from gapless.core.stream import Entry, Message, Outcome, Position
from gapless.ports import After, Bus, Care, Statistics, Store, Told
from gapless.sharing.calls import APPEND, CALLS, CARE, Call, Verb, read_call
from gapless.sharing.frames import (
    VERSION,
    Answer,
    Frames,
    GiveUp,
    Leaving,
    Ping,
    Pong,
    Progress,
    Ready,
    Refusal,
    Refused,
    Ring,
    Sent,
    Standing,
    Tell,
    Welcome,
    frame,
)

__all__ = ["Guest", "Host", "OwnersBus"]

log: Final = logging.getLogger("gapless.store")

Rung = Callable[[str, Position, Message | None], None]


class OwnersBus(Bus):
    """The doorbell between the owner and those who joined it."""

    def __init__(self) -> None:
        self.guests: set[Guest] = set()
        self.heard: list[Rung] = []
        self.told: list[Callable[[bytes], None]] = []
        self.alone = True

    def ring(self, stream: str, last: Position, message: Message | None) -> None:
        self.spread(Ring(stream, last, message), None)

    def listen(self, heard: Rung) -> None:
        self.heard.append(heard)

    def tell(self, told: bytes) -> None:
        self.spread(Tell(told), None)

    def hear(self, heard: Callable[[bytes], None]) -> None:
        self.told.append(heard)

    def spread(self, said: Ring | Ready | Tell, but: "Guest | None") -> None:
        """Tell everybody but one; who is behind with reading goes without."""
        listening = [guest for guest in self.guests if guest is not but and not guest.is_slow]
        if listening:
            told = frame(said)
            for guest in listening:
                guest.say(told)

    def rung(self, ring: Ring, guest: "Guest") -> None:
        """Hear a ring of one who joined."""
        for heard in self.heard:
            heard(ring.stream, ring.last, ring.message)
        self.spread(ring, guest)

    def was_told(self, tell: Tell, guest: "Guest") -> None:
        """Hear what one who joined tells."""
        for heard in self.told:
            heard(tell.told)
        self.spread(tell, guest)


class Host:
    """Serves a store to those who connect. `standing` tells cheaply how the store does.

    `identity` is of the file whose lock makes `pid` the owner, `elapsed_ns` the machine's steady clock, and
    `may_join` tells by a connected socket whether who is there may come in.
    """

    def __init__(
        self,
        store: Store,
        bus: OwnersBus,
        identity: tuple[int, int],
        pid: int,
        *,
        after: After,
        elapsed_ns: Callable[[], int],
        statistics: Callable[[], Statistics],
        may_join: Callable[[Any], bool],
    ) -> None:
        self.store = store
        self.bus = bus
        self.elapsed_ns = elapsed_ns
        self.may_join = may_join
        self.marks = count()
        self.after = after
        self._identity = identity
        self._pid = pid
        self._statistics = statistics
        self._emptied: asyncio.Future[None] | None = None
        store.hear_ready(self._ready)

    def guest(self) -> "Guest":
        """Return the protocol of one more connection."""
        return Guest(self)

    def standing(self) -> Standing:
        """Tell how the store stands."""
        return Standing(self.store.epoch, self._statistics())

    def welcome(self) -> Welcome:
        """Return what is said first."""
        standing = Standing(self.store.epoch, self.store.statistics())
        durability, at_ns = self.store.durability, self.elapsed_ns()
        return Welcome(VERSION, self._identity, self._pid, durability, standing, at_ns)

    def _ready(self, queue: str) -> None:
        if not self.bus.alone:
            self.bus.spread(Ready(queue), None)

    def enter(self, guest: "Guest") -> None:
        """Let somebody in."""
        self.bus.guests.add(guest)
        self.bus.alone = False
        self.store.shared = True

    def leave(self, guest: "Guest") -> None:
        """See somebody off."""
        self.bus.guests.discard(guest)
        self.bus.alone = not self.bus.guests
        if self._emptied is not None and self.bus.alone and not self._emptied.done():
            self._emptied.set_result(None)

    def part(self) -> None:
        """Take no more calls: those that were begun are answered still."""
        for guest in list(self.bus.guests):
            guest.part()

    async def close(self) -> None:
        """Part with everybody, once what was begun is answered."""
        self.part()
        for guest in list(self.bus.guests):
            guest.finish()
        if self.bus.guests:
            self._emptied = asyncio.get_running_loop().create_future()
            timer = self.after(CLOSE_MS, self._cut)
            try:
                await self._emptied
            finally:
                timer.cancel()

    def _cut(self) -> None:
        """Wait no longer for those who do not take their answers."""
        for guest in list(self.bus.guests):
            guest.cut()


class Guest(asyncio.Protocol):
    """One process that joined. One that `may_care` cares for the file, too."""

    may_care = True
    _transport: asyncio.Transport

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._frames = Frames(SHARED_FRAME_BYTES_MAX)
        self._mark = next(host.marks)
        self._calls: dict[int, asyncio.Task[Any] | None] = {}
        self._stopped: dict[tuple[Any, str], None] = {}
        self._told: list[bytes] = []
        self._late = False
        self._taken = 0
        self._is_parting = self._is_finishing = False
        self._is_stuck = False
        self._standing: Standing | None = None

    @property
    def is_slow(self) -> bool:
        """Tell whether more waits to be written than hints may be added to."""
        return self._is_stuck

    # The connection -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._host.may_join(transport.get_extra_info("socket")):
            self._come_in()
        else:
            self._transport.abort()

    def _come_in(self) -> None:
        host = self._host
        if len(host.bus.guests) >= GUESTS_MAX:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=SHARED_HIGH_BYTES)
        host.enter(self)
        self._transport.write(frame(host.welcome()))

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._calls.values():
            if task is not None:
                task.cancel()
        self._is_parting = True
        self._host.leave(self)

    def pause_writing(self) -> None:
        self._is_stuck = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_stuck = False
        self._read_on()

    def _read_on(self) -> None:
        if not self._is_stuck and not self._is_parting and len(self._calls) < SHARED_CALLS_MAX:
            self._transport.resume_reading()

    def say(self, told: bytes) -> None:
        """Write at the end of the tick, with all that is said until then."""
        if not self._told:
            self._loop.call_soon(self._flush)
        self._told.append(told)

    def _flush(self) -> None:
        told, self._told = self._told, []
        standing = self._host.standing()
        if standing != self._standing:
            self._standing = standing
            told.insert(0, frame(standing))
        if not self._transport.is_closing():
            self._transport.write(b"".join(told))
        self._end_if_finished()

    def part(self) -> None:
        """Begin no more calls, and say which were begun."""
        if not self._is_parting:
            self._is_parting = True
            self._transport.pause_reading()
            self.say(frame(Leaving(self._taken)))

    def finish(self) -> None:
        """Close the connection once all calls that were begun are answered."""
        self._is_finishing = True
        self._end_if_finished()

    def cut(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def _end_if_finished(self) -> None:
        if self._is_finishing and not self._calls and not self._told:
            self._transport.close()

    # Calls --------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._frames.feed(data):
                self._take(body)
        except (msgspec.MsgspecError, GaplessError) as error:
            self._misunderstood(error)
            self.cut()
        if len(self._calls) >= SHARED_CALLS_MAX:
            self._transport.pause_reading()

    def _misunderstood(self, error: Exception) -> None:
        log.error("a process that joined says what cannot be read: %s", error)

    def _take(self, body: bytes) -> None:
        said = read_call(body)
        match said:
            case Sent(at_ns):
                self._late = self._host.elapsed_ns() - at_ns > CALL_LATE_MS * 1_000_000
            case Ring():
                self._host.bus.rung(said, self)
            case Tell():
                self._host.bus.was_told(said, self)
            case Ping():
                self._host.store.statistics()  # counts its percentiles anew
                self.say(frame(Pong(self._host.elapsed_ns())))
            case GiveUp(number):
                task = self._calls.get(number)
                if task is not None:
                    task.cancel()
            case Refused(number):
                self._taken = number
                self.say(frame(said))
            case Call():
                self._begin(said)

    def _begin(self, call: Call) -> None:
        self._taken = number = call.number
        if self._late:
            self._refuse(number, Unavailable("it came too late, and was not begun"))
        elif isinstance(call, cast(type, APPEND.kind)):
            self._calls[number] = None
            self._loop.call_soon(self._append, number, cast(Any, call).entries)
        else:
            name = type(call).__name__
            verb = CALLS.get(name) or CARE[name]
            task = self._calls[number] = self._loop.create_task(self._carried_out(verb, call))
            task.add_done_callback(partial(self._landed, number, name))

    def _carried_out(self, verb: Verb, call: Call) -> Coroutine[Any, Any, Any]:
        arguments = {one: getattr(call, one) for one in verb.arguments}
        if verb.tells:
            arguments["told"] = self._telling(call.number)
        store = self._host.store
        if verb.name in CARE and not self.may_care:
            return _no_care("the store is on another machine: care for it there")
        if verb.name in CARE and not isinstance(store, Care):
            return _no_care("the store is no file")
        method: Callable[..., Coroutine[Any, Any, Any]] = getattr(store, verb.name)
        return method(**arguments)

    def _telling(self, number: int) -> Told:
        """Return what tells who called how far it is, a hundred times at most."""
        before = -1

        def told(done: int, total: int) -> None:
            nonlocal before
            percent = 100 * done // max(1, total)
            if percent != before and not self._is_stuck:
                before = percent
                self.say(frame(Progress(number, done, total)))

        return told

    def _landed(self, number: int, name: str, task: "asyncio.Task[Any]") -> None:
        if task.cancelled():
            self._refuse(number, Unavailable("whoever called has given up"))
            return
        match task.exception():
            case None:
                self._answer(number, task.result())
            case GaplessError() as error:
                self._refuse(number, error)
            case error:
                self._loop.call_exception_handler({"message": f"{name} failed", "exception": error})
                self._refuse(number, GaplessError(f"{name} failed in the process that owns the store"))

    def _answer(self, number: int, result: Any) -> None:
        if isinstance(result, list):
            result = [Refusal.of(one) if isinstance(one, GaplessError) else one for one in result]
        told = frame(Answer(number, msgspec.Raw(msgspec.msgpack.encode(result))))
        if len(told) > SHARED_FRAME_BYTES_MAX:
            self._refuse(number, LimitExceeded(f"the answer has over {SHARED_FRAME_BYTES_MAX} bytes"))
        else:
            self._done(number)
            self.say(told)

    def _refuse(self, number: int, error: GaplessError) -> None:
        self._done(number)
        self.say(frame(Refused(number, Refusal.of(error))))

    def _done(self, number: int) -> None:
        if self._calls.pop(number, self) is not self and len(self._calls) == SHARED_CALLS_MAX - 1:
            self._read_on()

    # Appends ------------------------------------------------------------------------------

    def _append(self, number: int, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.origin is not None:
                entry.origin = self._mark, entry.origin
        behind = [(entry.origin, entry.stream) in self._stopped for entry in entries]
        passing = [entry for entry, stopped in zip(entries, behind, strict=True) if not stopped]

        def done(entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
            self._stop(entries, outcomes)
            self._answer(number, list(_merged(behind, outcomes)))

        if not passing:
            done((), ())
            return
        try:
            self._host.store.append(passing, done)
        except GaplessError as error:
            self._refuse(number, error)

    def _stop(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        """Refuse what was sent before whoever sent it could hear that what stood before it was refused."""
        for entry, outcome in zip(entries, outcomes, strict=True):
            refused = isinstance(outcome, GaplessError) and type(outcome) is not Unavailable
            if refused and entry.origin is not None:
                self._stopped[entry.origin, entry.stream] = None
        while len(self._stopped) > SHARED_CALLS_MAX:
            del self._stopped[next(iter(self._stopped))]


async def _no_care(why: str) -> None:
    raise NotAvailable(why)


def _merged(behind: Sequence[bool], outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    told = iter(outcomes)
    for stopped in behind:
        yield Unavailable("an earlier message of the same origin was refused") if stopped else next(told)
