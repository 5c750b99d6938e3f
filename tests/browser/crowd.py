"""People who are connected to a shop with the stock Python SDK, and talk; they leave with the standard input.

    python -m tests.browser.crowd URL PEOPLE

`PEOPLE` is JSON: for each a `token`, and the `channels` that they follow. A line `here` tells that all
are, and `recovered` that one came back.
"""

import asyncio
import json
import sys
from itertools import cycle
from typing import Any

from centrifuge import (  # type: ignore[import-untyped] # it has no types
    Client,
    SubscriptionEventHandler,
)

TALK_SECONDS = 0.4
BACK_AFTER_SECONDS = 1.5  # long enough to miss something
SAID = [
    {"text": "Where is my parcel?", "order": 1041},
    {"text": "It left Rotterdam this morning.", "order": 1041},
    {"text": "Can I still change the address?", "order": 1057},
    {"text": "Yes, until it is packed. Which one is it?", "order": 1057},
    {"text": "Grüße aus Zürich – vielen Dank!", "order": 1033},
]


def tell(line: str) -> None:
    """Tell whoever started this."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Following(SubscriptionEventHandler):  # type: ignore[misc]
    """Tells when somebody came back."""

    async def on_subscribed(self, ctx: Any) -> None:
        if ctx.was_recovering and ctx.recovered:
            tell("recovered")


async def come(url: str, token: str, channels: list[str]) -> Client:
    """Connect somebody, and follow channels."""
    client = Client(
        url,
        token=token,
        name="shop-app",
        version="4.2",
        min_reconnect_delay=BACK_AFTER_SECONDS,
        max_reconnect_delay=BACK_AFTER_SECONDS,
        proxy=None,
    )
    for channel in channels:
        await client.new_subscription(channel, Following()).subscribe()
    await client.connect()
    await client.ready()
    for channel in channels:
        await client.get_subscription(channel).ready()
    return client


async def main(url: str, people: list[dict[str, Any]]) -> None:
    """Be there, and talk, until told to leave."""
    stdin, loop = asyncio.StreamReader(), asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    ended = asyncio.create_task(stdin.read())
    here = [await come(url, each["token"], each["channels"]) for each in people]
    tell("here")
    for client, said in zip(cycle(here[: len(SAID)]), cycle(SAID), strict=False):
        await asyncio.wait([ended], timeout=TALK_SECONDS)
        if ended.done():
            break
        await client.publish("support", said)
    for client in here:
        await client.disconnect()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
