"""A store that another process owns, used as if this one did; which it does when that one dies."""

import asyncio
from abc import update_abstractmethods
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self, cast

from gapless.core.errors import (
    BadRequest,
    GaplessError,
    PositionConflict,
    StoreError,
    StoreFailed,
    TooManyRequests,
    Unavailable,
)
from gapless.core.groups import Commit
from gapless.core.limits import OWNER_LOOK_MS, OWNER_WAIT_MS, SHARED_CALLS_MAX, SHARED_FRAME_BYTES_MAX
from gapless.core.stream import Done, Entry, Message, Position
from gapless.ports import After, Bus, Checked, Compacted, Statistics, Store, Timer, Told
from gapless.sharing.calls import APPEND, CALLS, CARE, Call, Verb
from gapless.sharing.flight import Flight, Flown, Origins
from gapless.sharing.frames import (
    Answer,
    GiveUp,
    Leaving,
    Malformed,
    Progress,
    Ready,
    Refusal,
    Refused,
    Ring,
    Standing,
    Tell,
    frame,
)
from gapless.sharing.link import Link

__all__ = ["Find", "Joined"]

Find = Callable[[], Awaitable[Link | Store | None]]
"""Looks once for an owner, or becomes it; None: neither can be done now."""


class _JoinedBus(Bus):
    """The doorbell of a store that another process owns."""

    def __init__(self, store: "Joined") -> None:
        self._store = store
        self.heard: list[Callable[[str, Position, Message | None], None]] = []
        self.told: list[Callable[[bytes], None]] = []

    def ring(self, stream: str, last: Position, message: Message | None) -> None:
        self._store.ring(Ring(stream, last, message))

    def tell(self, told: bytes) -> None:
        self._store.tell(Tell(told))

    def hear(self, heard: Callable[[bytes], None]) -> None:
        self.told.append(heard)

    def was_told(self, told: bytes) -> None:
        for heard in self.told:
            heard(told)

    def listen(self, heard: Callable[[str, Position, Message | None], None]) -> None:
        self.heard.append(heard)

    def rung(self, stream: str, last: Position, message: Message | None) -> None:
        for heard in self.heard:
            heard(stream, last, message)


