"""The socket beside a file, at which processes of one user and machine join its owner."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from gapless.core.limits import OWNER_WAIT_MS
from gapless.ports import After
from gapless.sharing.link import Link

__all__ = ["greeted", "is_same_user", "reach", "short"]

# The longest path of a socket (unix(7)), less the byte that ends it.
PATH_BYTES_MAX: Final = 107
CREDENTIALS: Final = struct.Struct("3i")


def is_same_user(connected: Any) -> bool:
    """Tell whether the process at the other end is of this one's user."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the socket's mode lets nobody else in
    told = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return bool(CREDENTIALS.unpack(told)[1] == os.geteuid())


@contextmanager
def short(path: Path) -> Iterator[str]:
    """Return a name for a socket by which it can be bound or reached, however long its path.

    Raises:
        OSError: there is none.
    """
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = f"/proc/self/fd/{folder}/{path.name}"
        if len(os.fsencode(name)) > PATH_BYTES_MAX:
            raise OSError(f"the name {path.name} is too long for a socket")
        yield name
    finally:
        os.close(folder)


async def reach(path: Path, after: After, elapsed_ns: Callable[[], int]) -> Link | None:
    """Connect to the owner that listens at `path`; None: it says nothing.

    Raises:
        PermissionError: it is a process of another user.
        OSError: nobody listens there.
        StoreRefused: it is not understood.
    """
    joining = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with short(path) as name:
            joining.connect(name)
        if not is_same_user(joining):
            raise PermissionError
    except OSError:
        joining.close()
        raise
    make: Callable[[], Link] = partial(Link, after, elapsed_ns)
    _, link = await asyncio.get_running_loop().create_unix_connection(make, sock=joining)
    return await greeted(link, after)


async def greeted(link: Link, after: After) -> Link | None:
    """Wait for what an owner says first; None: nothing.

    Raises:
        StoreRefused: it is not understood, or not believed.
    """
    timer = after(OWNER_WAIT_MS, link.close)
    try:
        welcome = await link.welcome
    except BaseException:
        link.close()
        raise
    finally:
        timer.cancel()
    if welcome is None or link.is_closing:
        link.close()
        return None
    return link
