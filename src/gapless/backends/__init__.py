"""Engines that keep the ports' promises: one module of this folder per URL scheme.

A module is imported when its scheme is first used, and has a class `Backend`, opened
with `await Backend.open(address, options)`, where `address` is the URL without its scheme (the whole of it
where one module has several, see SCHEMES); or with
`await open_shared(address, options)`, where several processes of a machine may have one store open.
Its `strongest(address)` tells the best durability class that it may have.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Final, Protocol, TypeVar

from msgspec import Struct

from gapless.core import limits
from gapless.core.errors import ConfigError, GaplessError, NotAvailable, StoreError, StoreRefused
from gapless.core.masking import masked_url
from gapless.core.stream import Done, Entry, Outcome
from gapless.ports import After, Checked, Compacted, Durability, Store, Timer
from gapless.sharing.remote import Listen

__all__ = [
    "FILE_MODE",
    "KEY_HOUR_MS",
    "Engine",
    "Held",
    "Offline",
    "Options",
    "Slices",
    "each",
    "load",
    "names",
    "offline",
    "open",
    "store_clock",
    "strongest",
    "tell",
]

# Files of a store, and copies of it, are their owner's alone: they hold what users wrote to each other.
FILE_MODE = 0o600

Item = TypeVar("Item")
Given = TypeVar("Given")

# The schemes of modules that are named otherwise, or have several.
SCHEMES: Final = {
    "redis": "redis",
    "rediss": "redis",
    "redis+sentinel": "redis",
    "redis+cluster": "redis",
    "gapless+unix": "remote",
    "gapless+tcp": "remote",
    "gapless+tls": "remote",
}

# Idempotency keys are forgotten together: all that were made within one such stretch of store time.
KEY_HOUR_MS = 3600 * 1000


# CLOCK_BOOTTIME goes on while a machine sleeps, CLOCK_MONOTONIC does not.
_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _elapsed_ns() -> int:
    return time.clock_gettime_ns(_STEADY)


def store_clock() -> Callable[[], int]:
    """Return a clock in milliseconds since the Unix epoch: the wall's time now, then one that never falls."""
    base_ns = time.time_ns() - _elapsed_ns()
    return lambda: (base_ns + _elapsed_ns()) // 1_000_000


def each(items: Iterable[Item], answer: Callable[[Item], Given]) -> list[Given | GaplessError]:
    """Answer each of several items, with what came of it or its error."""
    answers: list[Given | GaplessError] = []
    for item in items:
        try:
            answers.append(answer(item))
        except GaplessError as error:
            answers.append(error)
    return answers


def tell(
    loop: asyncio.AbstractEventLoop, told: Iterable[tuple[Sequence[Entry], Done, Sequence[Outcome]]]
) -> None:
    """Answer the appends of a commit in order; a callback that fails keeps no other from its answer."""
    for entries, done, outcomes in told:
        try:
            done(entries, outcomes)
        except Exception as error:
            loop.call_exception_handler({"message": "a callback of append failed", "exception": error})


def _token() -> str:
    return secrets.token_hex(8)


def _after(delay_ms: int, callback: Callable[[], object]) -> Timer:
    return asyncio.get_running_loop().call_later(delay_ms / 1000, callback)


def _ignore(error: StoreError) -> None:
    """Nobody asked to be told."""


class Options(Struct, frozen=True, kw_only=True):
    """What a backend is opened with: time, chance, who hears of its end, and its limits.

    `now_ms` is the store's clock (None: its own), `elapsed_ns` measures durations, `after` calls
    back when so many milliseconds have passed, `token` makes generation ids, `chance` (in [0, 1))
    spreads retries, `failed` is called once, on the loop, when the store had to close. Below
    `free_bytes_min` of free disk appends are refused; `ballast_bytes` is the size of the file that is
    given up then, so that reading and trimming go on. A store whose class can change while it runs takes
    nothing while that is below `durability_min`. One that is a file lets other machines join at `listen`.
    """

    now_ms: Callable[[], int] | None = None
    elapsed_ns: Callable[[], int] = _elapsed_ns
    after: After = _after
    token: Callable[[], str] = _token
    chance: Callable[[], float] = random.random
    failed: Callable[[StoreError], None] = _ignore
    message_bytes_max: int = limits.MESSAGE_BYTES_MAX
    writer_entries_max: int = limits.WRITER_ENTRIES_MAX
    writer_bytes_max: int = limits.WRITER_BYTES_MAX
    commit_entries_max: int = limits.COMMIT_ENTRIES_MAX
    commit_bytes_max: int = limits.COMMIT_BYTES_MAX
    keys_max: int = limits.IDEMPOTENCY_KEYS_MAX
    key_window_ms: int = limits.IDEMPOTENCY_WINDOW_MS
    generations_max: int = limits.GENERATIONS_MAX
    durability_min: Durability = Durability.MEMORY
    ballast_bytes: int = 64 * 1024 * 1024
    free_bytes_min: int = 16 * 1024 * 1024
    listen: Listen | None = None


