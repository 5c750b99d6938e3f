"""Users who are to have one connection: whoever connects parts with what they had, on whichever node."""

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from gapless.core.errors import GaplessError
from gapless.protocol.codes import Disconnect
from gapless.server.nodes.asking import Asking

if TYPE_CHECKING:
    from gapless.server.session import Session
    from gapless.server.sessions import Sessions

__all__ = ["Singling"]

METHOD: Final = "single_out"

log: Final = logging.getLogger("gapless.nodes")


class _Newest(Struct, frozen=True):
    """This client is the user's newest connection."""

    user: str
    client: str


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Newest).decode


class Singling:
    """Parts with the older connections of a user that other nodes have."""

    def __init__(self, sessions: "Sessions", asking: Asking) -> None:
        self._sessions = sessions
        self._asking = asking
        self._announced: dict[str, str] = {}  # by user: the client of which not all nodes know yet
        self._tasks: set[asyncio.Task[None]] = set()
        asking.serve(METHOD, self._part)

    def announce(self, session: "Session") -> None:
        """Let the other nodes part with the older connections of its user; nobody waits for that."""
        if not self._asking.is_alone:
            task = asyncio.get_running_loop().create_task(
                self._announce(session.info.user, session.info.client)
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _announce(self, user: str, client: str) -> None:
        self._announced[user] = client
        try:
            await self._asking.everywhere(METHOD, _encode(_Newest(user, client)))
        except GaplessError as error:
            log.warning("older connections of user %r may be left on other nodes: %s", user, error)
        finally:
            if self._announced.get(user) == client:
                del self._announced[user]

    async def _part(self, body: bytes) -> bytes:
        """Part with a user's connections; of two that come at once, the one with the higher id stays."""
        newest = _decode(body)
        staying = self._announced.get(newest.user, "")
        for session in self._sessions.of(newest.user):
            client = session.info.client
            if client != newest.client and not (client == staying and client > newest.client):
                session.disconnected(Disconnect.CONNECTION_LIMIT)
        return b"{}"

    async def stop(self) -> None:
        """Announce nobody any more."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