class Joined(Store):
    """Implements the ports over a `Link`, or hands on to the store that this process took over.

    What is in flight when the owner dies is asked again of the next one if a repeat does no harm, and is
    unknown otherwise. What is asked while there is none waits for up to OWNER_WAIT_MS.
    """

    shared = True
    bus: _JoinedBus

    def __init__(
        self,
        find: Find,
        after: After,
        *,
        elapsed_ns: Callable[[], int],
        entries_max: int,
        bytes_max: int,
        failed: Callable[[StoreError], None],
    ) -> None:
        self._find = find
        self._after = after
        self._elapsed_ns = elapsed_ns
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._own: Store | None = None
        self._error: StoreError | None = None
        self._flights: dict[int, Flight] = {}  # said to the owner
        self._waiting: list[Flight] = []  # for one
        self._number = 0
        self._load = Flown(entries_max, bytes_max)
        self._origins = Origins()
        self._heard: list[Callable[[str], object]] = []
        self._sweep: Timer | None = None
        self._seeking: asyncio.Task[None] | None = None
        self._handing: set[asyncio.Task[None]] = set()
        self._landed: asyncio.Future[None] | None = None
        self.bus = _JoinedBus(self)

    @classmethod
    def over(cls, link: Link, find: Find, after: After, **options: Any) -> Self:
        """Return the store at the other end of a link whose welcome was heard."""
        store = cls(find, after, **options)
        store._attach(link)
        return store

    @property
    def is_owner(self) -> bool:
        """Tell whether this process has taken the store over."""
        return self._own is not None

    # Calls --------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], done: Done) -> None:
        if self._own is not None:
            self._own.append(entries, done)
            return
        self._check_open()
        self._load.check(entries)
        marked = self._origins.marked(entries)
        landed = partial(self._appended, entries, marked, done)
        try:
            self._launch(Flight(APPEND, APPEND.kind(0, marked), landed, entries=entries))
        except BadRequest as error:
            self._origins.told(entries, marked, [error] * len(entries))
            raise

    def _appended(self, entries: Sequence[Entry], marked: Sequence[Entry], done: Done, answer: Any) -> None:
        outcomes = [answer] * len(entries) if isinstance(answer, GaplessError) else answer
        self._origins.told(entries, marked, outcomes)
        try:
            done(entries, outcomes)
        except Exception as error:
            context = {"message": "a callback of append failed", "exception": error}
            self._loop.call_exception_handler(context)

    async def call(self, verb: Verb, *args: Any, **kwargs: Any) -> Any:
        """Carry a call of the ports out where the store is."""
        if self._own is not None:
            return await getattr(self._own, verb.name)(*args, **kwargs)
        call = verb.kind(0, *args, **kwargs)
        try:
            return await self._say(verb, call)
        except Malformed as error:
            items = getattr(call, verb.items) if verb.items else ()
            if not items:
                raise
            return [_why(items[0], error)] if len(items) == 1 else await self._one_by_one(verb, call, items)

    async def _say(self, verb: Verb, call: Call) -> Any:
        self._check_open()
        future: asyncio.Future[Any] = self._loop.create_future()
        flight = Flight(verb, call, partial(_resolve, future))
        self._launch(flight)
        try:
            return await future
        except asyncio.CancelledError:
            self._give_up(flight)
            raise

    async def _one_by_one(self, verb: Verb, call: Call, items: Sequence[Any]) -> list[Any]:
        """Carry the items out that can be said, where not all can: each is answered for itself."""
        arguments = {one: getattr(call, one) for one in verb.arguments}
        answers: list[Any] = []
        for index, item in enumerate(items):
            arguments[verb.items] = [item]
            if arguments.get("request"):
                arguments["request"] = f"{getattr(call, 'request')}/{index}"  # noqa: B009
            answers += await self.call(verb, **arguments)
        return answers

    def _check_open(self) -> None:
        if self._error is not None:
            raise StoreFailed(str(self._error))
        if len(self._flights) + len(self._waiting) >= SHARED_CALLS_MAX:
            raise TooManyRequests(f"{SHARED_CALLS_MAX} calls wait for the process that owns the store")

    def _launch(self, flight: Flight) -> None:
        """Say a call to the owner, or keep it until there is one.

        Raises:
            BadRequest: it cannot be said.
        """
        self._number = flight.call.number = self._number + 1
        told = frame(flight.call)
        if len(told) > SHARED_FRAME_BYTES_MAX:
            raise BadRequest(f"a call has up to {SHARED_FRAME_BYTES_MAX} bytes")
        self._load.add(flight)
        if self._link is None or not self._link.takes_calls:
            self._keep(flight)
        else:
            self._flights[self._number] = flight
            self._link.say(told)

    def _keep(self, flight: Flight) -> None:
        flight.since_ns = self._elapsed_ns()
        self._waiting.append(flight)
        if self._sweep is None:
            self._sweep = self._after(OWNER_LOOK_MS, self._sweep_out)

    def _sweep_out(self) -> None:
        """Let nobody wait for an owner for too long."""
        self._sweep = None
        horizon_ns = self._elapsed_ns() - OWNER_WAIT_MS * 1_000_000
        late = [flight for flight in self._waiting if flight.since_ns <= horizon_ns]
        self._waiting = [flight for flight in self._waiting if flight.since_ns > horizon_ns]
        for flight in late:
            self._land(flight, flight.lost("the process that owns the store does not answer"))
        if self._waiting:
            self._sweep = self._after(OWNER_LOOK_MS, self._sweep_out)

    def _land(self, flight: Flight, answer: Any) -> None:
        self._load.remove(flight)
        flight.answer(answer)
        self._tell_if_landed()

    def _tell_if_landed(self) -> None:
        if self._landed is not None and not self._flights and not self._waiting:
            _resolve(self._landed, None)

    def _give_up(self, flight: Flight) -> bool:
        """Give a call up; tell whether an owner was told, who says how it ended."""
        if self._flights.get(flight.call.number) is flight and self._link is not None:
            self._link.say(frame(GiveUp(flight.call.number)))
            flight.is_given_up = True
            return True
        if flight in self._waiting:
            self._waiting.remove(flight)
            self._load.remove(flight)
            self._tell_if_landed()
        return False

    # What the owner says ------------------------------------------------------------------

    def _attach(self, link: Link) -> None:
        self._link = link
        welcome = link.welcome.result()
        assert welcome is not None
        self.durability = welcome.durability
        self._stand(welcome.standing)
        link.attach(self._hear, self._on_lost, self._on_silent, lambda: bool(self._flights))
        self._relaunch()

    def _relaunch(self) -> None:
        waiting, self._waiting = self._waiting, []
        for flight in waiting:
            self._load.remove(flight)
            self._launch(flight)

    def _stand(self, standing: Standing) -> None:
        self.epoch = standing.epoch
        self._statistics = standing.statistics

    def _hear(self, said: Any) -> None:
        match said:
            case Answer() | Refused():
                self._hear_answer(said)
            case Progress(number, done, total):
                flight = self._flights.get(number)
                if flight is not None and flight.told is not None:
                    flight.told(done, total)
            case Standing():
                self._stand(said)
            case Ring(stream, last, message):
                self.bus.rung(stream, last, message)
            case Tell(told):
                self.bus.was_told(told)
            case Ready(queue):
                self._wake(queue)
            case Leaving(taken):
                self._on_leaving(taken)

    def _hear_answer(self, said: Answer | Refused) -> None:
        flight = self._flights.pop(said.number, None)
        if flight is None:
            return
        if isinstance(said, Refused):
            self._land(flight, said.refusal.error())
        else:
            self._land(flight, _understood(flight.verb.answer(said.result)))

    def _wake(self, queue: str) -> None:
        for heard in self._heard:
            self._loop.call_soon(heard, queue)

    def _on_silent(self) -> None:
        """Nothing is heard of the owner: it may be stopped, and go on later with what it was told."""
        flights, self._flights = self._flights, {}
        for flight in flights.values():
            flight.was_said = True
            self._land(flight, flight.lost("the process that owns the store does not answer"))

    def _on_leaving(self, taken: int) -> None:
        """The owner closes the store: what it has not begun is asked of the next one."""
        assert self._link is not None
        self._link.is_leaving = True
        for number in [number for number in self._flights if number > taken]:
            flight = self._flights.pop(number)
            if flight.is_given_up:
                self._land(flight, flight.lost("the process that owned the store has closed it"))
            else:
                self._keep(flight)

    def _on_lost(self) -> None:
        self._link = None
        flights, self._flights = self._flights, {}
        later, self._waiting = self._waiting, []
        failed: set[tuple[int, str]] = set()
        for flight in flights.values():
            flight.was_said = True
            if flight.is_repeatable() and not (flight.is_given_up or flight.is_behind(failed)):
                self._keep(flight)
            else:
                failed |= flight.lanes()
                self._land(flight, flight.lost("the process that owned the store is gone"))
        for flight in later:
            if flight.is_behind(failed):
                self._land(flight, Unavailable("an earlier message of the same origin failed"))
            else:
                self._waiting.append(flight)
        if self._error is None:
            self._seeking = self._loop.create_task(self._seek())
        else:
            self._fail(self._error)
            self._tell_if_landed()

    # Another owner ------------------------------------------------------------------------

    async def _seek(self) -> None:
        while self._error is None:
            try:
                found = await self._find()
            except StoreError as error:
                self._fail(error)
                self._failed(error)
                return
            if isinstance(found, Link):
                self._attach(found)
                return
            if found is not None:
                self._take_over(found)
                return
            pause = self._loop.create_future()
            timer = self._after(OWNER_LOOK_MS, partial(_resolve, pause, None))
            try:
                await pause
            finally:
                timer.cancel()

    def _take_over(self, store: Store) -> None:
        self._own = store
        self.epoch, self.durability = store.epoch, store.durability
        store.shared = True
        store.hear_ready(self._wake)
        if store.bus is not None:
            store.bus.listen(self.bus.rung)
            store.bus.hear(self.bus.was_told)
        waiting, self._waiting = self._waiting, []
        for flight in waiting:
            if flight.entries is not None:  # now: what is appended in this very turn comes after it
                self._append_waiting(store, flight, flight.entries)
                continue
            task = self._loop.create_task(self._hand_on(store, flight))
            self._handing.add(task)
            task.add_done_callback(self._handing.discard)

    def _append_waiting(self, store: Store, flight: Flight, entries: Sequence[Entry]) -> None:
        try:
            store.append(entries, lambda _, outcomes: self._land(flight, outcomes))
        except GaplessError as error:
            self._land(flight, error)

    async def _hand_on(self, store: Store, flight: Flight) -> None:
        answer: Any
        try:
            answer = await getattr(store, flight.verb.name)(**flight.arguments())
        except GaplessError as error:
            answer = error
        self._land(flight, answer)

    def ring(self, ring: Ring) -> None:
        """Tell the others of an append. What is behind with writing rings for nobody: it is a hint."""
        if self._own is not None and self._own.bus is not None:
            self._own.bus.ring(ring.stream, ring.last, ring.message)
        elif self._link is not None and not self._link.is_full:
            self._link.say(frame(ring))

    def tell(self, tell: Tell) -> None:
        """Tell the others something, as surely as a ring."""
        if self._own is not None and self._own.bus is not None:
            self._own.bus.tell(tell.told)
        elif self._link is not None and not self._link.is_full:
            self._link.say(frame(tell))

    # Care ---------------------------------------------------------------------------------

    async def aside(self, name: str) -> str:
        path: str = await self.call(CARE["aside"], name)
        return path

    async def free_bytes(self) -> int:
        count: int = await self.call(CARE["free_bytes"])
        return count

    async def backup(self, to: str, told: Told) -> None:
        await self._care("backup", told, to=to)

    async def check(self, told: Told) -> Checked:
        checked: Checked = await self._care("check", told)
        return checked

    async def compact(self, told: Told) -> Compacted:
        compacted: Compacted = await self._care("compact", told)
        return compacted

    async def restore(self, source: str, *, keep: bool, told: Told) -> None:
        await self._care("restore", told, source=source, keep=keep)

    async def _care(self, name: str, told: Told, **arguments: Any) -> Any:
        """Have the owner care for the file. Who gives up hears how it ended, as with a store of its own."""
        if self._own is not None:
            return await getattr(self._own, name)(**arguments, told=told)
        self._check_open()
        future: asyncio.Future[Any] = self._loop.create_future()
        verb = CARE[name]
        flight = Flight(verb, verb.kind(0, **arguments), partial(_resolve, future), told=told)
        self._launch(flight)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if self._give_up(flight):
                with suppress(GaplessError):
                    return await future
            raise

    # The rest of the ports ----------------------------------------------------------------

    def statistics(self) -> Statistics:
        return self._statistics if self._own is None else self._own.statistics()

    def hear_ready(self, heard: Callable[[str], object]) -> None:
        self._heard.append(heard)

    def _fail(self, error: StoreError) -> None:
        self._error = self._error or error
        waiting, self._waiting = self._waiting, []
        for flight in waiting:
            self._land(flight, flight.lost(str(error)))

    async def close(self) -> None:
        if self._error is None:
            self._error = StoreFailed("the store is closed")
            if self._link is not None and (self._flights or self._waiting):
                self._landed = self._loop.create_future()
                await self._landed
            await self._end_seeking()
            self._fail(self._error)
            if self._link is not None:
                self._link.close()
        if self._handing:
            await asyncio.wait(self._handing)
        if self._own is not None:
            await self._own.close()

    async def _end_seeking(self) -> None:
        if self._seeking is not None and not self._seeking.done():
            self._seeking.cancel()
            await asyncio.wait([self._seeking])


def _why(item: Any, error: Malformed) -> GaplessError:
    """Return what the store would say of an item that cannot even be said to it."""
    if isinstance(item, Commit):
        try:
            frame(item.position)
        except Malformed:
            return PositionConflict("it is no position of this store")
    return error


def _understood(result: Any) -> Any:
    if isinstance(result, list):
        return [one.error() if isinstance(one, Refusal) else one for one in result]
    return result


def _resolve(future: "asyncio.Future[Any]", result: Any) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)


def _method(verb: Verb) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def method(self: Joined, *args: Any, **kwargs: Any) -> Any:
        return await self.call(verb, *args, **kwargs)

    method.__name__ = verb.name
    return method


for _verb in CALLS.values():
    setattr(Joined, _verb.name, _method(_verb))
update_abstractmethods(cast("type[object]", Joined))
