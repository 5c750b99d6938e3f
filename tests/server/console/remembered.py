"""Nodes that remember what happened to connections, and what they tell of it."""

from typing import Any

import msgspec
from msgspec.structs import replace

from gapless.server.api.requests import StoriesRequest
from gapless.server.api.stories import Recalling
from gapless.server.console.stories import Stories
from tests.conversation import OPEN, Peer, Stage

__all__ = ["KEPT", "client", "connected", "cut", "remembering", "told", "whats"]

KEPT = replace(OPEN, history_size=50, history_ttl_ms=600_000, force_recovery=True)


def remembering(stage: Stage) -> Recalling:
    stage.sessions.stories = Stories(stage.clock)
    return Recalling(stage.sessions)


async def told(recalling: Recalling, **asked: Any) -> list[dict[str, Any]]:
    """Return what is told, the oldest first, without what is the same for all."""
    answer = msgspec.json.decode(await recalling.stories(StoriesRequest(**asked)))
    events: list[dict[str, Any]] = answer["events"]
    shared = ("node", "at_ms")
    return [{name: each for name, each in event.items() if name not in shared} for event in events[::-1]]


async def whats(recalling: Recalling, **asked: Any) -> list[str]:
    return [event["what"] for event in await told(recalling, **asked)]


async def connected(stage: Stage, user: str = "", address: str = "127.0.0.1") -> Peer:
    peer = stage.peer(address)
    await peer.connect(**({"token": user} if user else {}), name="js", version="5.1")
    return peer


def cut(peer: Peer) -> None:
    peer.session.closed(1006, "")


def client(peer: Peer) -> str:
    return peer.session.info.client
