"""`TestGapless`: handlers in memory, on a clock that stands still."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import Struct

from gapless import Backoff, Depends, Gapless, Job, Message, Reject, Release, Router
from gapless.core.errors import ConfigError, LeaseLost, UnknownQueue
from gapless.core.jobs import State
from gapless.testing import TestGapless, harness
from gapless.testing.loop import Deadlock
from tests.server.serving import on_a_loop

CHAT = {"name": "chat", "history_size": 10, "history_ttl": "1h", "force_recovery": True}
STEADY = Backoff(3, base="10s", jitter=False)


class Mail(Struct):
    to: str


class Post:
    """A program with one handler of each kind; `seen` is what the plain code of it did."""

    def __init__(self, **said: Any) -> None:
        self.gl = gl = Gapless("sqlite:/nowhere/at/all.db", config={"channel": {"namespaces": [CHAT]}})
        self.failing: BaseException | None = None
        self.gate = asyncio.Event()
        self.waits = False

        @gl.queue("mail", **{"lease": "30s", "retry": STEADY, **said})
        async def send(mail: Mail, job: Job) -> str:
            if self.waits:
                await self.gate.wait()
            if self.failing is not None:
                raise self.failing
            job.emit({"to": mail.to}, channel="chat:1")
            return f"sent to {mail.to}"

        @gl.stream("orders", group="billing")
        async def bill(order: int, message: Message) -> None:
            if self.failing is not None:
                raise self.failing

        self.send, self.bill = send, bill


# How deliveries end -----------------------------------------------------------------------


def on_asyncio(test: Any) -> Any:
    """Run a test on asyncio's own loop, which shows what is ready."""
    return lambda: asyncio.run(asyncio.wait_for(test(), 30))


@pytest.mark.parametrize("run", [on_asyncio, on_a_loop], ids=["asyncio", "uvloop"])
def test_a_job_is_handled_when_the_test_says_so(run: Any) -> None:
    async def test() -> None:
        post = Post()
        async with TestGapless(post.gl) as t:
            await post.send.enqueue(Mail("ada"))
            assert [job.payload for job in await t.jobs("mail")] == [{"to": "ada"}]
            assert t.calls(post.send) == []
            await t.run_until_idle()
            assert t.calls(post.send) == [Mail("ada")]
            assert await t.jobs("mail") == []
            assert t.published("chat:1") == [{"to": "ada"}]

    run(test)()


def test_what_became_of_a_delivery_is_told() -> None:
    post = Post()
    with TestGapless(post.gl) as t:
        post.send.enqueue_sync(Mail("ada"), key="a")
        t.run_until_idle()
        [delivered] = t.deliveries(post.send)
        assert (delivered.name, delivered.key, delivered.attempt) == ("mail", "a", 1)
        assert delivered.arguments["mail"] == Mail("ada")
        assert isinstance(delivered.arguments["job"], Job)
        assert (delivered.outcome, delivered.result, delivered.error) == ("acked", "sent to ada", None)


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [(ValueError("no"), "retried"), (Release(delay="1h"), "released"), (Reject("never"), "dead")],
)
def test_each_end_has_its_name(raised: BaseException, outcome: str) -> None:
    post = Post()
    post.failing = raised
    with TestGapless(post.gl) as t:
        post.send.enqueue_sync(Mail("ada"))
        t.run_until_idle()
        [delivered] = t.deliveries("mail")
        assert (delivered.outcome, delivered.error) == (outcome, raised)
        assert t.published("chat:1") == []


def test_retries_fall_due_as_time_passes_and_end_with_the_dead_letters() -> None:
    post = Post()
    post.failing = ValueError("no route")
    with TestGapless(post.gl) as t:
        post.send.enqueue_sync(Mail("ada"))
        t.advance("9s")
        assert len(t.calls(post.send)) == 1
        t.advance("1s")
        assert len(t.calls(post.send)) == 2
        t.advance("20s")
        assert [each.outcome for each in t.deliveries(post.send)] == ["retried", "retried", "dead"]
        [dead] = t.dead("mail")
        assert (dead.state, dead.reason, dead.attempt) == (State.DEAD, "ValueError: no route", 3)
        assert "Traceback" in dead.details


def test_a_message_that_fails_is_tried_again_and_committed_in_the_end() -> None:
    post = Post()
    post.failing = ValueError("no")
    with TestGapless(post.gl) as t:
        post.bill.append_sync(7)
        t.run_until_idle()
        post.failing = None
        t.advance("1s")
        assert [(each.attempt, each.outcome) for each in t.deliveries(post.bill)] == [
            (1, "failed"),
            (2, "committed"),
        ]


def test_a_payload_that_cannot_be_read_is_dead_and_no_call() -> None:
    post = Post()
    with TestGapless(post.gl) as t:
        post.gl.sync.declare()
        post.gl.sync.enqueue("mail", {"to": 5})
        t.run_until_idle()
        assert t.calls(post.send) == []
        assert "the payload is no Mail" in t.dead("mail")[0].reason


# Time -------------------------------------------------------------------------------------


