"""Declaring: what is said of functions, what they are then, what is refused. Types are held by mypy."""

import pickle
from datetime import UTC, datetime
from typing import Any, assert_type

import pytest
from msgspec import Struct

from gapless.core.errors import BadRequest, ConfigError
from gapless.core.jobs import Enqueued, OnDead
from gapless.core.retry import Retry
from gapless.library.delivery import Job, Message
from gapless.library.depends import Depends
from gapless.library.handlers import QueueHandler
from gapless.library.outcomes import Backoff
from gapless.library.router import Router
from gapless.library.times import moment
from gapless.protocol.groups import OnLost
from gapless.protocol.queues import NewJob
from gapless.protocol.reading import Edge
from gapless.protocol.schedules import Missed
from gapless.protocol.settings import QueueSettings
from gapless.protocol.streams import AppendedMessage, NewMessage
from tests.server.serving import on_a_loop


class Mail(Struct):
    to: str


class Sent:
    """A Gapless in a test's hand: remembers what was to be sent."""

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self.messages: list[NewMessage] = []

    async def send_jobs(self, jobs: list[NewJob]) -> list[Enqueued]:
        self.jobs += jobs
        return [Enqueued(id=str(number)) for number, _ in enumerate(jobs)]

    async def send_messages(self, stream: str, messages: list[NewMessage]) -> list[AppendedMessage]:
        self.messages += messages
        return [
            AppendedMessage(partition=0, offset=number, epoch="g", time_ms=0, fresh=True)
            for number, _ in enumerate(messages, start=1)
        ]

    def wait_for(self, work: Any) -> Any:
        with pytest.raises(StopIteration) as ended:
            work.send(None)
        return ended.value.value


