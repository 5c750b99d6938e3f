"""`python -m tests.faults.sharer FILE NAME`: one process of several on a file; it says what was acknowledged.

Each line is JSON: ["append", id, offset], ["keyed", id, offset], ["enqueue", message, job], ["settle", job]
before it is tried, ["ack", job], ["lapsed", job], ["unknown", id or job], ["refused", error]. It ends when
its input does.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from itertools import count
from typing import Any

from gapless import backends
from gapless.backends import Options
from gapless.core.errors import GaplessError, OutcomeUnknown, Unavailable
from gapless.core.jobs import Deed, Job, QueueOptions, Settlement
from gapless.core.retry import Retry
from gapless.core.stream import Entry, Outcome, Stored
from gapless.ports import Store
from gapless.testing.conformance.places import entry

QUEUE = "work"
OPTIONS = QueueOptions(lease_ms=500, retry=Retry(attempts_max=1_000, delays_ms=(0,)))


def say(*what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Sharer:
    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name

    async def append(self, stream: str, id: str, **rest: Any) -> Stored:
        landed: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()

        def done(entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
            [outcome] = outcomes
            if landed.done():
                return
            if isinstance(outcome, GaplessError):
                landed.set_exception(outcome)
            else:
                landed.set_result(outcome)

        self.store.append([entry(stream, id.encode(), **rest)], done)
        return await landed

    async def append_plain(self, number: int) -> None:
        id = f"{self.name}-{number}"
        try:
            stored = await self.append("plain", id)
        except OutcomeUnknown:
            say("unknown", id)
        else:
            say("append", id, stored.offset)

    async def append_keyed(self, number: int) -> None:
        id = f"{self.name}-{number}"
        while True:
            try:
                stored = await self.append("keyed", id, key=id)
            except OutcomeUnknown:
                continue
            say("keyed", id, stored.offset)
            return

    async def enqueue(self, number: int) -> None:
        message = f"{self.name}-{number}"
        job = Job(QUEUE, message.encode(), message_id=message)
        [told] = await self.store.enqueue([[job]])
        if isinstance(told, GaplessError):
            raise told
        say("enqueue", message, told[0].id)

    async def work(self, number: int) -> None:
        for job in await self.store.claim(QUEUE, worker=self.name, limit=2, request=f"{self.name}-{number}"):
            say("settle", job.id)
            try:
                [told] = await self.store.settle([Settlement(job.id, job.fence, Deed.ACK)])
            except OutcomeUnknown:
                say("unknown", job.id)
                continue
            say("lapsed" if isinstance(told, GaplessError) else "ack", job.id)

    async def loop(self, deed: Any) -> None:
        for number in count():
            try:
                await deed(number)
            except (Unavailable, OutcomeUnknown) as error:
                say("refused", error.code)


async def main(path: str, name: str) -> None:
    store = await backends.open(f"sqlite:{path}", Options(ballast_bytes=0, free_bytes_min=0))
    await store.declare(QUEUE, OPTIONS)
    say("open", type(store).__name__)
    sharer = Sharer(store, name)
    deeds = (sharer.append_plain, sharer.append_keyed, sharer.enqueue, sharer.work)
    loops = [asyncio.create_task(sharer.loop(deed)) for deed in deeds]
    await asyncio.to_thread(sys.stdin.read)
    for loop in loops:
        loop.cancel()
    await asyncio.wait(loops)
    await store.close()
    say("closed", "")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
