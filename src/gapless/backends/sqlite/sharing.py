"""One file, several processes: the first owns it, the others join it at `<file>.sock` (semantics 7).

The lock of the witness decides who owns the file. Only who holds it makes or removes the socket, so one that
is there while nobody answers was left by a process that died, and is replaced by the next owner.
"""

import asyncio
import logging
import os
import socket
from functools import partial
from pathlib import Path
from typing import Final, Self

from msgspec.structs import replace

from gapless.backends import Held, Options
from gapless.backends.sqlite.backend import Backend
from gapless.backends.sqlite.opening import beside
from gapless.backends.sqlite.writer import Queued
from gapless.core.errors import StoreError, StoreRefused, Unavailable
from gapless.core.limits import OWNER_LOOK_MS, OWNER_WAIT_MS
from gapless.ports import Store
from gapless.sharing.joined import Joined
from gapless.sharing.link import Link
from gapless.sharing.local import is_same_user, reach, short
from gapless.sharing.remote import Gate
from gapless.sharing.serving import Host, OwnersBus

__all__ = ["Owner", "open_shared"]

log: Final = logging.getLogger("gapless.store")

SOCKET: Final = ".sock"
# A socket is bound to this name first: the other one names only what is listened on.
SOCKET_NEW: Final = ".sock-new"
BACKLOG: Final = 256


class Owner(Backend):
    """The store of the process that has the file open, and serves it to others."""

    bus: OwnersBus
    _host: Host
    _listening: socket.socket
    _server: asyncio.AbstractServer | None = None
    gate: Gate | None = None

    @classmethod
    async def open(cls, address: str, options: Options, vfs: str | None = None) -> Self:
        """Open the file, or make it, and listen for those who want to join.

        Raises:
            ConfigError, StoreRefused: see `Backend.open`.
            Held: another process has it open.
            Unavailable: other machines cannot join at `options.listen`.
        """
        store = await super().open(address, options, vfs)
        store.bus = OwnersBus()
        store._host = Host(
            store,
            store.bus,
            _identity(store._path),
            os.getpid(),
            after=options.after,
            elapsed_ns=options.elapsed_ns,
            statistics=store.counts,
            may_join=is_same_user,
        )
        try:
            await store._listen()
        except OSError as error:
            log.warning("other processes cannot join %s: %s", store._path, error.strerror or error)
        if options.listen is not None:
            store.gate = Gate(store._host, options.listen, partial(_nonce, options))
            try:
                await store.gate.open()
            except OSError as error:
                await store.close()
                where = f"{options.listen.host}, port {options.listen.port}"
                raise Unavailable(
                    f"store.listen: cannot listen on {where}: {error.strerror or error}"
                ) from error
        return store

    async def _listen(self) -> None:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        new, path = beside(self._path, SOCKET_NEW), beside(self._path, SOCKET)
        try:
            new.unlink(missing_ok=True)
            with short(new) as name:
                listening.bind(name)
            new.chmod(0o600)
            listening.listen(BACKLOG)
            new.rename(path)
            self._listening = listening
            self._server = await self._loop.create_unix_server(self._host.guest, sock=listening)
        except BaseException:
            listening.close()
            path.unlink(missing_ok=True)
            raise

    def _stop_listening(self) -> None:
        if self.gate is not None:
            self.gate.close()
        if self._server is not None:
            beside(self._path, SOCKET).unlink(missing_ok=True)
            self._server.close()
            self._server = None

    def _on_forsaken(self) -> None:
        if self.gate is not None:
            self.gate.forsake()
        if self._server is not None:
            beside(self._path, SOCKET).unlink(missing_ok=True)
            self._listening.close()

    async def close(self) -> None:
        self._stop_listening()
        self._host.part()
        await super().close()
        await self._host.close()

    def _on_ended(self, in_flight: list[Queued], error: StoreError | None) -> None:
        super()._on_ended(in_flight, error)
        if error is not None and hasattr(self, "_host"):  # and was not given up while it was opened
            self._stop_listening()
            self._ending = self._loop.create_task(self._host.close())


def _nonce(options: Options) -> bytes:
    return (options.token() + options.token()).encode()


def _absolute(address: str) -> Path:
    return Path(address).absolute()


def _identity(path: Path) -> tuple[int, int]:
    """Name the file whose lock makes a process the owner."""
    found = beside(path, ".witness").stat()
    return found.st_dev, found.st_ino


async def open_shared(address: str, options: Options) -> Store:
    """Open the file `address`, or join the process that has it open.

    Raises:
        ConfigError: there is no file name.
        StoreRefused: the file may not be opened as it is, or is open in a process that cannot be joined.
    """
    look = partial(_look, address, options)
    began_ns = options.elapsed_ns()
    while True:
        try:
            return await Owner.open(address, options)
        except Held as error:
            link = await _join(address, options)
            if link is None and options.elapsed_ns() - began_ns > OWNER_WAIT_MS * 1_000_000:
                raise StoreRefused(f"{error}, which cannot be joined") from error
        if link is not None:
            log.info("%s is open in another process: joined it", _absolute(address))
            return Joined.over(
                link,
                look,
                options.after,
                elapsed_ns=options.elapsed_ns,
                entries_max=options.writer_entries_max,
                bytes_max=options.writer_bytes_max,
                failed=options.failed,
            )
        await _pause(options, OWNER_LOOK_MS)


async def _look(address: str, options: Options) -> Link | Store | None:
    """Become the owner, or join it; None: neither can be done now."""
    try:
        store = await Owner.open(address, options)
    except Held:
        return await _join(address, options)
    except Unavailable as error:
        if options.listen is None or isinstance(error, StoreError):
            raise
        log.error("%s", error)
        return await _look(address, replace(options, listen=None))
    log.warning("the process that owned %s is gone: this one goes on with it", _absolute(address))
    return store


async def _join(address: str, options: Options) -> Link | None:
    """Connect to the process that has the file open; None: it does not answer (yet, or any more).

    Raises:
        StoreRefused: this process may not join it, or does not understand it.
    """
    path = _absolute(address)
    try:
        link = await reach(beside(path, SOCKET), options.after, options.elapsed_ns)
    except PermissionError:
        raise StoreRefused(f"{path} is open in a process of another user") from None
    except OSError:
        return None
    welcome = link.welcome.result() if link is not None else None
    if link is not None and (welcome is None or welcome.identity != _identity(path)):
        link.close()
        return None
    return link


async def _pause(options: Options, pause_ms: int) -> None:
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = options.after(pause_ms, partial(over.set_result, None))
    try:
        await over
    finally:
        timer.cancel()
