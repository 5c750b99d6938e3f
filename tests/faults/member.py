"""`python -m tests.faults.member`: reads a stream as a member of a group, and writes down what it handles."""

import asyncio
import os
import sys

from msgspec import Struct

from gapless import Message
from gapless.server.clock import LoopClock
from gapless.server.parting import pause
from tests.faults.records import Recorded, line
from tests.program import API_KEY

STREAM, GROUP, PARTITIONS = "orders", "readers", 4
SESSION_MS = 1_000

gl = Recorded(os.environ.get("GAPLESS_URL", "http://127.0.0.1"), api_key=API_KEY)


class Order(Struct):
    """A message, and how long handling it takes."""

    work_ms: int


@gl.stream(STREAM, group=GROUP, partitions=PARTITIONS)
async def handle(order: Order, message: Message) -> None:
    """Take as long as the message says."""
    place = str(message.partition)
    line("start", place, message.fence_number, offset=message.offset)
    await pause(LoopClock(), order.work_ms)
    line("handled", place, message.fence_number, offset=message.offset)


async def main() -> None:
    """Serve until killed."""
    async with gl.worker(session=f"{SESSION_MS}ms"):
        sys.stdout.write("serving\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
