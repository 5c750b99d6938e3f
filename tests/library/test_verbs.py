"""The same verbs with the same outcomes, in this process and over the network."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import Struct

from gapless import Backoff, Gapless, Job, Reject
from gapless.core.errors import (
    BadRequest,
    JobStarted,
    KeyConflict,
    LeaseLost,
    NotAvailable,
    PositionConflict,
    PositionLost,
    TimelineGone,
    UnknownChannel,
    UnknownJob,
    UnknownQueue,
    UnknownStream,
)
from gapless.core.jobs import Deed, State
from gapless.core.stream import Position
from gapless.library.making import job
from gapless.library.running import run_handler
from gapless.library.times import moment
from gapless.protocol.groups import CommitRequest, FetchPartition, FetchRequest, HeartbeatRequest, NewCommit
from gapless.protocol.messages import payload
from gapless.protocol.queues import Emit, EmitPublish, NewSettlement
from gapless.protocol.schedules import ScheduleRequest
from gapless.protocol.settings import QueueSettings, StreamSettings
from tests.library.conftest import Opened
from tests.library.deliveries import Counter
from tests.server.serving import on_a_loop


class Mail(Struct):
    to: str


# Channels -------------------------------------------------------------------------------------


@on_a_loop
async def test_what_is_published_is_in_the_history(opened: Opened) -> None:
    async with opened() as gl:
        first = await gl.publish("chat:1", {"n": 1}, tags={"kind": "test"})
        await gl.publish("chat:1", Mail("ada"))
        raw = await gl.publish("chat:1", b"\x00\xff")
        assert first is not None
        assert raw == Position(first.epoch, 3)
        page = await gl.history("chat:1", size=2)
        assert [publication.data for publication in page.publications] == [b"\x00\xff", {"to": "ada"}]
        older = await gl.history("chat:1", before=page.before)
        [oldest] = older.publications
        assert (oldest.data, oldest.position, oldest.tags) == ({"n": 1}, first, {"kind": "test"})
        assert oldest.time is not None
        assert (older.has_before, older.has_after, older.head) == (False, True, 3)
        newer = await gl.history("chat:1", after=first)
        assert [publication.data for publication in newer.publications] == [{"to": "ada"}, b"\x00\xff"]
        around = await gl.history("chat:1", around=oldest.time, size=2)
        assert len(around.publications) == 1


@on_a_loop
async def test_a_repeat_with_a_key_is_one_message(opened: Opened) -> None:
    async with opened() as gl:
        first = await gl.publish("chat:1", 1, idempotency_key="m-1")
        assert await gl.publish("chat:1", 1, idempotency_key="m-1") == first
        with pytest.raises(KeyConflict):
            await gl.publish("chat:1", 2, idempotency_key="m-1")
        assert await gl.publish("chat:1", 2, expected=first) is not None
        with pytest.raises(PositionConflict):
            await gl.publish("chat:1", 3, expected=first)
        stale = await gl.publish("chat:1", 3, version=5)
        assert await gl.publish("chat:1", 4, version=5) == stale
        assert len((await gl.history("chat:1")).publications) == 3


@on_a_loop
async def test_what_cannot_be_is_refused_in_the_same_words(opened: Opened) -> None:
    async with opened() as gl:
        assert await gl.publish("news", 1, skip_history=True) is None
        with pytest.raises(UnknownChannel, match="nowhere"):
            await gl.publish("nowhere:1", 1)
        with pytest.raises(UnknownChannel):
            await gl.publish("gapless.health:beat", 1)
        with pytest.raises(BadRequest, match="JSON objects"):
            await gl.publish("object:1", [1])
        with pytest.raises(NotAvailable, match="no history"):
            await gl.history("object:1")
        with pytest.raises(BadRequest, match="cursor"):
            await gl.history("chat:1", after="nonsense")
        with pytest.raises(BadRequest, match="no JSON"):
            await gl.publish("chat:1", object())
        with pytest.raises(TimelineGone) as gone:
            await gl.history("chat:1", after=Position("elsewhere", 3))
        assert gone.value.epoch


@on_a_loop
async def test_a_subscription_goes_on_from_where_it_is_told(opened: Opened) -> None:
    async with opened() as gl:
        for number in range(1, 4):
            await gl.publish("chat:1", number)
        first = (await gl.history("chat:1", size=3)).publications[-1]
        async with aclosing(gl.subscribe("chat:1", after=first.cursor)) as following:
            assert [(await anext(following)).data for _ in range(2)] == [2, 3]
            await gl.publish("chat:1", 4, tags={"a": "b"})
            live = await anext(following)
            assert (live.data, live.tags, live.position) == (4, {"a": "b"}, Position(page_epoch(first), 4))
        async with aclosing(gl.subscribe("chat:1", after=live.cursor)) as following:
            await gl.publish("chat:1", 5)
            assert (await anext(following)).data == 5


@on_a_loop
async def test_a_partition_of_a_stream_is_followed_as_a_channel(opened: Opened) -> None:
    async with opened() as gl:
        await gl.streams.declare("orders", StreamSettings(partitions=2))
        first = await gl.append("orders", 1, partition=1)
        channel, start = "stream:orders/1", Position(first.epoch, 0)
        async with aclosing(gl.subscribe(channel, after=start)) as following:
            assert (await anext(following)).data == 1
            await gl.append("orders", 0, partition=0)
            await gl.append("orders", 2, partition=1, headers={"a": "b"})
            live = await anext(following)
            assert (live.data, live.tags, live.position) == (2, {"a": "b"}, Position(first.epoch, 2))
        for unknown in ("stream:orders/2", "stream:oders/0"):
            async with aclosing(gl.subscribe(unknown)) as following:
                with pytest.raises((UnknownChannel, UnknownStream, BadRequest)):
                    await anext(following)


def page_epoch(publication: object) -> str:
    position = getattr(publication, "position", None)
    assert isinstance(position, Position)
    return position.epoch


@on_a_loop
async def test_a_subscription_says_what_it_cannot_tell(opened: Opened) -> None:
    async with opened() as gl:
        await gl.publish("chat:1", 1)
        async with aclosing(gl.subscribe("chat:1", after=Position("elsewhere", 9))) as following:
            with pytest.raises(PositionLost, match="offset 9"):
                await anext(following)
        async with aclosing(gl.subscribe("nowhere:1")) as following:
            with pytest.raises(UnknownChannel):
                await anext(following)
        with pytest.raises(BadRequest, match="cursor"):
            gl.subscribe("chat:1", after="nonsense")


@on_a_loop
async def test_a_reader_that_takes_its_time_misses_nothing(opened: Opened) -> None:
    async with opened() as gl:
        start = await gl.publish("chat:1", 0)
        async with aclosing(gl.subscribe("chat:1", after=start)) as following:
            for first in range(1, 90, 10):
                await asyncio.gather(*(gl.publish("chat:1", n) for n in range(first, first + 10)))
            told = [(await anext(following)).position for _ in range(90)]
        assert start is not None
        assert told == [Position(start.epoch, 1 + n) for n in range(1, 91)]


# Queues ---------------------------------------------------------------------------------------


@on_a_loop
async def test_a_job_goes_through_a_queue(opened: Opened) -> None:
    async with opened() as gl:
        assert await gl.queues.declare("mail", QueueSettings(result_ms=60_000))
        assert not await gl.queues.declare("mail", QueueSettings(result_ms=60_000))
        enqueued = await gl.enqueue("mail", Mail("ada"), key="k", headers={"a": "b"}, priority=3)
        assert enqueued.fresh
        [claimed] = await gl.claim("mail", wait="5s")
        assert (claimed.id, claimed.body(), claimed.attempt) == (enqueued.id, b'{"to":"ada"}', 1)
        assert (claimed.key, claimed.headers, claimed.priority) == ("k", {"a": "b"}, 3)
        [until] = await gl.extend([claimed], "1m")
        assert isinstance(until, datetime)
        assert until > datetime.fromtimestamp(claimed.lease_until_ms / 1000, UTC)
        emit = Emit(publish=EmitPublish(channel="chat:1", data=payload(b'"sent"')))
        done = NewSettlement(
            id=claimed.id, fence=claimed.fence, deed=Deed.ACK, result=payload(b'{"ok":1}'), emit=(emit,)
        )
        [settled] = await gl.settle([done])
        assert not isinstance(settled, Exception)
        assert (settled.state, settled.emitted[0].offset) == (State.DONE, 1)
        result = await gl.jobs.result(enqueued.id, wait="5s")
        assert (result.state, result.value) == (State.DONE, {"ok": 1})
        assert [p.data for p in (await gl.history("chat:1")).publications] == ["sent"]


@on_a_loop
async def test_a_claimed_job_is_handled_and_settled_by_its_outcome(opened: Opened) -> None:
    async with opened() as gl:

        @gl.queue("mail", result_ttl="1h", retry=Backoff(2, base=0))
        async def send(mail: Mail, job: Job) -> dict[str, int]:
            job.emit({"sent": mail.to}, channel="chat:1")
            if mail.to == "nobody":
                raise Reject("no such address")
            return {"attempt": job.attempt}

        good, bad = await send.enqueue_many([Mail("ada"), Mail("nobody")])
        claimed = await gl.claim("mail", limit=2)
        async with gl.running() as context:
            outcomes = [
                await run_handler(send, Job(each, Counter(), keeps_result=True), each.body(), context)
                for each in claimed
            ]
        await gl.settle(
            [outcome.settlement(each) for outcome, each in zip(outcomes, claimed, strict=True) if outcome]
        )
        assert (await gl.jobs.result(good.id)).value == {"attempt": 1}
        dead = await gl.jobs.result(bad.id)
        assert (dead.state, dead.reason) == (State.DEAD, "no such address")
        assert "in send" in dead.details
        assert [p.data for p in (await gl.history("chat:1")).publications] == [{"sent": "ada"}]


@on_a_loop
async def test_bytes_come_back_as_they_were(opened: Opened) -> None:
    async with opened() as gl:
        await gl.queues.declare("raw")
        await gl.enqueue("raw", b"\x00\xff")
        [claimed] = await gl.claim("raw")
        assert claimed.body() == b"\x00\xff"


@on_a_loop
async def test_a_lease_that_is_over_settles_nothing(opened: Opened) -> None:
    async with opened() as gl:
        await gl.queues.declare("mail")
        await gl.enqueue("mail", 1)
        [claimed] = await gl.claim("mail")
        release = NewSettlement(id=claimed.id, fence=claimed.fence, deed=Deed.RELEASE)
        assert not isinstance((await gl.settle([release]))[0], Exception)
        late = NewSettlement(id=claimed.id, fence=claimed.fence, deed=Deed.ACK)
        both = await gl.settle([late, release])
        assert isinstance(both[0], LeaseLost)
        assert not isinstance(both[1], Exception)  # a repeat of what was done
        assert isinstance((await gl.settle([late]))[0], LeaseLost)
        assert isinstance((await gl.extend([claimed]))[0], LeaseLost)


@on_a_loop
async def test_a_batch_is_taken_whole_or_not_at_all(opened: Opened) -> None:
    async with opened() as gl:
        await gl.queues.declare("mail")
        assert len(await gl.enqueue_many("mail", [1, 2, 3], delay="1h")) == 3
        with pytest.raises(UnknownQueue):
            await gl.send_jobs([job("mail", 4), job("nowhere", 5)])
        [stats] = (await gl.queues.stats("mail")).queues
        assert (stats.delayed, stats.ready) == (3, 0)


@on_a_loop
async def test_a_message_id_makes_a_repeat_the_same_job(opened: Opened) -> None:
    async with opened() as gl:
        await gl.queues.declare("mail")
        first = await gl.enqueue("mail", 1, message_id="order-7")
        again = await gl.enqueue("mail", 1, message_id="order-7")
        assert (again.id, again.fresh) == (first.id, False)
        with pytest.raises(KeyConflict):
            await gl.enqueue("mail", 2, message_id="order-7")


@on_a_loop
async def test_what_no_queue_takes_is_refused_alike(opened: Opened) -> None:
    async with opened() as gl:
        await gl.queues.declare("mail")
        with pytest.raises(UnknownQueue, match="mial"):
            await gl.enqueue("mial", 1)
        with pytest.raises(UnknownQueue):
            await gl.claim("mial")
        with pytest.raises(BadRequest, match="priority"):
            await gl.enqueue("mail", 1, priority=10)
        with pytest.raises(BadRequest, match=r"deep|nested|malformed"):
            await gl.enqueue("mail", deep())
        with pytest.raises(BadRequest):
            await gl.claim("mail", limit=0)
        with pytest.raises(BadRequest):
            await gl.queues.declare("no spaces")
        with pytest.raises(UnknownJob):
            await gl.jobs.look("1-nothing")
        assert (await gl.queues.stats("mail")).queues[0].ready == 0


def deep() -> list[object]:
    nested: list[object] = []
    for _ in range(200):
        nested = [nested]
    return nested


@on_a_loop
async def test_dead_jobs_are_looked_at_and_let_go_again(opened: Opened) -> None:
    async with opened() as gl:
        await gl.queues.declare("mail")
        await gl.enqueue("mail", {"bad": True})
        [claimed] = await gl.claim("mail")
        await gl.settle(
            [NewSettlement(id=claimed.id, fence=claimed.fence, deed=Deed.BURY, reason="no", details="trace")]
        )
        [dead] = (await gl.jobs.browse("mail")).jobs
        assert (dead.reason, dead.details, dead.state) == ("no", "trace", State.DEAD)
        assert (await gl.jobs.redrive("mail", [dead.id], payload={"bad": False})).jobs == 1
        assert (await gl.jobs.look(dead.id)).body() == b'{"bad":false}'
        assert (await gl.jobs.cancel(dead.id)).state is State.WAITING
        with pytest.raises(UnknownJob):
            await gl.jobs.cancel(dead.id)


@on_a_loop
async def test_queues_are_tended(opened: Opened) -> None:
    async with opened() as gl:
        await gl.queues.declare("mail")
        held = await gl.enqueue("mail", 1)
        await gl.queues.pause("mail")
        assert await gl.claim("mail") == []
        await gl.queues.resume("mail")
        [claimed] = await gl.claim("mail")
        with pytest.raises(JobStarted):
            await gl.jobs.cancel(held.id)
        assert [queue.queue for queue in (await gl.queues.list()).queues] == ["mail"]
        await gl.enqueue_many("mail", [1, 2])
        assert (await gl.jobs.purge("mail", "waiting")).jobs == 2
        assert claimed.id == held.id
        assert await gl.queues.drop("mail") == 1
        with pytest.raises(UnknownQueue):
            await gl.queues.drop("mail")


@on_a_loop
async def test_recurring_jobs_are_kept_by_their_name(opened: Opened) -> None:
    async with opened() as gl:
        await gl.queues.declare("report")
        assert await gl.schedules.add(ScheduleRequest(name="r", queue="report", cron="0 0 1 1 *")) > 0
        with pytest.raises(BadRequest):
            await gl.schedules.add(ScheduleRequest(name="r", queue="report", cron="0 0 31 2 *"))
        assert [each.name for each in (await gl.schedules.list()).schedules] == ["r"]
        assert await gl.schedules.remove("r")
        assert not await gl.schedules.remove("r")


@on_a_loop
async def test_a_claim_that_waits_is_woken_by_an_enqueue(opened: Opened) -> None:
    async with opened() as gl:
        await gl.queues.declare("mail")
        waiting = asyncio.create_task(gl.claim("mail", wait="20s"))
        await gl.enqueue("mail", 1)
        assert len(await waiting) == 1


@on_a_loop
async def test_many_at_once_are_each_answered(opened: Opened) -> None:
    async with opened() as gl:
        await gl.queues.declare("mail")
        enqueued = await asyncio.gather(*(gl.enqueue("mail", n) for n in range(300)))
        assert len({each.id for each in enqueued}) == 300
        claimed = await gl.claim("mail", limit=300)
        acks = [NewSettlement(id=each.id, fence=each.fence, deed=Deed.ACK) for each in claimed]
        settled = await asyncio.gather(*(gl.settle([ack]) for ack in acks))
        assert {getattr(each, "state", each) for [each] in settled} == {State.GONE}
        refused = await asyncio.gather(
            *(gl.enqueue(queue, 1) for queue in ("mail", "mial") * 10), return_exceptions=True
        )
        assert sum(isinstance(each, UnknownQueue) for each in refused) == 10


# Streams --------------------------------------------------------------------------------------


@on_a_loop
async def test_what_is_appended_is_read_in_its_partition(opened: Opened) -> None:
    async with opened() as gl:
        assert await gl.streams.declare("orders", StreamSettings(partitions=4, keyed=True))
        first = await gl.append("orders", Mail("ada"), key="ada", headers={"a": "b"})
        second = await gl.append("orders", b"\x00", key="ada", expected_key_offset=first.offset)
        assert (second.partition, second.offset) == (first.partition, first.offset + 1)
        with pytest.raises(PositionConflict):
            await gl.append("orders", 3, key="ada", expected_key_offset=first.offset)
        page = await gl.streams.page("orders", key="ada")
        assert [message.body() for message in page.messages] == [b'{"to":"ada"}', b"\x00"]
        assert page.messages[0].headers == {"a": "b"}
        newest = await gl.streams.page("orders", "latest", partition=first.partition, backwards=True, limit=1)
        assert [message.offset for message in newest.messages] == [second.offset]
        appended = await gl.append_many("orders", [1, 2, 3], atomic=True, partition=0)
        assert [each.offset - appended[0].offset for each in appended] == [0, 1, 2]
        again = await gl.append("orders", 9, message_id="m", partition=0)
        assert (await gl.append("orders", 9, message_id="m", partition=0)).offset == again.offset
        assert not (await gl.append("orders", 9, message_id="m", partition=0)).fresh


@on_a_loop
async def test_what_no_stream_takes_is_refused_alike(opened: Opened) -> None:
    async with opened() as gl:
        await gl.streams.declare("orders", StreamSettings(partitions=2))
        with pytest.raises(UnknownStream, match="oders"):
            await gl.append("oders", 1)
        with pytest.raises(UnknownStream):
            await gl.streams.page("oders")
        with pytest.raises(BadRequest, match="partition"):
            await gl.streams.declare("orders", StreamSettings(partitions=3))
        with pytest.raises(BadRequest, match="keyed"):
            await gl.streams.page("orders", key="ada")
        with pytest.raises(PositionLost):
            await gl.streams.page("orders", Position("elsewhere", 3), partition=0)
        with pytest.raises(BadRequest, match="earliest"):
            await gl.streams.page("orders", "soon", partition=0)  # type: ignore[arg-type]


@on_a_loop
async def test_a_partition_and_a_channel_are_followed_live(opened: Opened) -> None:
    async with opened() as gl:
        await gl.streams.declare("orders")
        await gl.append("orders", 1)
        async with aclosing(gl.streams.follow("orders", "earliest")) as following:
            payload_told, message = await anext(following)
            assert (payload_told, message.stream, message.offset, message.partition) == (1, "orders", 1, 0)
            waiting = asyncio.ensure_future(anext(following))
            await gl.append("orders", b"\xff", key="k")
            payload_told, message = await waiting
            assert (payload_told, message.key) == (b"\xff", "k")
        await gl.publish("chat:1", {"text": "hi"})
        async with aclosing(gl.streams.follow("chat:1", "earliest")) as following:
            assert (await anext(following))[0] == {"text": "hi"}


@on_a_loop
async def test_a_group_reads_commits_and_is_sought(opened: Opened) -> None:
    async with opened() as gl:
        await gl.streams.declare("orders")
        await gl.append_many("orders", [1, 2, 3])
        joined = await gl.streams.heartbeat(HeartbeatRequest(source="orders", group="g", member="m"))
        [held] = joined.held
        wanted = FetchRequest(
            source="orders",
            group="g",
            member="m",
            partitions=[FetchPartition(partition=0, after=held.position)],
            limit=2,
        )
        [fetched] = (await gl.streams.fetch(wanted)).partitions
        assert fetched.page is not None
        assert [message.body() for message in fetched.page.messages] == [b"1", b"2"]
        commit = NewCommit(partition=0, fence=held.fence, offset=2, epoch=fetched.page.epoch)
        request = CommitRequest(source="orders", group="g", member="m", commits=[commit])
        assert (await gl.streams.commit(request)).commits[0].error is None
        assert (await gl.streams.lag("orders", "g")).lag == 1
        assert [group.group for group in (await gl.streams.groups("orders")).groups] == ["g"]
        [sought] = (await gl.streams.seek("orders", "g", "earliest", dry_run=True)).partitions
        assert (sought.again, sought.at_end) == (2, False)
        tomorrow = moment(fetched.page.messages[0].time_ms) + timedelta(days=1)
        [sought] = (await gl.streams.seek("orders", "g", tomorrow, dry_run=True)).partitions
        assert (sought.position.offset, sought.skipped, sought.at_end) == (3, 1, True)
        [sought] = (await gl.streams.seek("orders", "g", 2)).partitions
        assert (sought.position.offset, sought.again) == (1, 1)
        await gl.streams.seek("orders", "g", {0: Position(fetched.page.epoch, 1)})
        assert (await gl.streams.lag("orders", "g")).lag == 2
        [late] = (await gl.streams.commit(request)).commits
        assert late.error is not None
        assert isinstance(late.error.error(), LeaseLost)
        await gl.streams.leave("orders", "g", "m")
        assert await gl.streams.drop_group("orders", "g")
        records = (await gl.streams.audit(what="seek")).records
        assert [record.name for record in records] == ["orders", "orders"]


@on_a_loop
async def test_a_stream_is_trimmed_compacted_and_dropped(opened: Opened) -> None:
    async with opened() as gl:
        await gl.streams.declare("orders", StreamSettings(keyed=True))
        await gl.append_many("orders", [1, 2, 3], key="k")
        assert await gl.streams.compact("orders") == 2
        assert (await gl.streams.trim("orders", partition=0, offset=3)).partitions[0].oldest == 4
        assert (await gl.streams.find("orders", 0)).offset == 3
        assert [stream.stream for stream in (await gl.streams.list()).streams] == ["orders"]
        await gl.streams.drop("orders")
        with pytest.raises(UnknownStream):
            await gl.streams.drop("orders")


# Declared functions ---------------------------------------------------------------------------


@on_a_loop
async def test_a_declared_function_makes_its_queue_when_it_is_first_sent_to(opened: Opened) -> None:
    async with opened() as gl:

        @gl.queue("mail", lease="7s")
        async def send(mail: Mail) -> None: ...

        first, second = await asyncio.gather(send.enqueue(Mail("ada")), send.enqueue(Mail("bob")))
        assert first.id != second.id
        [status] = (await gl.queues.list()).queues
        assert status.options.lease_ms == 7_000


@on_a_loop
async def test_a_declared_reader_makes_its_stream_when_it_is_first_appended_to(opened: Opened) -> None:
    async with opened() as gl:

        @gl.stream("orders", group="billing", partitions=3, key=lambda mail: mail.to)
        async def on_order(mail: Mail) -> None: ...

        first, second = await on_order.append_many([Mail("ada"), Mail("ada")])
        assert first.partition == second.partition
        [status] = (await gl.streams.list()).streams
        assert status.options.partitions == 3
        await gl.declare()


@on_a_loop
async def test_a_replay_gives_messages_again_with_what_names_them(opened: Opened) -> None:
    async with opened() as gl:
        await gl.streams.declare("orders", StreamSettings(partitions=2, keyed=True))
        for number in range(6):
            await gl.append("orders", number, key=f"customer {number % 3}", headers={"n": str(number)})
        told = [(data, m.key, m.headers, m.offset) async for data, m in gl.streams.replay("orders", speed=0)]
        assert sorted(data for data, *_ in told) == [0, 1, 2, 3, 4, 5]
        assert {key: [data for data, of, *_ in told if of == key] for _, key, *_ in told} == {
            f"customer {number}": [number, number + 3] for number in range(3)
        }
        assert all(headers == {"n": str(data)} for data, _, headers, _ in told)
        of_one = [data async for data, _ in gl.streams.replay("orders", key="customer 1", speed=0)]
        assert of_one == [1, 4]
        partition = (await gl.append("orders", 6, key="customer 1")).partition
        page = await gl.streams.page("orders", partition=partition)
        last = page.messages[-1].offset
        rest = gl.streams.replay("orders", last, partition=partition, speed=0)
        assert [data async for data, _ in rest] == [6]


@on_a_loop
async def test_a_replay_pauses_as_the_messages_did_but_for_no_longer_than_it_is_told(opened: Opened) -> None:
    async with opened() as gl:
        await gl.streams.declare("orders")
        await gl.append_many("orders", [1, 2])
        pausing = gl.streams.replay("orders", speed=1, pause="1ms")
        assert [data async for data, _ in pausing] == [1, 2]
        async with aclosing(gl.streams.replay("orders", speed=0)) as given_up:
            assert (await anext(given_up))[0] == 1


@on_a_loop
async def test_a_replay_that_cannot_be_is_refused_with_its_reason(opened: Opened) -> None:
    async with opened() as gl:
        with pytest.raises(UnknownStream):
            await anext(gl.streams.replay("nothing"))
        await gl.streams.declare("orders")
        with pytest.raises(BadRequest):
            await anext(gl.streams.replay("orders", speed=-1))
        with pytest.raises(BadRequest):
            await anext(gl.streams.replay("orders", 0.5))  # type: ignore[arg-type]


@on_a_loop
async def test_declaring_leaves_nobody_else_s_queue_as_it_was(opened: Opened) -> None:
    async with opened() as gl:
        await gl.queues.declare("mail", QueueSettings(lease_ms=1_000))

        @gl.queue("mail", lease="7s")
        async def send(mail: Mail) -> None: ...

        @gl.every("1h")
        def beat() -> None: ...

        await send.enqueue(Mail("ada"))  # who sends changes nothing about a queue that is there
        lease_ms = {queue.queue: queue.options.lease_ms for queue in (await gl.queues.list()).queues}
        assert lease_ms == {"mail": 1_000}
        await gl.declare()
        lease_ms = {queue.queue: queue.options.lease_ms for queue in (await gl.queues.list()).queues}
        assert lease_ms == {"beat": 30_000, "mail": 7_000}
        assert [each.name for each in (await gl.schedules.list()).schedules] == ["beat"]


@on_a_loop
async def test_a_closed_library_opens_again_when_it_is_used(opened: Opened) -> None:
    async with opened() as gl:
        await gl.publish("chat:1", 1)
        await gl.close()
        await gl.close()
        assert isinstance(gl, Gapless)
        assert await gl.publish("chat:1", 2) is not None
