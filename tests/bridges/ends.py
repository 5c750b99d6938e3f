"""The two ends of a bridge, on virtual time: a Redis that tells what is published, a server that takes it."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Coroutine
from fnmatch import fnmatchcase
from functools import wraps
from random import Random
from typing import Any

import hiredis

from gapless.core.errors import BadRequest, GaplessError, OutcomeUnknown, Unavailable, UnknownChannel
from gapless.testing.clock import SimulatedClock
from gapless.testing.loop import VirtualLoop

MS_MAX = 3_600_000

Test = Callable[..., Coroutine[Any, Any, None]]


def on_virtual_time(test: Test) -> Callable[..., None]:
    """Run a test on a virtual loop; nothing may be raised unasked on it."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        loop = VirtualLoop(Random(1))
        try:
            loop.run_until_complete(test(*args, **kwargs))
            assert loop.failures == []
        finally:
            loop.close()

    return run


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def clock() -> SimulatedClock:
    return SimulatedClock(loop())


async def until(true: Callable[[], object]) -> None:
    """Let time pass until it is so."""
    while not true():
        assert loop().now_ms < MS_MAX
        await loop().pass_ms(1)


class Line:
    """One connection to the Redis."""

    def __init__(self, redis: "Redis", lost: Callable[[Any], object]) -> None:
        self.pushed: Callable[[Any], object] | None = None
        self.names: list[bytes] = []
        self.patterns: list[bytes] = []
        self._redis = redis
        self._lost = lost

    def say(self, *command: str) -> None:
        loop().call_soon(self._do, command)

    def _do(self, command: tuple[str, ...]) -> None:
        verb, *names = command
        if self._redis.is_deaf or self not in self._redis.lines:
            return
        if verb == "PING":
            self.push([b"pong", b""])
        elif self._redis.refuses:
            self.push(hiredis.ReplyError(self._redis.refuses))
        else:
            held = self.names if verb == "SUBSCRIBE" else self.patterns
            for name in names:
                held.append(name.encode())
                self.push([verb.lower().encode(), name.encode(), len(held)])

    def push(self, told: Any) -> None:
        assert self.pushed is not None
        self.pushed(told)

    def cut(self) -> None:
        if self in self._redis.lines:
            self._redis.lines.remove(self)
            self._lost(self)


class Redis:
    """As far as it publishes. `is_deaf` is one whose packets get lost; `refuses` is what it says instead."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.is_up = True
        self.is_deaf = False
        self.refuses = ""
        self.reached = 0

    async def reach(self, lost: Callable[[Any], object]) -> Any:
        await loop().pass_ms(1)
        if not self.is_up:
            raise Unavailable("Redis cannot be reached")
        self.reached += 1
        self.lines.append(Line(self, lost))
        return self.lines[-1]

    def publish(self, channel: str, payload: str | bytes) -> int:
        """Tell each subscription that fits; return how many do."""
        name, body = channel.encode(), payload.encode() if isinstance(payload, str) else payload
        told = 0
        for line in () if self.is_deaf else self.lines:
            if name in line.names:
                line.push([b"message", name, body])
                told += 1
            for pattern in line.patterns:
                if fnmatchcase(channel, pattern.decode()):
                    line.push([b"pmessage", pattern, name, body])
                    told += 1
        return told

    def drop(self) -> None:
        """Lose all connections."""
        for line in [*self.lines]:
            line.cut()


class Server:
    """Takes batches, as far as nothing is set that keeps it from that."""

    def __init__(self) -> None:
        self.held: dict[str, list[Any]] = defaultdict(list)
        self.requests: list[int] = []
        self.is_up = True
        self.loses_answers = False
        self.fails_at: int | None = None  # from this command of a batch on
        self.unknown_channels: set[str] = set()
        self.data_max = 1_000
        self._keys: set[str] = set()

    async def post(self, body: bytes) -> list[GaplessError | None]:
        await loop().pass_ms(3)
        if not self.is_up:
            raise Unavailable("it is away")
        commands = [command["publish"] for command in json.loads(body)["commands"]]
        self.requests.append(len(commands))
        if any(len(str(command)) > self.data_max * 2 for command in commands):
            raise BadRequest("the request is too large")
        outcomes = [self._take(index, command) for index, command in enumerate(commands)]
        if self.loses_answers:
            raise OutcomeUnknown("the answer was lost")
        return outcomes

    def _take(self, index: int, command: dict[str, Any]) -> GaplessError | None:
        if self.fails_at is not None and index >= self.fails_at:
            return Unavailable("the store is full")
        if command["channel"] in self.unknown_channels:
            return UnknownChannel("there is no such namespace")
        if command["idempotency_key"] not in self._keys:
            self._keys.add(command["idempotency_key"])
            self.held[command["channel"]].append(command.get("data", command.get("b64data")))
        return None
