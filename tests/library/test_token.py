"""What the holder of a connection token may do from Python: every verb, by rpc over a connection."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import jwt
import pytest

from gapless import Gapless
from gapless.core.errors import (
    BadRequest,
    KeyConflict,
    PermissionDenied,
    TokenExpired,
    UnknownQueue,
)
from gapless.core.jobs import Deed
from gapless.core.limits import MESSAGE_BYTES_MAX
from gapless.protocol.queues import NewSettlement, SettledJob
from gapless.server.node import Node
from tests.server.running import NAMESPACES, call, running
from tests.server.serving import on_a_loop

SECRET = "a secret of at least thirty-two bytes"
CHAT: Any = NAMESPACES[0]
ALLOWED = CHAT | {"allow_publish_for_client": True, "allow_history_for_client": True}
CONFIG = {
    "client": {"token": {"hmac_secret_key": SECRET}},
    "channel": {"namespaces": [ALLOWED, *NAMESPACES[1:]]},
    "queues": [{"name": "mail"}, {"name": "other"}],
    "streams": [{"name": "orders"}],
}
RIGHTS = {
    "queues": {"mail": ["enqueue", "claim"], "nowhere": ["enqueue"]},
    "streams": {"orders": ["append", "read"]},
}


def token(**claims: Any) -> str:
    return jwt.encode({"sub": "ann", **RIGHTS, **claims}, SECRET, "HS256")


def opened(node: Node, token: str | Callable[[], str], **options: Any) -> Gapless:
    return Gapless(f"http://127.0.0.1:{node.port}", token=token, random=Random(7), **options)


@asynccontextmanager
async def ann(**claims: Any) -> AsyncIterator[Gapless]:
    async with running(CONFIG) as node, opened(node, token(**claims)) as gl:
        yield gl


@on_a_loop
async def test_a_token_publishes_reads_on_and_scrolls_back() -> None:
    async with ann() as gl:
        first = await gl.publish("chat:1", {"n": 1}, idempotency_key="m-1")
        assert first is not None
        assert await gl.publish("chat:1", {"n": 1}, idempotency_key="m-1") == first
        with pytest.raises(KeyConflict):
            await gl.publish("chat:1", {"n": 2}, idempotency_key="m-1")
        assert [each.data for each in (await gl.history("chat:1")).publications] == [{"n": 1}]
        with pytest.raises(PermissionDenied):
            await gl.publish("two:1", 1)
        with pytest.raises(BadRequest, match="tags"):
            await gl.publish("chat:1", 1, tags={"a": "b"})


@on_a_loop
async def test_a_token_has_the_verbs_that_its_rights_name() -> None:
    async with ann() as gl:
        enqueued = await asyncio.gather(*(gl.enqueue("mail", number) for number in range(20)))
        assert len({each.id for each in enqueued}) == 20
        claimed = await gl.claim("mail", limit=20, wait="5s")
        assert {job.body() for job in claimed} == {b"%d" % number for number in range(20)}
        settled = await gl.settle(
            [NewSettlement(id=job.id, fence=job.fence, deed=Deed.ACK) for job in claimed]
        )
        assert all(isinstance(each, SettledJob) for each in settled)
        await gl.append("orders", {"n": 1})
        assert len((await gl.streams.page("orders")).messages) == 1
        with pytest.raises(PermissionDenied):
            await gl.streams.declare("another")
        with pytest.raises(UnknownQueue):
            await gl.enqueue("nowhere", 1)


@on_a_loop
async def test_what_is_not_allowed_takes_nothing_with_it_that_is() -> None:
    async with ann() as gl:
        told = await asyncio.gather(
            *(gl.enqueue(queue, 1) for queue in ("mail", "other", "mail")), return_exceptions=True
        )
        assert [type(each).__name__ for each in told] == ["Enqueued", "PermissionDenied", "Enqueued"]


@on_a_loop
async def test_many_large_jobs_are_sent_as_a_client_may_and_one_too_large_is_refused() -> None:
    async with ann() as gl:
        large = "x" * 20_000
        enqueued = await asyncio.gather(*(gl.enqueue("mail", large) for _ in range(10)))
        assert len({each.id for each in enqueued}) == 10
        with pytest.raises(BadRequest, match=f"{MESSAGE_BYTES_MAX} bytes at once"):
            await gl.enqueue_many("mail", [large] * 4)


@on_a_loop
async def test_the_connection_comes_back_and_asks_for_a_token_each_time() -> None:
    async with running(CONFIG) as node:
        asked = []

        def fresh() -> str:
            asked.append(1)
            return token(exp=int(time.time()) + 3600)

        async with opened(node, fresh) as gl:
            await gl.enqueue("mail", 1)
            await gl.enqueue("mail", 2)
            assert len(asked) == 1
            await call(node, "/api/disconnect", {"user": "ann"})
            await gl.enqueue("mail", 3)
            assert len(asked) == 2


@on_a_loop
async def test_a_token_that_opens_nothing_says_why() -> None:
    async with running(CONFIG) as node:
        for wrong, error in ((token(exp=1), TokenExpired), ("nonsense", PermissionDenied)):
            async with opened(node, wrong, patience="1s") as gl:
                with pytest.raises(error):
                    await gl.enqueue("mail", 1)
