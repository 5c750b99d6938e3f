"""A store that is asked in this process: `--url sqlite:app.db`, beside whoever has it open, or alone."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from typing import Any

import msgspec

from gapless.cli.calling import FILE, Server
from gapless.core.errors import MethodNotFound, UsageError
from gapless.library.local import Local, configured
from gapless.library.portal import portal, wait_on
from gapless.protocol.reading import ReplayedMessage

__all__ = ["nearby"]


@contextmanager
def nearby(url: str, config: Path | None) -> Iterator[Server]:
    """Open the store at `url` for what is asked in the body; another process that has it is joined.

    Raises:
        UsageError: there is no such file; none is made by looking.
        StoreRefused: it may not be opened as it is.
    """
    file = Path(url.removeprefix(FILE))
    if url.startswith(FILE) and not file.is_file():
        raise UsageError(f"--url: there is no file {str(file)!r}")
    local = Local(configured(url, config), SystemRandom())
    loop = portal().loop
    wait_on(loop, local.open())
    try:
        server = _Nearby(url)
        server.local = local
        yield server
    finally:
        wait_on(loop, local.close())


class _Nearby(Server):
    """Answers as a server would."""

    local: Local

    def ask(self, verb: str, request: Any, answer: type[Any]) -> Any:
        """See `Server.ask`."""
        return wait_on(portal().loop, self.local.call(verb, request))

    def lines(self, path: str, request: Any, *, pause_ms: int = 0) -> Iterator[bytes]:
        """See `Server.lines`."""
        if path != "/stream/replay":
            raise MethodNotFound(f"{path} is of a server")
        loop, told = portal().loop, self.local.replay(request)
        try:
            while together := wait_on(loop, _next(told)):
                yield from map(msgspec.json.encode, together)
        finally:
            wait_on(loop, told.aclose())


async def _next(told: AsyncGenerator[list[ReplayedMessage], None]) -> list[ReplayedMessage]:
    return await anext(told, [])
