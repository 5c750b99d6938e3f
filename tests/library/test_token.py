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
from gapless.client import calling
from gapless.core.errors import (
    BadRequest,
    KeyConflict,
    PermissionDenied,
    TokenExpired,
    TooManyRequests,
    UnknownQueue,
)
from gapless.core.jobs import Deed
from gapless.core.limits import MESSAGE_BYTES_MAX, SESSION_COMMANDS_MAX
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


async def claimers(node: Node, number: int) -> None:
    """Let time pass until so many claims wait."""
    waiting = -1
    while waiting != number:
        _, answer = await call(node, "/api/queue/stats", {"queue": "mail"})
        waiting = answer["result"]["queues"][0].get("claimers", 0)


@pytest.mark.parametrize("user", ["ann", ""])
@on_a_loop
async def test_a_call_whose_answer_was_lost_is_carried_out_once(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = calling._tell
    lost: list[Any] = []

    def told(answer: Any, reply: Any) -> None:
        if not lost:
            lost.append(reply)
            raise OSError("the connection is lost before the answer is read")
        tell(answer, reply)

    monkeypatch.setattr(calling, "_tell", told)
    async with ann(sub=user) as gl:
        await gl.enqueue("mail", 1)
        lost.clear()
        [job] = await gl.claim("mail", limit=10)
        assert (len(lost), job.attempt) == (1, 1)


@on_a_loop
async def test_calls_that_wait_hold_up_nothing() -> None:
    async with running(CONFIG) as node, opened(node, token()) as gl:
        waiting = [
            asyncio.ensure_future(gl.claim("mail", wait="20s")) for _ in range(SESSION_COMMANDS_MAX + 6)
        ]
        await claimers(node, len(waiting))
        await gl.append("orders", 1)
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()


@on_a_loop
async def test_so_many_calls_wait_and_no_more_until_one_of_them_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calling, "_WAITING_PER_LINE_MAX", 2)
    monkeypatch.setattr(calling, "_LINES_MAX", 2)
    async with running(CONFIG) as node, opened(node, token(), patience="0s") as gl:
        waiting = [asyncio.ensure_future(gl.claim("mail", wait="20s")) for _ in range(4)]
        await claimers(node, 4)
        with pytest.raises(TooManyRequests, match="4 calls wait"):
            await gl.claim("mail", wait="20s")
        waiting[0].cancel()
        await claimers(node, 3)
        await gl.append("orders", 1)
        waiting.append(asyncio.ensure_future(gl.claim("mail", wait="20s")))
        await claimers(node, 4)
        for task in waiting:
            task.cancel()


@on_a_loop
async def test_a_claim_that_is_given_up_takes_nothing() -> None:
    async with running(CONFIG) as node, opened(node, token()) as gl:
        given_up = asyncio.ensure_future(gl.claim("mail", wait="20s"))
        await claimers(node, 1)
        given_up.cancel()
        await gl.enqueue("mail", 1)
        [job] = await gl.claim("mail", wait="3s")
        assert job.attempt == 1


@on_a_loop
async def test_what_was_claimed_for_who_has_given_up_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    tell, late = calling._tell, asyncio.Event()

    def told(answer: Any, reply: Any) -> None:
        if late.is_set():
            tell(answer, reply)
        late.set()

    async with ann() as gl:
        await gl.enqueue("mail", 1)
        monkeypatch.setattr(calling, "_tell", told)
        given_up = asyncio.ensure_future(gl.claim("mail"))
        await late.wait()
        given_up.cancel()
        [job] = await gl.claim("mail", wait="3s")
        assert job.attempt == 1


@on_a_loop
async def test_a_worker_needs_only_the_right_to_claim_from_what_is_there() -> None:
    async with running(CONFIG) as node:
        gl, handled = opened(node, token()), asyncio.Event()

        @gl.queue("mail", lease="10s")
        async def mail(number: int) -> None:
            handled.set()

        async with gl, gl.worker():
            await gl.enqueue("mail", 1)
            await asyncio.wait_for(handled.wait(), 10)


@on_a_loop
async def test_a_worker_that_may_not_make_the_queue_that_is_not_there_says_so() -> None:
    async with running(CONFIG) as node:
        gl = opened(node, token(queues={"nowhere": ["claim"]}))

        @gl.queue("nowhere")
        async def work(number: int) -> None: ...

        with pytest.raises(PermissionDenied, match="there is no queue 'nowhere'"):
            async with gl, gl.worker():
                pass
