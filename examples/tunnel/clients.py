"""Many stock Python clients in one chat: counts what each receives, and reports as lines of JSON."""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from centrifuge import (  # type: ignore[import-untyped] # it has no types
    Client,
    ClientEventHandler,
    SubscriptionEventHandler,
)

REPORT_SECONDS = 0.1


@dataclass
class Total:
    """What all clients of this process have seen."""

    received: int = 0
    subscribed: int = 0
    reconnects: int = 0
    complete: int = 0
    doubled: int = 0
    disordered: int = 0
    unrecovered: int = 0


class Connection(ClientEventHandler):  # type: ignore[misc]
    def __init__(self, total: Total) -> None:
        self.total = total

    async def on_connecting(self, ctx: Any) -> None:
        self.total.reconnects += ctx.code != 0  # 0: it was asked to connect


class Reader(SubscriptionEventHandler):  # type: ignore[misc]
    def __init__(self, total: Total, messages: int) -> None:
        self.total = total
        self.messages = messages
        self.seen: set[int] = set()
        self.last = 0
        self.known = False

    async def on_subscribed(self, ctx: Any) -> None:
        self.total.subscribed += not self.known
        self.known = True
        self.total.unrecovered += ctx.was_recovering and not ctx.recovered

    async def on_publication(self, ctx: Any) -> None:
        number = ctx.pub.data["number"]
        self.total.received += 1
        self.total.doubled += number in self.seen
        self.total.disordered += number < self.last
        self.total.complete += number not in self.seen and len(self.seen) == self.messages - 1
        self.seen.add(number)
        self.last = number


async def join(url: str, channel: str, total: Total, messages: int) -> Client:
    client = Client(
        url,
        Connection(total),
        min_reconnect_delay=0.1,
        max_reconnect_delay=2,
        max_server_ping_delay=1.5,
        timeout=2,
        proxy=None,
    )
    subscription = client.new_subscription(
        channel, Reader(total, messages), min_resubscribe_delay=0.1, max_resubscribe_delay=2
    )
    await subscription.subscribe()
    await client.connect()
    return client


async def main(url: str, channel: str, clients: int, messages: int) -> None:
    total = Total()
    stdin, loop = asyncio.StreamReader(), asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    ended = asyncio.create_task(stdin.read())
    joined = [await join(url, channel, total, messages) for _ in range(clients)]
    while joined and not ended.done():
        print(json.dumps(asdict(total)), flush=True)
        await asyncio.wait([ended], timeout=REPORT_SECONDS)


if __name__ == "__main__":
    url, channel, clients, messages = sys.argv[1:]
    asyncio.run(main(url, channel, int(clients), int(messages)))
