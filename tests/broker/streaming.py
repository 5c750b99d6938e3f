"""The use cases of streams over a store, with the clock in the test's hand."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.broker.broker import Broker
from gapless.broker.emitting import Emitting
from gapless.broker.namespaces import STREAMS_NAMESPACE, Namespace, Namespaces
from gapless.broker.queues import Queueing
from gapless.broker.rules import StreamRule
from gapless.broker.streams import Streaming
from gapless.broker.verbs import Verbs
from gapless.core.stream import Position
from gapless.ports import Store
from gapless.protocol.groups import (
    CommitRequest,
    CommittedItem,
    FetchPartition,
    FetchRequest,
    HeartbeatRequest,
    HeldPartition,
    NewCommit,
)
from gapless.protocol.messages import StreamPosition, payload
from gapless.protocol.reading import ReadAnswer, ReadRequest, StreamMessage
from gapless.protocol.settings import StreamSettings
from gapless.protocol.streams import (
    AppendAnswer,
    AppendRequest,
    AuditRequest,
    DeclareStreamRequest,
    NewMessage,
)
from tests.conversation import HandClock

ENGINES = ("memory", "sqlite")
CHAT = Namespace(
    name="chat",
    history_size=100,
    history_ttl_ms=600_000,
    stream_partitions=4,
    stream_retention_messages=1_000,
)


def new(data: object = 1, **fields: Any) -> NewMessage:
    return NewMessage(data=payload(json.dumps(data).encode()), **fields)


def said(messages: Sequence[StreamMessage]) -> list[Any]:
    return [json.loads(message.body()) for message in messages]


class Streams:
    """A node's streams."""

    def __init__(self, store: Store, clock: HandClock, rules: Sequence[StreamRule]) -> None:
        self.store = store
        self.clock = clock
        loop = asyncio.get_running_loop()
        namespaces = Namespaces(named=(CHAT, STREAMS_NAMESPACE))
        self.broker = Broker(store, clock, namespaces, soon=loop.call_soon)
        emitting = Emitting(self.broker)
        self.verbs = Verbs(
            Queueing(store, clock, emitting), Streaming(store, clock, self.broker, emitting, rules)
        )
        self.streaming = self.verbs.streaming

    async def open(self) -> None:
        await self.broker.open()
        await self.verbs.start()

    async def close(self) -> None:
        await self.verbs.stop()
        await self.broker.close()

    async def declare(self, stream: str = "orders", **settings: Any) -> bool:
        request = DeclareStreamRequest(stream=stream, options=StreamSettings(**settings))
        return (await self.streaming.declare(request, "tester")).fresh

    async def append(self, *messages: NewMessage, stream: str = "orders", **fields: Any) -> AppendAnswer:
        return await self.streaming.append(
            AppendRequest(stream=stream, messages=list(messages), **fields), "tester"
        )

    async def offsets(self, *messages: NewMessage, **fields: Any) -> list[tuple[int, int]]:
        """Append; return partitions and offsets."""
        answer = await self.append(*messages, **fields)
        return [(each.result.partition, each.result.offset) for each in answer.messages if each.result]

    async def read(self, source: str = "orders", **fields: Any) -> ReadAnswer:
        return await self.streaming.read(ReadRequest(source=source, **fields))

    async def heartbeat(self, member: str = "one", **fields: Any) -> list[HeldPartition]:
        request: dict[str, Any] = {"source": "orders", "group": "billing", "member": member, **fields}
        return (await self.streaming.heartbeat(HeartbeatRequest(**request))).held

    async def fetch(self, *partitions: tuple[int, StreamPosition], **fields: Any) -> dict[int, Any]:
        """Fetch; return pages, or errors, by partition."""
        asked = [FetchPartition(partition=partition, after=after) for partition, after in partitions]
        request: dict[str, Any] = {"source": "orders", "group": "billing", "member": "one", **fields}
        answer = await self.streaming.fetch(FetchRequest(partitions=asked, **request))
        return {each.partition: each.page or each.error for each in answer.partitions}

    async def commit(
        self, held: HeldPartition, offset: int, member: str = "one", **fields: Any
    ) -> CommittedItem:
        commit = NewCommit(
            partition=held.partition, fence=held.fence, offset=offset, epoch=self.store.epoch, **fields
        )
        request = CommitRequest(source="orders", group="billing", member=member, commits=[commit])
        return (await self.streaming.commit(request)).commits[0]

    async def audited(self, **fields: Any) -> list[str]:
        return [record.what for record in (await self.streaming.audit(AuditRequest(**fields))).records]

    async def publish(self, channel: str, *data: Any) -> None:
        entries = [self.broker.entry(channel, json.dumps(item).encode()) for item in data]
        await self.broker.appended(entries)

    async def waits(self) -> None:
        """Return once somebody waits for messages."""
        while not self.broker.arrivals.waiting:  # noqa: ASYNC110 # time does not pass here
            await asyncio.sleep(0)

    def position(self, offset: int) -> StreamPosition:
        return StreamPosition(offset, self.store.epoch)

    async def stands(self, group: str = "billing", source: str = "orders") -> dict[int, Position]:
        return next(each.positions for each in await self.store.groups(source) if each.name == group)


Scene = Callable[[Streams], Coroutine[Any, Any, None]]
Run = Callable[..., None]


@pytest.fixture(params=ENGINES)
def with_streams(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Return what runs a scene with streams that follow some rules, in memory and in a file."""
    address = f"sqlite:{tmp_path}/log.db" if request.param == "sqlite" else "memory:"

    def run(scene: Scene, *rules: StreamRule) -> None:
        asyncio.run(_played(address, scene, rules))

    return run


async def _played(address: str, scene: Scene, rules: Sequence[StreamRule]) -> None:
    clock = HandClock()
    store = await backends.open(address, Options(now_ms=clock.now_ms))
    try:
        streams = Streams(store, clock, rules)
        await streams.open()
        try:
            await scene(streams)
        finally:
            await streams.close()
    finally:
        await store.close()
