"""Reads all that a channel holds, from one node."""

import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from gapless.server.clock import LoopClock
from gapless.server.parting import pause

__all__ = ["pages"]

PATIENCE_SECONDS = 30
AGAIN_MS = 20
PAGE = 1_000


async def pages(session: aiohttp.ClientSession, port: int, channel: str) -> AsyncIterator[dict[str, Any]]:
    """Yield what the messages API tells, oldest first, until the end.

    Raises:
        TimeoutError: the node does not answer.
    """
    url = f"http://127.0.0.1:{port}/api/channels/{channel}/messages"
    after, more = "0", True
    while more:
        page = await _page(session, url, after)
        yield page
        after, more = page["after_cursor"], page["has_after"]


async def _page(session: aiohttp.ClientSession, url: str, after: str) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        try:
            async with session.get(url, params={"after": after, "size": str(PAGE)}) as response:
                if response.status == 200:
                    page: dict[str, Any] = await response.json()
                    return page
        except (OSError, aiohttp.ClientError):
            pass
        await pause(LoopClock(), AGAIN_MS)
    raise TimeoutError(f"nobody answers {url}")
