"""Over a network that loses answers: one job, one claim, one message, or an error that says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from gapless import Gapless
from gapless.core.errors import BadRequest, NotAvailable, OutcomeUnknown, Unauthorized
from gapless.core.jobs import Deed, Enqueued
from gapless.library.posting import Posting
from gapless.protocol.queues import NewJob, NewSettlement
from tests.server.running import KEY, running
from tests.server.serving import on_a_loop


class Lossy:
    """Lets every first answer to a method be lost, after it was carried out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lost: set[str] = set()
        self.posts = 0
        post = Posting.post

        async def lose(posting: Posting, method: str, body: bytes, *, wait_ms: int = 0) -> bytes:
            self.posts += 1
            answer = await post(posting, method, body, wait_ms=wait_ms)
            if method in self.lost:
                self.lost.remove(method)
                raise OutcomeUnknown("the answer was lost")
            return answer

        monkeypatch.setattr(Posting, "post", lose)


@asynccontextmanager
async def remote() -> AsyncIterator[Gapless]:
    async with (
        running() as node,
        Gapless(f"http://127.0.0.1:{node.port}", api_key=KEY, random=Random(7)) as gl,
    ):
        yield gl


@on_a_loop
async def test_a_lost_answer_makes_no_second_job_claim_or_ack(monkeypatch: pytest.MonkeyPatch) -> None:
    lossy = Lossy(monkeypatch)
    async with remote() as gl:
        await gl.queues.declare("mail")
        lossy.lost = {"queue/enqueue", "queue/claim", "queue/settle"}
        enqueued = await gl.enqueue("mail", 1)
        await gl.enqueue_many("mail", [2])
        [first, second] = await gl.claim("mail", limit=10)
        assert (first.id, first.attempt, second.attempt) == (enqueued.id, 1, 1)
        [acked] = await gl.settle([NewSettlement(id=first.id, fence=first.fence, deed=Deed.ACK)])
        assert not isinstance(acked, Exception)
        assert not lossy.lost
        assert (await gl.queues.stats("mail")).queues[0].leased == 1


@on_a_loop
async def test_what_has_no_key_is_not_made_again_when_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    lossy = Lossy(monkeypatch)
    async with remote() as gl:
        lossy.lost = {"publish"}
        assert await gl.publish("chat:1", 1, idempotency_key="m-1") is not None
        lossy.lost = {"publish"}
        with pytest.raises(OutcomeUnknown):
            await gl.publish("chat:1", 2)
        assert [p.data for p in (await gl.history("chat:1")).publications] == [2, 1]
        await gl.streams.declare("orders")
        lossy.lost = {"stream/append"}
        with pytest.raises(OutcomeUnknown):
            await gl.append("orders", 1)
        lossy.lost = {"stream/append"}
        assert (await gl.append("orders", 2, message_id="m")).offset == 2


@on_a_loop
async def test_jobs_that_are_enqueued_at_once_go_in_few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    lossy = Lossy(monkeypatch)
    async with remote() as gl:
        await gl.queues.declare("mail")
        lossy.posts = 0
        await asyncio.gather(*(gl.enqueue("mail", n) for n in range(256)))
        assert lossy.posts <= 3


@on_a_loop
async def test_what_cannot_even_be_written_is_refused_and_the_next_is_sent() -> None:
    async with remote() as gl:
        await gl.queues.declare("mail")
        unwritable = NewJob(queue="mail", key="\ud800")
        outcomes = await asyncio.gather(
            gl.send_jobs([unwritable]), gl.enqueue("mail", 1), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [BadRequest, Enqueued]


@on_a_loop
async def test_one_of_many_that_is_malformed_is_refused_and_the_others_are_enqueued() -> None:
    async with remote() as gl:
        await gl.queues.declare("mail")
        outcomes = await asyncio.gather(
            *(gl.enqueue("mail", n, priority=77 if n == 3 else 0) for n in range(20)), return_exceptions=True
        )
        refused = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, BadRequest)]
        jobs = await gl.claim("mail", limit=100)
        assert refused == [3]
        assert [int(job.body()) for job in jobs] == [n for n in range(20) if n != 3]


@on_a_loop
async def test_a_wrong_key_is_told_at_once() -> None:
    async with (
        running() as node,
        Gapless(f"http://127.0.0.1:{node.port}", api_key="wrong", random=Random(7)) as gl,
    ):
        with pytest.raises(Unauthorized):
            await gl.publish("chat:1", 1)
        with pytest.raises(Unauthorized):
            await gl.history("chat:1")
        with pytest.raises(Unauthorized):
            await anext(gl.subscribe("chat:1"))


@on_a_loop
async def test_with_the_key_a_channel_without_history_is_not_followed() -> None:
    async with remote() as gl:
        with pytest.raises(NotAvailable):
            await anext(gl.subscribe("object:1"))