def test_schedules_fire_at_their_times() -> None:
    gl = Gapless("memory:")
    fired: list[datetime] = []

    @gl.cron("*/5 * * * *")
    async def tick() -> None:
        fired.append(t.now)

    with TestGapless(gl, start=datetime(2026, 1, 31, 23, 58, tzinfo=UTC)) as t:
        t.advance("12m")
    midnight = datetime(2026, 2, 1, tzinfo=UTC)
    assert fired == [midnight, midnight + timedelta(minutes=5), midnight + timedelta(minutes=10)]


def test_every_run_begins_at_the_same_time() -> None:
    with TestGapless(Gapless("memory:")) as t:
        assert t.now == datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_delay_and_a_time_are_waited_for() -> None:
    post = Post()
    with TestGapless(post.gl) as t:
        post.send.enqueue_sync(Mail("later"), delay="1h")
        post.send.enqueue_sync(Mail("at"), at=t.now + timedelta(minutes=30))
        t.advance("29m")
        assert t.calls(post.send) == []
        t.advance("1m")
        assert t.calls(post.send) == [Mail("at")]
        t.advance("30m")
        assert t.calls(post.send) == [Mail("at"), Mail("later")]


def test_a_handler_that_takes_its_time_keeps_its_lease() -> None:
    post = Post()
    post.waits = True
    with TestGapless(post.gl) as t:
        post.send.enqueue_sync(Mail("ada"))
        t.advance("10m")
        assert [each.outcome for each in t.deliveries(post.send)] == ["running"]
        post.gl.wait_for(_set(post.gate))
        t.run_until_idle()
        assert [each.outcome for each in t.deliveries(post.send)] == ["acked"]


def test_a_timeout_is_over_in_no_time() -> None:
    post = Post(timeout="5m")
    post.waits = True
    with TestGapless(post.gl) as t:
        post.send.enqueue_sync(Mail("ada"))
        t.advance("5m")
        assert [each.outcome for each in t.deliveries(post.send)] == ["retried"]
        assert t.jobs("mail")[0].reason == "timeout after 5m"


def test_a_handler_may_take_time_of_the_clock() -> None:
    gl = Gapless("memory:")
    woken: list[datetime] = []

    @gl.queue("naps")
    async def nap(minutes: int) -> None:
        await harnessed.pause(f"{minutes}m")
        woken.append(harnessed.now)

    harnessed = TestGapless(gl)
    with harnessed as t:
        began = t.now
        nap.enqueue_sync(20)
        t.advance("1h")
    assert woken == [began + timedelta(minutes=20)]


def test_a_plain_handler_in_its_thread_is_waited_for() -> None:
    gl = Gapless("memory:")
    threads = []

    @gl.queue("images")
    def shrink(name: str, job: Job) -> None:
        job.wait(job.extend("1m"))
        threads.append(threading.current_thread())

    with TestGapless(gl) as t:
        shrink.enqueue_sync("cat.png")
        t.run_until_idle()
        assert [each.outcome for each in t.deliveries(shrink)] == ["acked"]
    assert threads[0] is not threading.main_thread()


def test_what_never_comes_to_rest_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gapless.testing.quiet.TURNS_MAX", 500)
    gl = Gapless("memory:")

    @gl.queue("echo")
    async def echo(n: int, job: Job) -> None:
        job.emit(n + 1, queue="echo")

    with TestGapless(gl) as t:
        echo.enqueue_sync(0)
        with pytest.raises(Deadlock):
            t.run_until_idle()


# Crashes ----------------------------------------------------------------------------------


def test_a_crash_before_the_ack_brings_the_job_again_when_its_lease_has_run_out() -> None:
    post = Post()
    with TestGapless(post.gl) as t:
        post.send.enqueue_sync(Mail("ada"))
        t.crash_before_ack()
        t.run_until_idle()
        assert [each.outcome for each in t.deliveries(post.send)] == ["crashed"]
        assert t.published("chat:1") == []
        t.advance("29s")
        assert len(t.deliveries(post.send)) == 1
        t.advance("12s")  # the lease, then the delay of its policy
        assert [(each.attempt, each.outcome) for each in t.deliveries(post.send)] == [
            (1, "crashed"),
            (2, "acked"),
        ]
        assert t.published("chat:1") == [{"to": "ada"}]


def test_a_crash_after_the_ack_brings_nothing_again() -> None:
    post = Post()
    with TestGapless(post.gl) as t:
        post.send.enqueue_sync(Mail("ada"))
        t.crash_after_ack()
        t.advance("1h")
        assert [each.outcome for each in t.deliveries(post.send)] == ["acked"]
        assert t.published("chat:1") == [{"to": "ada"}]
        post.send.enqueue_sync(Mail("bob"))
        t.run_until_idle()
        assert t.calls(post.send) == [Mail("ada"), Mail("bob")]


