"""Where a backend under test keeps its data, and the few verbs that the promises are told in."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from gapless import backends
from gapless.backends import Options
from gapless.core.errors import GaplessError
from gapless.core.limits import PAGE_BYTES_MAX, PAGE_MESSAGES_MAX
from gapless.core.stream import Done, Entry, Head, Outcome, Page, Retention, Stored
from gapless.ports import Store, Streams

__all__ = [
    "FOREVER",
    "Place",
    "UrlPlace",
    "append",
    "entry",
    "fill",
    "head",
    "offsets",
    "promise",
    "put",
    "read",
]

START_MS = 1_800_000_000_000
FOREVER = Retention()


class Place(ABC):
    """Where a backend under test keeps its data, and the clock that it is opened with.

    A test may change `options` before it opens the store.
    """

    def __init__(self) -> None:
        self.time_ms = START_MS
        self.options: dict[str, Any] = {"now_ms": lambda: self.time_ms}

    @abstractmethod
    async def open(self) -> Store:
        """Open the store as a new process would, over whatever is there."""


class UrlPlace(Place):
    """A place that a URL names, and whose data outlive `close`."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    async def open(self) -> Store:
        """Open the store by its URL."""
        return await backends.open(self.url, Options(**self.options))


def entry(stream: str = "s", data: bytes = b"x", retention: Retention = FOREVER, **rest: Any) -> Entry:
    """Return an entry with everything but its stream and payload left out."""
    return Entry(stream, data, retention, **rest)


async def put(store: Streams, *entries: Entry) -> list[Outcome]:
    """Append entries in one go, and return what became of each."""
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[Outcome]] = []
    for one in entries:
        future: asyncio.Future[Outcome] = loop.create_future()
        futures.append(future)
        store.append([one], _resolve(future))
    return await asyncio.gather(*futures)


def _resolve(future: asyncio.Future[Outcome]) -> Done:
    return lambda _, outcomes: future.set_result(outcomes[0])


async def append(
    store: Streams, stream: str = "s", data: bytes = b"x", retention: Retention = FOREVER, **rest: Any
) -> Stored:
    """Append one message that must be accepted."""
    [outcome] = await put(store, entry(stream, data, retention, **rest))
    if isinstance(outcome, GaplessError):
        raise outcome
    return outcome


async def fill(store: Streams, stream: str, count: int, **rest: Any) -> None:
    """Append `count` messages, numbered from 1, that must be accepted."""
    for outcome in await put(store, *(entry(stream, b"%d" % n, **rest) for n in range(1, count + 1))):
        assert isinstance(outcome, Stored)


async def read(store: Streams, stream: str = "s", **rest: Any) -> Page:
    """Read one page of any size."""
    limits = {"limit_messages": PAGE_MESSAGES_MAX, "limit_bytes": PAGE_BYTES_MAX}
    return await store.read(stream, **limits | rest)


def offsets(page: Page) -> list[int]:
    """Return the offsets of a page's messages."""
    return [message.offset for message in page.messages]


async def head(store: Streams, stream: str = "s") -> Head:
    """Return where one stream stands."""
    return (await store.heads([stream])).heads[stream]


def promise(test: Callable[[Any, Place, Store], Awaitable[None]]) -> Callable[[Any, Place], None]:
    """Turn a coroutine that tests an opened store into a test."""

    def run(self: Any, place: Place) -> None:
        async def opened() -> None:
            store = await place.open()
            try:
                await test(self, place, store)
            finally:
                await store.close()

        asyncio.run(opened())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
