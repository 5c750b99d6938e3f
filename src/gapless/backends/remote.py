"""A store that another process has open: joined at its socket or, over TCP, with a key; never owned.

- `gapless+unix:app.db.sock`, `gapless+unix:///srv/app.db.sock`: on this machine, by the same user
- `gapless+tcp://:key@host:7800`: elsewhere, where `store.listen` says so; not encrypted
- `gapless+tls://:key@host:7800?ca_file=ca.pem`: the same over TLS; `cert_file` and `key_file` show who comes
"""

import asyncio
import logging
import ssl
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, Never, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from gapless.backends import Held, Options, Slices
from gapless.core.errors import ConfigError, GaplessError, StoreRefused, Unavailable
from gapless.core.limits import OWNER_WAIT_MS, REMOTE_LOOK_MS, REMOTE_LOOK_MS_MAX
from gapless.ports import Durability, Store
from gapless.sharing.joined import Joined
from gapless.sharing.link import Link
from gapless.sharing.local import greeted, reach
from gapless.sharing.remote import RemoteLink

__all__ = ["Backend", "Offline", "strongest"]

log: Final = logging.getLogger("gapless.store")

Result = TypeVar("Result")

UNIX: Final = "gapless+unix"
TLS: Final = "gapless+tls"
FILES: Final = ("ca_file", "cert_file", "key_file")


class Place(Struct, frozen=True):
    """Where a store is joined: a socket's `path`, or a host and port. `name` is the URL without the key."""

    name: str
    path: Path | None = None
    host: str = ""
    port: int = 0
    key: bytes = b""
    tls: ssl.SSLContext | None = None


def strongest(address: str) -> Durability:
    """See `backends.strongest`: the class is the owner's."""
    place_of(address)
    return Durability.QUORUM


def place_of(url: str) -> Place:
    """Read a URL.

    Raises:
        ConfigError: it names no place, or no key where one is needed, or a file that cannot be read.
    """
    scheme, _, rest = url.partition(":")
    if scheme == UNIX:
        path = rest.removeprefix("//")
        if not path:
            raise ConfigError(f"{url!r} names no socket; write {UNIX}:app.db.sock")
        return Place(url, path=Path(path).absolute())
    try:
        parts = urlsplit(url)
        host, port, query = parts.hostname, parts.port, dict(parse_qsl(parts.query, strict_parsing=False))
    except ValueError as error:
        raise ConfigError(f"{scheme}: {error}") from error
    example = f"{scheme}://:KEY@host:7800"
    if not host or not port or parts.path.strip("/") or parts.username:
        raise ConfigError(f"a store is joined at {example}")
    if not parts.password:
        raise ConfigError(f"{scheme}://{host}:{port} needs the key (store.listen_key there): write {example}")
    name = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    unknown = sorted(set(query) - set(FILES if scheme == TLS else ()))
    if unknown:
        raise ConfigError(f"{name}: has no option {unknown[0]!r}")
    tls = _tls(name, query) if scheme == TLS else None
    return Place(name, host=host, port=port, key=unquote(parts.password).encode(), tls=tls)


def _tls(name: str, query: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=query.get("ca_file"))
        if "cert_file" in query:
            context.load_cert_chain(query["cert_file"], query.get("key_file"))
    except OSError as error:
        raise ConfigError(f"{name}: a file of it cannot be used: {error.strerror or error}") from error
    return context


class Backend:
    """Opens what `Joined` is then."""

    @classmethod
    async def open(cls, address: str, options: Options) -> Store:
        """Join the store.

        Raises:
            ConfigError: see `place_of`.
            StoreRefused: nobody answers there, or it may not be joined.
        """
        reaching = Reaching(place_of(address), options)
        link = await reaching.first()
        log.info("joined the store at %s", reaching.place.name)
        return Joined.over(
            link,
            reaching.again,
            options.after,
            elapsed_ns=options.elapsed_ns,
            entries_max=options.writer_entries_max,
            bytes_max=options.writer_bytes_max,
            failed=options.failed,
        )


class Reaching:
    """Connects to one place, as often as it has to."""

    def __init__(self, place: Place, options: Options) -> None:
        self.place = place
        self._options = options
        self._look_ms = REMOTE_LOOK_MS
        self._told = ""

    async def first(self) -> Link:
        """Connect for the first time; who is about to start is waited for.

        Raises:
            StoreRefused: nobody answers there, or it may not be joined.
        """
        options = self._options
        began_ns = options.elapsed_ns()
        while True:
            try:
                return await self._reach()
            except StoreRefused as error:
                raise StoreRefused(f"{self.place.name}: {error}") from error
            except Unavailable as error:
                if options.elapsed_ns() - began_ns > OWNER_WAIT_MS * 1_000_000:
                    raise StoreRefused(f"{self.place.name}: {error}") from error
            await self._pause()

    async def again(self) -> Link | None:
        """Connect again; None: it cannot be done now, for whatever reason, which may pass."""
        try:
            link = await self._reach()
        except GaplessError as error:
            if str(error) != self._told:
                self._told = str(error)
                log.error("%s cannot be joined again: %s", self.place.name, error)
            await self._pause()
            return None
        log.warning("joined the store at %s again", self.place.name)
        self._told, self._look_ms = "", REMOTE_LOOK_MS
        return link

    async def _pause(self) -> None:
        """Wait a little, and longer each time, but not all for the same time."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        pause_ms = round(self._look_ms * (0.5 + self._options.chance()))
        self._look_ms = min(REMOTE_LOOK_MS_MAX, 2 * self._look_ms)
        timer = self._options.after(pause_ms, partial(over.set_result, None))
        try:
            await over
        finally:
            timer.cancel()

    async def _reach(self) -> Link:
        place, options = self.place, self._options
        try:
            if place.path is not None:
                link = await reach(place.path, options.after, options.elapsed_ns)
            else:
                link = await self._within_time(self._over_tcp())
        except PermissionError:
            raise StoreRefused("it is a process of another user") from None
        except ssl.SSLCertVerificationError as error:
            raise StoreRefused(f"its certificate is not trusted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise StoreRefused(f"TLS cannot be agreed on: {error.reason or error}") from error
        except OSError as error:
            raise Unavailable(f"nobody answers there: {error.strerror or error}") from error
        if link is None:
            raise Unavailable("who listens there says nothing")
        return link

    async def _over_tcp(self) -> Link | None:
        place, options = self.place, self._options
        nonce = (options.token() + options.token()).encode()
        _, link = await asyncio.get_running_loop().create_connection(
            partial(RemoteLink, options.after, options.elapsed_ns, place.key, nonce),
            place.host,
            place.port,
            ssl=place.tls,
        )
        return await greeted(link, options.after)

    async def _within_time(self, work: Coroutine[Any, Any, Result]) -> Result:
        task = asyncio.get_running_loop().create_task(work)
        timer = self._options.after(OWNER_WAIT_MS, task.cancel)
        try:
            await asyncio.wait((task,))
        finally:
            timer.cancel()
            task.cancel()
        if task.cancelled():
            raise Unavailable(f"nobody answers there within {OWNER_WAIT_MS} ms")
        return task.result()


class Offline:
    """A store that is another process's: that one is asked for whatever is to be done with it."""

    def __init__(self, address: str) -> None:
        self._name = place_of(address).name

    def _held(self, *args: Any, **kwargs: Any) -> Never:
        raise Held(f"{self._name} is open in another process")

    def _later(self, *args: Any, **kwargs: Any) -> Slices[Any]:
        yield self._held()

    backup = check = compact = restore = _later
    adopt = _held