@pytest.mark.parametrize(("after", "outcomes"), [(False, ["crashed", "committed"]), (True, ["committed"])])
def test_a_crash_around_a_commit(after: bool, outcomes: list[str]) -> None:
    post = Post()
    with TestGapless(post.gl) as t:
        post.bill.append_sync(7)
        (t.crash_after_commit if after else t.crash_before_commit)()
        t.run_until_idle()
        assert [each.outcome for each in t.deliveries(post.bill)] == outcomes[:1]
        t.advance("31s")
        assert [each.outcome for each in t.deliveries(post.bill)] == outcomes


def test_what_else_the_worker_had_at_hand_dies_with_it() -> None:
    post = Post()
    with TestGapless(post.gl) as t:
        post.waits = True
        post.send.enqueue_sync(Mail("slow"))
        t.run_until_idle()
        post.waits = False
        post.send.enqueue_sync(Mail("quick"))
        t.crash_before_ack()
        t.run_until_idle()
        assert [each.outcome for each in t.deliveries(post.send)] == ["crashed", "crashed"]
        t.advance("41s")
        assert sorted(each.payload.to for each in t.deliveries(post.send)[2:]) == ["quick", "slow"]


def test_the_lifespan_begins_anew_with_the_next_worker() -> None:
    gl = Gapless("memory:")
    lives = []

    @gl.lifespan
    async def life() -> AsyncIterator[int]:
        lives.append("begun")
        yield len(lives)
        lives.append("ended")

    @gl.queue("mail")
    async def send(mail: str, life: int = Depends(gl.state)) -> None: ...

    with TestGapless(gl) as t:
        send.enqueue_sync("ada")
        t.crash_before_ack()
        t.advance("1h")
    assert lives == ["begun", "ended", "begun", "ended"]


# Channels ---------------------------------------------------------------------------------


@on_a_loop
async def test_a_reader_that_was_away_has_no_gap() -> None:
    post = Post()
    async with TestGapless(post.gl) as t, t.reader("chat:1") as reader:
        await post.gl.publish("chat:1", 1)
        await reader.disconnect()
        await post.gl.publish("chat:1", 2)
        await reader.connect()
        await post.gl.publish("chat:1", 3)
        await t.assert_no_gaps(reader)
        assert reader.payloads == [1, 2, 3]


@on_a_loop
async def test_a_gap_is_told() -> None:
    post = Post()
    async with TestGapless(post.gl) as t:
        await post.gl.publish("chat:1", 0)
        async with t.reader("chat:1") as reader:
            for n in range(3):
                await post.gl.publish("chat:1", n)
            await t.assert_no_gaps(reader)
            read = list(reader.publications)
            await t.assert_no_gaps(read)
            for wrong, told in (
                ([read[0], read[2]], "1 of 3 messages were not read: offsets \\[3\\]"),
                ([read[0], read[0]], "offset 2 was read twice"),
                ([read[1], read[0], read[2]], "offset 2 was read after 3"),
            ):
                with pytest.raises(AssertionError, match=told):
                    await t.assert_no_gaps(wrong)
            reader.publications.pop()
            with pytest.raises(AssertionError, match="not read"):
                await t.assert_no_gaps(reader)


def test_a_repeat_is_published_once() -> None:
    post = Post()
    with TestGapless(post.gl) as t:
        for _ in range(2):
            post.gl.sync.publish("chat:1", "hi", idempotency_key="m-1")
        post.gl.sync.publish("chat:1", b"\x00")
        assert t.published("chat:1") == ["hi", b"\x00"]
        assert t.published("chat:2") == []


# The Gapless ------------------------------------------------------------------------------


def test_it_is_as_before_afterwards() -> None:
    post = Post()
    with harness(post.gl) as t:
        post.send.enqueue_sync(Mail("ada"))
        t.run_until_idle()
    with TestGapless(post.gl) as t:
        assert t.calls(post.send) == []
        with pytest.raises(UnknownQueue):
            t.jobs("nothing")
    assert not [thread for thread in threading.enumerate() if thread.name == "gapless-testing"]


@on_a_loop
async def test_one_that_is_open_cannot_be_tested() -> None:
    async with Gapless("memory:") as gl:
        with pytest.raises(ConfigError, match="it is open"):
            async with TestGapless(gl):
                pass


@on_a_loop
async def test_without_handlers_it_is_a_store_on_a_clock() -> None:
    gl = Gapless("memory:")
    async with TestGapless(gl) as t:
        await gl.queues.declare("mail")
        await gl.enqueue("mail", "ada")
        [job] = await gl.claim("mail", lease="30s")
        await t.advance("31s")
        [late] = await gl.extend([job])
        assert isinstance(late, LeaseLost)


def test_routers_and_overrides_hold() -> None:
    gl, router = Gapless("memory:"), Router()
    used = []

    def post_office() -> str:
        raise AssertionError("the real one")

    @router.queue("mail")
    async def send(mail: str, office: str = Depends(post_office)) -> None:
        used.append(office)

    gl.include(router)
    gl.dependency_overrides[post_office] = lambda: "a stand-in"
    with TestGapless(gl) as t:
        send.enqueue_sync("ada")
        t.run_until_idle()
    assert used == ["a stand-in"]


async def _set(event: asyncio.Event) -> None:
    event.set()
