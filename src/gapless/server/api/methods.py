"""Carries out the methods of the server API, whatever brought them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from gapless.broker.broker import Broker
from gapless.core.errors import BadRequest, GaplessError, LimitExceeded, MethodNotFound, NotAvailable
from gapless.core.limits import (
    API_ANSWER_BYTES_MAX,
    API_ITEMS_MAX,
    API_LOOKS_MAX,
    COMMIT_BYTES_MAX,
    COMMIT_ENTRIES_MAX,
)
from gapless.core.stream import Done, Entry, Position, Stored
from gapless.core.stream import Outcome as Appended
from gapless.server.api import plain
from gapless.server.api.calls import Answering, Outcome, Told, Work, error_body, telling, text
from gapless.server.api.requests import (
    BatchRequest,
    BroadcastRequest,
    Command,
    Content,
    PublishRequest,
)
from gapless.server.api.verbs import Verb

__all__ = ["Api"]

Payload = tuple[bytes, bytes, bool]  # data, what is stored beside it, whether it is not JSON


class Api:
    """The methods by name: those that publish, and `others`, each with what it is asked."""

    def __init__(self, broker: Broker, others: Mapping[str, tuple[type[Any], Answering]]) -> None:
        self._broker = broker
        methods: dict[str, tuple[type[Any], Callable[[Any, Told], Work | None]]] = {
            "publish": (PublishRequest, self.publish),
            "broadcast": (BroadcastRequest, self.broadcast),
            "batch": (BatchRequest, self.batch),
            **{name: (kind, telling(method)) for name, (kind, method) in others.items()},
        }
        self._verbs = {name: method for name, (_, method) in others.items() if isinstance(method, Verb)}
        self._runs = {name: run for name, (_, run) in methods.items()}
        self._decoders = {name: msgspec.json.Decoder(kind).decode for name, (kind, _) in methods.items()}

    @property
    def methods(self) -> Iterable[str]:
        """Return the names of all methods."""
        return self._runs

    def call(self, method: str, body: bytes, told: Told) -> Work | None:
        """Carry out a call; `told` hears of the outcome once. Returns what is left to await, if anything.

        Raises:
            MethodNotFound: there is no such method.
            BadRequest: the body is not what the method takes.
        """
        if method == "batch" and self._publish_plain(body, told):
            return None
        request = self.asked(method, body)
        return self._runs[method](request, told)

    def call_as(self, who: str, method: str, request: Any, told: Told) -> Work | None:
        """Do as `call` with what `asked` returned; it is `who` that did it, where that is recorded."""
        verb = self._verbs.get(method)
        if verb is not None:
            return telling(partial(verb, who=who))(request, told)
        return self._runs[method](request, told)

    def asked(self, method: str, body: bytes) -> Any:
        """Return what a call asks for; raises as `call` does."""
        decode = self._decoders.get(method)
        if decode is None:
            raise MethodNotFound(f"there is no method {method!r}")
        try:
            if not body.isascii():
                body.decode()  # what is published goes out as it is
            return decode(body or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(f"malformed request: {error}") from error
        except RecursionError as error:
            raise BadRequest("malformed request: nested too deep") from error

    # Publications -------------------------------------------------------------------------

    def publish(self, request: PublishRequest, told: Told) -> None:
        """Tell `offset` and `epoch` once the message is stored; neither where there is no history."""
        try:
            entry = self._entry(request.channel, request, request.payload())
            self._broker.append((entry,), partial(_published, told))
        except GaplessError as error:
            told(error)

    def _entry(self, channel: str, content: Content, payload: Payload) -> Entry:
        data, beside, binary = payload
        entry = self._broker.entry(
            channel,
            data,
            meta=beside,
            binary=binary,
            key=content.idempotency_key or None,
            skip_history=content.skip_history or False,
        )
        if content.version:
            entry.version = content.version
            entry.version_epoch = content.version_epoch or ""
        if content.expected is not None:
            if entry.transient:
                raise NotAvailable(f"channel {channel!r} keeps no history of this, so it has no position")
            entry.expected = Position(content.expected.epoch, content.expected.offset)
        return entry

    def _append(self, entries: Sequence[Entry], take: Done, together: int = COMMIT_ENTRIES_MAX) -> None:
        """Append entries, so many to a commit, and take their outcomes; a refusal stops what follows."""
        for start in range(0, len(entries), together):
            try:
                self._broker.append(entries[start : start + together], take)
            except GaplessError as error:
                take(entries[start:], [error] * (len(entries) - start))
                return

    def broadcast(self, request: BroadcastRequest, told: Told) -> None:
        """Tell a response for each channel, in the order of the request."""
        if not 0 < len(request.channels) <= API_ITEMS_MAX:
            told(BadRequest(f"a broadcast goes to 1 to {API_ITEMS_MAX} channels"))
            return
        try:
            payload = request.payload()
        except GaplessError as error:
            told(error)
            return
        responses = _Collection(len(request.channels), lambda all: told(b'{"responses":[%b]}' % all))
        take = partial(responses.take_stored, b"result")
        entries: list[Entry] = []
        for index, channel in enumerate(request.channels):
            try:
                entry = self._entry(channel, request, payload)
                entry.context = index
                entries.append(entry)
            except GaplessError as error:
                responses.take(index, b"", error)
        together = max(1, min(COMMIT_ENTRIES_MAX, COMMIT_BYTES_MAX // len(payload[0])))
        self._append(entries, take, together)

    # Batches ------------------------------------------------------------------------------

    def _publish_plain(self, body: bytes, told: Told) -> bool:
        """Carry out a plain batch. False, and nothing is done, if it is none or a publication is refused."""
        try:
            if not body.isascii():
                body.decode()
            entries = plain.entries(body, self._broker.plain_entry)
            if entries is not None:
                self._broker.append(entries, partial(_published_plain, told))
        except (GaplessError, UnicodeDecodeError, RecursionError):
            return False
        return entries is not None

    def batch(self, request: BatchRequest, told: Told) -> Work | None:
        """Tell a reply for each command, in the order of the request.

        Publications join the writer's queue in that order without waiting for each other; what looks or acts
        is begun when all before it is done, unless the batch is parallel; beyond API_ANSWER_BYTES_MAX of
        replies it is refused.
        """
        commands = request.commands
        if len(commands) > API_ITEMS_MAX:
            raise BadRequest(f"a batch has up to {API_ITEMS_MAX} commands")
        replies = _Collection(len(commands), lambda all: told(b'{"replies":[%b]}' % all))
        if not request.parallel and any(map(_must_wait, commands)):
            return self._in_order(commands, replies)
        others: list[tuple[int, Command]] = []
        entries: list[Entry] = []
        take = partial(replies.take_stored, b"publish")
        for index, command in enumerate(commands):
            publication = command.publish
            if publication is not None:
                try:
                    entry = self._entry(publication.channel, publication, publication.payload())
                    entry.context = index
                    entries.append(entry)
                except GaplessError as error:
                    replies.take(index, b"", error)
                continue
            self._append(entries, take)
            entries = []
            if _must_wait(command):
                others.append((index, command))
            else:
                self._begin(command, partial(replies.take, index))
        self._append(entries, take)
        return self._at_once(others, replies) if others else None

    def _begin(self, command: Command, take: Callable[[bytes, Outcome], object]) -> Work | None:
        for field, name in zip(command.__struct_fields__, command.__struct_encode_fields__, strict=True):
            request = getattr(command, field)
            if request is not None and name in self._runs:
                return self._runs[name](request, partial(take, name.encode()))
        methods = [name for name in command.__struct_encode_fields__ if name in self._runs]
        take(b"", MethodNotFound(f"in a batch a command has one of {', '.join(methods)}"))
        return None

    async def _in_order(self, commands: Sequence[Command], replies: "_Collection") -> None:
        for index, command in enumerate(commands):
            await self._reply(index, command, replies)

    async def _at_once(self, commands: Sequence[tuple[int, Command]], replies: "_Collection") -> None:
        for first in range(0, len(commands), API_LOOKS_MAX):
            turn = commands[first : first + API_LOOKS_MAX]
            await asyncio.gather(*(self._reply(index, command, replies) for index, command in turn))

    async def _reply(self, index: int, command: Command, replies: "_Collection") -> None:
        if replies.are_long and _must_wait(command):
            replies.take(index, b"", LimitExceeded(f"an answer has up to {API_ANSWER_BYTES_MAX} bytes"))
            return
        reply: asyncio.Future[tuple[bytes, Outcome]] = asyncio.get_running_loop().create_future()
        work = self._begin(command, partial(_keep, reply))
        if work is not None:
            await work
        replies.take(index, *await reply)


class _Collection:
    """Results that come in any order, and are told together in theirs."""

    __slots__ = ("_bytes", "_missing", "_parts", "_told")

    def __init__(self, count: int, told: Callable[[bytes], object]) -> None:
        self._bytes = 0
        self._missing = count
        self._parts = [b""] * count
        self._told = told
        if not count:
            told(b"")

    def take_stored(self, name: bytes, entries: Sequence[Entry], outcomes: Sequence[Appended]) -> None:
        parts = self._parts
        for entry, outcome in zip(entries, outcomes, strict=True):
            if type(outcome) is Stored and outcome.offset:
                at = outcome.offset, text(outcome.epoch)
                parts[entry.context] = b'{"%b":{"offset":%d,"epoch":%b}}' % (name, *at)
            else:
                parts[entry.context] = _part(name, _result(outcome))
        self._taken(len(entries))

    @property
    def are_long(self) -> bool:
        """Tell whether no more should be looked up for them."""
        return self._bytes >= API_ANSWER_BYTES_MAX

    def take(self, index: int, name: bytes, outcome: Outcome) -> None:
        part = self._parts[index] = _part(name, outcome)
        self._bytes += len(part)
        self._taken(1)

    def _taken(self, count: int) -> None:
        self._missing -= count
        if count and not self._missing:
            self._told(b",".join(self._parts))


def _must_wait(command: Command) -> bool:
    return command.publish is None and command.broadcast is None


def _part(name: bytes, outcome: Outcome) -> bytes:
    if isinstance(outcome, bytes):
        return b'{"%b":%b}' % (name, outcome)
    return b'{"error":%b}' % error_body(outcome)


def _keep(reply: asyncio.Future[tuple[bytes, Outcome]], name: bytes, outcome: Outcome) -> None:
    reply.set_result((name, outcome))


def _published(told: Told, entries: Sequence[Entry], outcomes: Sequence[Appended]) -> None:
    told(_result(outcomes[0]))


def _published_plain(told: Told, entries: Sequence[Entry], outcomes: Sequence[Appended]) -> None:
    replies = plain.replies(outcomes)
    if replies is None:
        replies = b",".join([_part(b"publish", _result(outcome)) for outcome in outcomes])
    told(b'{"replies":[%b]}' % replies)


def _result(outcome: Appended) -> Outcome:
    if isinstance(outcome, GaplessError):
        return outcome
    if not outcome.offset:
        return b"{}"
    return b'{"offset":%d,"epoch":%b}' % (outcome.offset, text(outcome.epoch))
