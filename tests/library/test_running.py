"""What becomes of a delivery: by return, by exception, by hand."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from msgspec import Struct

from gapless.core.errors import BadRequest, LeaseLost
from gapless.core.jobs import Deed
from gapless.core.limits import JOB_DETAILS_BYTES_MAX, JOB_REASON_BYTES_MAX
from gapless.library.delivery import Delivery, Job, Message
from gapless.library.depends import Depends
from gapless.library.outcomes import Backoff, Outcome, Reject, Release, Retry
from gapless.library.router import Router
from gapless.library.running import Context, Middleware, run_handler
from tests.library.deliveries import Counter, job, message
from tests.server.serving import on_a_loop

PAYLOAD = b'{"to":"ada"}'


class Mail(Struct):
    to: str


async def outcome(handler: Any, delivery: Delivery | None = None, **context: Any) -> Outcome:
    found = await run_handler(handler, delivery or job(), PAYLOAD, Context(**context))
    assert found is not None
    return found


@on_a_loop
async def test_a_return_is_an_ack() -> None:
    router = Router()

    @router.queue("mail")
    async def send(mail: Mail) -> str:
        return mail.to

    @router.queue("plain")
    def plain(mail: Mail) -> str:
        return mail.to

    assert await outcome(send) == Outcome(deed=Deed.ACK)
    assert await outcome(plain) == Outcome(deed=Deed.ACK)


@on_a_loop
async def test_a_result_goes_with_the_ack_where_it_is_kept() -> None:
    router = Router()

    @router.queue("mail")
    async def send(mail: Mail) -> dict[str, str]:
        return {"sent": mail.to}

    @router.queue("bytes")
    async def raw(mail: Mail) -> bytes:
        return b"\x00"

    @router.queue("opaque")
    async def opaque(mail: Mail) -> object:
        return object()

    kept = job(keeps_result=True)
    assert await outcome(send) == Outcome(deed=Deed.ACK)
    assert await outcome(send, kept) == Outcome(deed=Deed.ACK, result=b'{"sent":"ada"}')
    assert await outcome(raw, kept) == Outcome(deed=Deed.ACK, result=b"\x00", binary=True)
    assert (await outcome(opaque, kept)).deed is Deed.BURY  # it is done: trying again would do it twice


@pytest.mark.parametrize(
    ("error", "deed", "delay_ms", "reason"),
    [
        (ValueError("no\n such  thing"), Deed.RETRY, None, "ValueError: no such thing"),
        (KeyError(), Deed.RETRY, None, "KeyError"),
        (Retry(delay="2m"), Deed.RETRY, 120_000, "Retry"),
        (Retry("busy"), Deed.RETRY, None, "busy"),
        (Reject("bad address"), Deed.BURY, None, "bad address"),
        (Release(delay=1), Deed.RELEASE, 1_000, "Release"),
        (SystemExit(3), Deed.RETRY, None, "SystemExit: 3"),
        (asyncio.CancelledError(), Deed.RETRY, None, "CancelledError"),
        (ValueError("\udcff"), Deed.RETRY, None, "ValueError: \\udcff"),
    ],
)
@on_a_loop
async def test_an_exception_says_what_is_to_be_done(
    error: BaseException, deed: Deed, delay_ms: int | None, reason: str
) -> None:
    router = Router()

    @router.queue("mail")
    async def send(mail: Mail) -> None:
        raise error

    found = await outcome(send)
    assert (found.deed, found.delay_ms, found.reason) == (deed, delay_ms, reason)
    assert ("in send" in found.details) is (deed is not Deed.RELEASE)


@on_a_loop
async def test_a_traceback_begins_with_the_handler() -> None:
    router = Router()

    @router.queue("mail")
    async def send(mail: Mail) -> None:
        raise ValueError("no")

    head, first, *_ = (await outcome(send)).details.splitlines()
    assert head == "Traceback (most recent call last):"
    assert first.endswith("in send")


@on_a_loop
async def test_a_long_failure_is_cut_to_its_limits_at_the_useful_end() -> None:
    router = Router()

    @router.queue("mail")
    async def send(mail: Mail) -> None:
        raise ValueError("é" * 100_000 + "the end")

    found = await outcome(send)
    assert len(found.reason.encode()) <= JOB_REASON_BYTES_MAX
    assert len(found.details.encode()) <= JOB_DETAILS_BYTES_MAX
    assert found.reason.startswith("ValueError: é")
    assert found.details.endswith("the end\n")


@on_a_loop
async def test_a_payload_that_cannot_be_read_is_buried_without_a_call() -> None:
    router = Router()

    @router.queue("numbers")
    async def number(n: int) -> None:
        raise AssertionError("called")

    found = await outcome(number)
    assert found.deed is Deed.BURY
    assert "no int" in found.reason


@on_a_loop
async def test_what_is_cancelled_from_outside_is_no_outcome() -> None:
    router, begun = Router(), asyncio.Event()

    @router.queue("mail")
    async def send(mail: Mail) -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(outcome(send))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@on_a_loop
async def test_a_dependency_that_swallows_an_error_does_not_acknowledge() -> None:
    router = Router()

    async def swallow() -> AsyncIterator[None]:
        with suppress(ValueError):
            yield

    @router.queue("mail")
    async def send(mail: Mail, _: None = Depends(swallow)) -> None:
        raise ValueError("not done")

    assert (await outcome(send)).reason == "ValueError: not done"


@on_a_loop
async def test_a_dependency_that_fails_at_its_end_fails_the_job() -> None:
    router = Router()

    def transaction() -> Iterator[None]:
        yield
        raise OSError("commit failed")

    @router.queue("mail")
    async def send(mail: Mail, _: None = Depends(transaction)) -> None:
        pass

    found = await outcome(send)
    assert (found.deed, found.reason) == (Deed.RETRY, "OSError: commit failed")


@on_a_loop
async def test_what_is_emitted_goes_with_the_ack_and_with_nothing_else() -> None:
    router = Router()

    @router.queue("receipts", key=lambda mail: mail.to)
    async def receipt(mail: Mail) -> None: ...

    @router.stream("log", group="g")
    async def logged(entry: dict[str, Any]) -> None: ...

    @router.queue("mail")
    async def send(mail: Mail, job: Job) -> None:
        job.emit({"text": "hi"}, channel="chat:1", headers={"a": "b"}, idempotency_key="k")
        job.emit(mail, queue=receipt, delay="1m")
        job.emit(b"\x00", queue="raw", key="other")
        job.emit({"n": 1}, stream=logged, key="n")
        if job.attempt == 1:
            raise Retry

    assert (await outcome(send)).emit == []
    publish, enqueue, raw, append = (await outcome(send, job(attempt=2))).emit
    assert publish.publish is not None
    assert publish.publish.channel == "chat:1"
    assert bytes(publish.publish.data) == b'{"text":"hi"}'
    assert enqueue.enqueue is not None
    assert (enqueue.enqueue.queue, enqueue.enqueue.key, enqueue.enqueue.delay_ms) == (
        "receipts",
        "ada",
        60_000,
    )
    assert raw.enqueue is not None
    assert (raw.enqueue.queue, raw.enqueue.key, raw.enqueue.b64data) == ("raw", "other", b"\x00")
    assert append.append is not None
    assert (append.append.stream, append.append.key) == ("log", "n")


@on_a_loop
async def test_what_is_emitted_goes_to_one_place() -> None:
    with pytest.raises(BadRequest, match="name one"):
        job().emit({})  # type: ignore[call-overload]
    with pytest.raises(BadRequest, match="name one"):
        job().emit({}, queue="a", channel="b")  # type: ignore[call-overload]


@on_a_loop
async def test_at_most_once_acknowledges_first_and_tries_no_more() -> None:
    router, desk = Router(), Counter()

    @router.queue("mail", guarantee="at-most-once")
    async def send(mail: Mail, job: Job) -> None:
        assert desk.settled == [Outcome(deed=Deed.ACK)]
        job.emit({}, channel="chat:1")  # too late: an error

    assert await run_handler(send, job(desk), PAYLOAD, Context()) is None
    assert len(desk.settled) == 1


@on_a_loop
async def test_at_most_once_does_not_run_what_is_another_s() -> None:
    router, desk = Router(), Counter()
    desk.lost = True

    @router.queue("mail", guarantee="at-most-once")
    async def send(mail: Mail) -> None:
        raise AssertionError("called")

    with pytest.raises(LeaseLost):
        await run_handler(send, job(desk), PAYLOAD, Context())


@on_a_loop
async def test_by_hand_the_handler_settles_or_nobody_does() -> None:
    router, desk = Router(), Counter()

    @router.queue("mail", ack="manual")
    async def send(mail: Mail, job: Job) -> None:
        job.emit({}, channel="chat:1")
        await job.ack({"sent": True})

    @router.queue("later", ack="manual")
    async def later(mail: Mail) -> None: ...

    @router.queue("never", ack="manual")
    async def never(mail: Mail) -> None:
        raise ValueError

    assert await run_handler(send, job(desk, manual=True), PAYLOAD, Context()) is None
    [settled] = desk.settled
    assert (settled.deed, settled.result, len(settled.emit)) == (Deed.ACK, b'{"sent":true}', 1)
    assert await run_handler(later, job(desk, manual=True), PAYLOAD, Context()) is None
    assert len(desk.settled) == 1
    assert (await outcome(never, job(desk, manual=True))).deed is Deed.RETRY


@on_a_loop
async def test_each_deed_can_be_done_by_hand_where_that_was_declared() -> None:
    desk = Counter()
    await job(desk, manual=True).retry("later", delay="1s")
    await job(desk, manual=True).release(delay="2s")
    await job(desk, manual=True).bury("never")
    told = [(outcome.deed, outcome.delay_ms, outcome.reason) for outcome in desk.settled]
    assert told == [(Deed.RETRY, 1_000, "later"), (Deed.RELEASE, 2_000, ""), (Deed.BURY, None, "never")]
    with pytest.raises(BadRequest, match='ack="manual"'):
        await job(desk).ack()


@on_a_loop
async def test_a_plain_handler_can_wait_for_its_job() -> None:
    router, desk = Router(), Counter()

    @router.queue("mail")
    def send(mail: Mail, job: Job) -> None:
        assert job.wait(job.extend("1m")).second == 31

    assert (await outcome(send, job(desk))).deed is Deed.ACK
    assert desk.extended == [60_000]


class Telling(Middleware):
    def __init__(self, name: str, told: list[str]) -> None:
        self._name = name
        self._told = told

    async def before(self, delivery: Delivery) -> None:
        self._told.append(f"before {self._name}")

    async def after(self, delivery: Delivery, result: Any) -> None:
        self._told.append(f"after {self._name} {result}")

    async def error(self, delivery: Delivery, error: BaseException) -> None:
        self._told.append(f"error {self._name} {error}")
        raise OSError("nobody hears of this but the log")


@on_a_loop
async def test_middleware_is_told_from_outside_in_and_back() -> None:
    router, told = Router(), list[str]()

    @router.queue("mail")
    async def send(mail: Mail, job: Job) -> int:
        if job.attempt == 1:
            raise ValueError("no")
        return 5

    middleware = [Telling("one", told), Telling("two", told)]
    assert (await outcome(send, middleware=middleware)).reason == "ValueError: no"
    assert told == ["before one", "before two", "error two no", "error one no"]
    told.clear()
    assert (await outcome(send, job(attempt=2), middleware=middleware)).deed is Deed.ACK
    assert told == ["before one", "before two", "after two 5", "after one 5"]


@on_a_loop
async def test_the_state_is_there_while_something_is_handled() -> None:
    router = Router()

    @router.queue("mail")
    def send(mail: Mail, state: dict[str, int] = Depends(router.state)) -> None:
        assert state == {"db": 1} == router.state()

    assert (await outcome(send, state={"db": 1})).deed is Deed.ACK


@on_a_loop
async def test_a_message_of_a_stream_is_handled_in_the_same_way() -> None:
    router = Router()

    @router.stream("orders", group="billing")
    async def on_order(mail: Mail, message: Message) -> None:
        told = message.stream, message.partition, message.offset, message.key, message.id, message.position
        assert told == ("orders", 1, 8, "ada", "orders/1/g/8", ("g", 8))
        assert message.headers == {"from": "test"}
        message.emit({}, channel="chat:1")

    found = await outcome(on_order, message())
    assert found.deed is Deed.ACK
    assert len(found.emit) == 1


def test_a_backoff_is_a_policy_of_the_queue() -> None:
    policy = Backoff(3, base="2s", cap="5s", jitter=False).policy
    assert [policy.delay_ms(attempt, 0.5) for attempt in (1, 2, 3)] == [2_000, 4_000, 5_000]
    listed = Backoff(delays=["1s", "1m"], jitter=False).policy
    assert [listed.delay_ms(attempt, 0.5) for attempt in (1, 2, 3)] == [1_000, 60_000, 60_000]