class Root(Router):
    """What includes routers, and sends for them."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = Sent()

    def _sender(self) -> Sent:
        return self.sent


@on_a_loop
async def test_a_declared_function_can_be_called_as_before_and_keeps_its_types() -> None:
    router = Router()

    @router.queue("mail", retry=Backoff(3), lease="1m")
    async def send(mail: Mail, job: Job | None = None, *, loud: bool = False) -> str:
        """Send it."""
        return mail.to.upper() if loud else mail.to

    assert_type(await send(Mail("ada"), loud=True), str)
    assert await send(mail=Mail("ada"), loud=True) == "ADA"
    assert (send.__name__, send.__doc__) == ("send", "Send it.")
    with pytest.raises(TypeError):
        await send("ada", quiet=True)  # type: ignore[arg-type, call-arg]


@on_a_loop
async def test_a_job_is_enqueued_by_its_function_with_what_was_declared() -> None:
    root, router = Root(), Router()

    @router.queue("mail", key=lambda mail: mail.to, unique_for="1h")
    def send(mail: Mail, job: Job) -> None: ...

    root.include(router)
    assert_type(await send.enqueue(Mail("ada")), Enqueued)
    await send.enqueue(
        Mail("bob"), delay="10m", message_id="order-7", priority=9, key="k", headers={"a": "b"}, expires=5
    )
    await send.enqueue(Mail("ada"), at=datetime(2030, 1, 1, tzinfo=UTC), unique="once", unique_for="2h")
    first, second, third = root.sent.jobs
    assert (first.queue, first.key, bytes(first.data), first.unique_ms) == (
        "mail",
        "ada",
        b'{"to":"ada"}',
        3_600_000,
    )
    assert first.unique != second.unique
    assert (second.delay_ms, second.message_id, second.priority, second.key) == (600_000, "order-7", 9, "k")
    assert (second.headers, second.expires_ms) == ({"a": "b"}, 5_000)
    assert (third.at_ms, third.unique, third.unique_ms) == (1_893_456_000_000, "once", 7_200_000)
    assert [enqueued.id for enqueued in await send.enqueue_many([Mail("a"), Mail("b")])] == ["0", "1"]


@on_a_loop
async def test_a_message_is_appended_by_its_function() -> None:
    root = Root()

    @root.stream("orders", group="billing", key=lambda mail: mail.to)
    async def on_order(mail: Mail, message: Message) -> None: ...

    assert_type(await on_order.append(Mail("ada"), message_id="m", expected_key_offset=0), AppendedMessage)
    await on_order.append_many([Mail("bob")], partition=2)
    first, second = root.sent.messages
    assert (first.key, first.message_id, first.expected_key_offset) == ("ada", "m", 0)
    assert (second.key, second.partition) == ("bob", 2)


def test_jobs_and_messages_are_sent_without_a_loop_too() -> None:
    root = Root()

    @root.queue("mail")
    def send(mail: Mail) -> None: ...

    @root.stream("orders", group="billing")
    def on_order(mail: Mail) -> None: ...

    assert_type(send.enqueue_sync(Mail("ada")), Enqueued)
    assert send.send_sync(Mail("ada"), priority=1).id == "0"
    assert_type(on_order.append_sync(Mail("ada")), AppendedMessage)
    assert len(root.sent.jobs) == 2


@on_a_loop
async def test_another_payload_is_refused_by_the_types_and_at_once() -> None:
    root = Root()

    @root.queue("mail")
    def send(mail: Mail) -> None: ...

    with pytest.raises(BadRequest, match="has to be Mail, not str"):
        await send.enqueue("ada")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="dely"):
        await send.enqueue(Mail("ada"), dely="1m")  # type: ignore[call-arg]
    with pytest.raises(BadRequest, match="soon"):
        await send.enqueue(Mail("ada"), delay="soon")
    assert not root.sent.jobs


@on_a_loop
async def test_a_router_that_nobody_includes_sends_nothing() -> None:
    router = Router()

    @router.queue("mail")
    def send(mail: Mail) -> None: ...

    with pytest.raises(ConfigError, match="include"):
        await send.enqueue(Mail("ada"))


def test_what_is_said_of_a_queue_becomes_its_options() -> None:
    router = Router()

    @router.queue(
        "mail",
        retry=Backoff(2, delays=["5s"]),
        lease="10s",
        timeout="5m",
        ordered=False,
        fair=True,
        in_flight=7,
        in_flight_per_worker=3,
        concurrency=4,
        waiting=100,
        result_ttl="1h",
        keep_dead="24h",
        on_dead="stop",
        ack="manual",
    )
    def send(mail: Mail) -> None: ...

    options = send.terms.settings
    assert isinstance(options.retry, Retry)
    assert (options.retry.attempts_max, options.retry.delays_ms, options.lease_ms) == (2, (5_000,), 10_000)
    assert (options.ordered, options.fair, options.on_dead) == (False, True, OnDead.STOP)
    assert (options.in_flight_max, options.in_flight_per_worker_max, options.waiting_max) == (7, 3, 100)
    assert (options.result_ms, options.dead_ms) == (3_600_000, 86_400_000)
    assert (send.terms.timeout_ms, send.terms.concurrency, send.terms.manual) == (300_000, 4, True)


def test_what_is_said_of_a_stream_is_said_by_one_of_its_handlers() -> None:
    router = Router()

    @router.stream("orders", group="billing", partitions=8, compact=True, keep_for="24h", start="latest")
    def bill(mail: Mail) -> None: ...

    @router.stream("orders", group="search", start=moment(5_000), on_lost="oldest")
    def index(mail: Mail) -> None: ...

    assert bill.terms.settings is not None
    assert (bill.terms.settings.partitions, bill.terms.settings.keyed) == (8, True)
    assert bill.terms.settings.retention_ms == 86_400_000
    assert index.terms.settings is None
    assert (bill.terms.start, index.terms.start, index.terms.on_lost) == (Edge.LATEST, 5_000, OnLost.OLDEST)
    with pytest.raises(ConfigError, match="otherwise"):
        router.stream("orders", group="other", partitions=4)(bill.function)


def test_recurring_functions_have_a_queue_of_their_own() -> None:
    router = Router()

    @router.cron("*/5 * * * *", tz="Europe/Berlin", missed="all")
    async def report(job: Job, db: int = Depends(lambda: 1)) -> None: ...

    @router.every("10s", name="beat", retry=Backoff(1))
    def tick() -> None: ...

    assert (report.schedule.name, report.schedule.queue, report.schedule.cron) == (
        "report",
        "report",
        "*/5 * * * *",
    )
    assert (report.schedule.time_zone, report.schedule.missed) == ("Europe/Berlin", Missed.ALL)
    assert (tick.name, tick.schedule.every_ms) == ("beat", 10_000)
    assert tick.terms.settings == QueueSettings(retry=Backoff(1).policy)
    assert tick() is None
    with pytest.raises(ConfigError, match="'payload'"):
        router.every("1s")(lambda payload: None)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"retry": 3}, r"retry.*Backoff\(5\)"),
        ({"lease": "soon"}, "lease.*soon"),
        ({"lease": "1ms"}, "lease.*100ms"),
        ({"timeout": -1}, "timeout"),
        ({"guarantee": "exactly-once"}, "guarantee.*at-most-once"),
        ({"ack": "manual", "guarantee": "at-most-once"}, "by hand"),
        ({"executor": "gpu"}, "executor.*'thread', 'process'"),
        ({"on_dead": "ignore"}, "on_dead.*'go_on', 'stop'"),
    ],
)
def test_a_malformed_option_names_the_function_and_itself(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"handler: .*{words}|handler: {words}"):

        @Router().queue("mail", **said)
        def handler(mail: Mail) -> None: ...


@pytest.mark.parametrize("start", [5, 1_700_000_000_000, "soon"])
def test_a_group_that_is_new_starts_at_an_end_or_at_a_datetime(start: Any) -> None:
    async def handler(number: int) -> None: ...

    with pytest.raises(ConfigError, match='start: "earliest", "latest" or a datetime'):
        Router().stream("orders", group="g", start=start)(handler)


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="retries"):
        Router().queue("mail", retries=5)(lambda mail: None)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["two words", "", "-a", "chat:1", "a" * 129])
def test_a_name_that_no_queue_can_have_is_told_with_its_function(name: str) -> None:
    def post(mail: Mail) -> None: ...

    with pytest.raises(ConfigError, match=r"post: .* is no name of a queue"):
        Router().queue(name)(post)


def test_a_handler_does_not_yield() -> None:
    def handler(mail: Mail) -> Any:
        yield

    with pytest.raises(ConfigError, match="yields"):
        Router().queue("mail")(handler)


def test_one_queue_has_one_handler_wherever_it_is_declared() -> None:
    root, one, two = Router(), Router(), Router()
    one.queue("mail")(handle)
    two.queue("mail")(handle)
    root.include(one)
    with pytest.raises(ConfigError, match=r"'mail'.*handled already"):
        root.include(two)
    with pytest.raises(ConfigError, match="handled already"):
        root.queue("mail")(handle)
    with pytest.raises(ConfigError, match="included once"):
        root.include(one)
    one.queue("late")(handle)
    assert [handler.name for handler in root.handlers()] == ["mail", "late"]


def handle(mail: Mail) -> None:
    """Handle it."""


@Router().queue("cpu", executor="process")
def crunch(mail: Mail) -> str:
    """Take long."""
    return mail.to


def test_a_function_for_a_process_of_a_pool_is_found_there_by_its_name() -> None:
    again: QueueHandler[Any] = pickle.loads(pickle.dumps(crunch.binding.call))
    assert again is crunch
    with pytest.raises(ConfigError, match="async"):

        @Router().queue("cpu", executor="process")
        async def never(mail: Mail) -> None: ...


def test_of_a_channel_its_handler_does_not_say_how_it_is_kept() -> None:
    router = Router()

    @router.stream("alerts", group="push", channel=True)
    def push(mail: Mail) -> None: ...

    assert (push.terms.channel, push.terms.settings) == (True, None)
    with pytest.raises(ConfigError, match="its namespace says"):
        router.stream("room", group="push", channel=True, keep_messages=3)(push.function)