Answer = TypeVar("Answer", covariant=True)
Slices = Generator[tuple[int, int], None, Answer]
"""Work in slices: after each it says how much is done, and of how much."""


class Held(StoreRefused):
    """Another process has the store open."""


class Offline(Protocol):
    """Care of a store that no process has open; each raises `Held` when one has."""

    def backup(self, to: str) -> Slices[None]:
        """Copy the store into one complete file, which is on the disk afterwards."""

    def check(self) -> Slices[Checked]:
        """Read every row and all of the file's structure."""

    def compact(self) -> Slices[Compacted]:
        """Give unused room back to the file system."""

    def restore(self, source: str, *, keep: bool) -> Slices[Checked]:
        """Check `source`, and put a copy of it in the store's place."""

    def adopt(self) -> tuple[str, int]:
        """Vouch for a store that was moved; return its generation, and how many messages it ever took."""


class Engine(Protocol):
    """What the class `Backend` of each module of this folder offers."""

    @classmethod
    async def open(cls, address: str, options: Options) -> Store:
        """Open the store at `address`; its callbacks run on the running loop."""


def names() -> list[str]:
    """List the modules of this folder: the engines."""
    return sorted(module.name for module in iter_modules(__path__))


def load(scheme: str) -> type[Engine]:
    """Import the backend of a scheme.

    Raises:
        ConfigError: there is no such backend.
    """
    engine: type[Engine] = _module(scheme).Backend
    return engine


def _module(scheme: str) -> ModuleType:
    """Import the module of a scheme.

    Raises:
        ConfigError: there is none, or a package that it needs is not installed.
    """
    module = SCHEMES.get(scheme, scheme)
    known = sorted({*SCHEMES, *names()} - (set(SCHEMES.values()) - set(SCHEMES)))
    if scheme not in known or module not in names():
        raise ConfigError(f"no store for the scheme {scheme!r}; there are {', '.join(known)}")
    try:
        return import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("gapless"):
            raise
        raise ConfigError(
            f"{scheme}: needs the package {error.name!r}: pip install 'gapless[{module}]'"
        ) from None


def offline(url: str) -> Offline:
    """Return what cares for the store that `url` names, as long as no process has it open.

    Raises:
        ConfigError: the scheme is unknown.
        NotAvailable: such a store is no file.
    """
    scheme, address = _split(url)
    kind: Callable[[str], Offline] | None = getattr(_module(scheme), "Offline", None)
    if kind is None:
        raise NotAvailable(f"{masked_url(url)} is no file: it is cared for with its engine's own tools")
    return kind(address)


def strongest(url: str) -> Durability:
    """Return the best durability class that the store may have which `url` names; opens nothing.

    Raises:
        ConfigError: the scheme is unknown, or it names no place.
    """
    scheme, address = _split(url)
    told: Callable[[str], Durability] = _module(scheme).strongest
    return told(address)


async def open(url: str, options: Options | None = None) -> Store:
    """Open the store that `url` names: `memory:`, `sqlite:path.db`, `redis://host:6379`.

    A file that another process has open is joined there, and taken over when that process ends.

    Raises:
        ConfigError: the scheme is unknown.
        StoreRefused: the store may not be opened as it is.
    """
    scheme, address = _split(url)
    engine = load(scheme)
    opening: Callable[[str, Options], Awaitable[Store]] = getattr(_module(scheme), "open_shared", engine.open)
    return await opening(address, options or Options())


def _split(url: str) -> tuple[str, str]:
    scheme, colon, address = url.partition(":")
    if not colon:
        raise ConfigError(
            f"{masked_url(url)!r} is no store URL; write memory:, sqlite:path.db or redis://host:6379"
        )
    return scheme, url if scheme in SCHEMES else address
