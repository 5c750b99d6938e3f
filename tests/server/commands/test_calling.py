"""The verbs over the client protocol, for those whose token or a rule allows them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gapless.broker.namespaces import Namespace
from gapless.broker.rules import QueueRule
from gapless.core.jobs import State
from gapless.core.limits import REQUEST_SECRET_CHARS, RPC_WAIT_MAX_MS
from gapless.protocol.schedules import ScheduleRequest
from tests.broker.queueing import MAIL, Queues, with_queues
from tests.conversation import Peer, rest, token

MANY = (MAIL, QueueRule(name="open", allow_enqueue_for_client=True, allow_result_for_client=True))


async def ask(peer: Peer, verb: str, **data: Any) -> Any:
    """Call a verb of queues; return its result or error."""
    replies = await peer.ask({"rpc": {"method": f"gapless.queue.{verb}", "data": data}})
    [reply] = [reply for reply in replies if "id" in reply]
    return reply.get("error") or reply["rpc"]["data"]


async def user(queues: Queues, name: str = "ann", **rights: list[str]) -> Peer:
    """Connect with rights by queue; `_` stands for a dot, `all` for every queue."""
    granted = {queue.replace("_", ".").replace("all", "*"): given for queue, given in rights.items()}
    peer = queues.stage.peer()
    await peer.connect(token=token(name, queues=granted))
    return peer


def test_a_job_goes_from_enqueue_to_ack_by_rpc() -> None:
    async def scene(queues: Queues) -> None:
        peer = await user(queues, mail=["enqueue", "claim"])
        enqueued = await ask(peer, "enqueue", jobs=[{"queue": "mail", "data": {"a": 1}}])
        id = enqueued["jobs"][0]["result"]["id"]
        [job] = (await ask(peer, "claim", queue="mail"))["jobs"]
        assert (job["id"], job["data"]) == (id, {"a": 1})
        assert (await queues.store.look(id)).worker == "ann"
        lease = {"id": id, "fence": job["fence"]}
        assert "result" in (await ask(peer, "extend", leases=[lease]))["leases"][0]
        [item] = (await ask(peer, "settle", settlements=[{**lease, "deed": "ack"}]))["settlements"]
        assert item["result"]["state"] == "gone"
        [item] = (await ask(peer, "settle", settlements=[{**lease, "deed": "ack"}]))["settlements"]
        assert "result" in item

    with_queues(scene)


def test_a_worker_s_name_is_its_user_s_own() -> None:
    async def scene(queues: Queues) -> None:
        ids = await queues.enqueue("a", "b")
        peer = await user(queues, "ann", mail=["claim"])
        await ask(peer, "claim", queue="mail", worker="1")
        assert (await queues.store.look(ids[0])).worker == "ann/1"

    with_queues(scene)


def test_the_name_of_a_worker_is_cut_to_what_a_store_takes() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a")
        peer = await user(queues, "ann", mail=["claim"])
        await ask(peer, "claim", queue="mail", worker="ä" * 255)
        assert (await queues.store.look(id)).worker == "ann/" + "ä" * 125

    with_queues(scene)


@pytest.mark.parametrize("worker", ["", "w"])
@pytest.mark.parametrize("name", ["", "ann"])
def test_a_repeat_is_known_over_another_connection_of_the_same_user(name: str, worker: str) -> None:
    """Of who has none if the id is a secret, as nobody else has it."""

    async def scene(queues: Queues) -> None:
        for request in ("1", "s" * REQUEST_SECRET_CHARS):
            told: list[Any] = []
            for _ in range(2):
                peer = await user(queues, name, mail=["enqueue", "claim"])
                job = {"queue": "mail", "data": 1}
                enqueued = await ask(peer, "enqueue", jobs=[job], request=request)
                claimed = await ask(peer, "claim", queue="mail", worker=worker, request=request)
                told.append((enqueued["jobs"][0]["result"]["id"], claimed["jobs"][0]["fence"]))
            known = bool(name) or len(request) == REQUEST_SECRET_CHARS
            assert [first == second for first, second in zip(*told, strict=True)] == [known] * 2

    with_queues(scene)


def test_who_may_claim_from_a_queue_that_is_there_hears_how_it_behaves() -> None:
    async def scene(queues: Queues) -> None:
        claims = await user(queues, mail=["claim"], nowhere=["claim"], open=["enqueue"])
        declared = await ask(claims, "declare", queue="mail")
        assert (declared["fresh"], declared["options"]["lease_ms"]) == (False, 30_000)
        assert (await ask(claims, "declare", queue="mail", options={"lease_ms": 1_000}))["code"] == 103
        assert (await ask(claims, "declare", queue="open"))["code"] == 103
        refused = await ask(claims, "declare", queue="nowhere")
        assert refused["code"] == 103
        assert "there is no queue 'nowhere'" in refused["message"]
        assert set(await queues.store.queues()) == {"mail", "open"}

    with_queues(scene, *MANY)


def test_nobody_may_do_anything_by_default() -> None:
    async def scene(queues: Queues) -> None:
        [id] = await queues.enqueue("a")
        peer = await user(queues)
        calls: list[tuple[str, dict[str, Any]]] = [
            ("enqueue", {"jobs": [{"queue": "mail", "data": 1}]}),
            ("claim", {"queue": "mail"}),
            ("extend", {"leases": [{"id": id, "fence": "x"}]}),
            ("settle", {"settlements": [{"id": id, "fence": "x", "deed": "ack"}]}),
            ("job", {"id": id}),
            ("cancel", {"id": id}),
            ("result", {"id": id}),
            ("browse", {"queue": "mail"}),
            ("redrive", {"queue": "mail"}),
            ("purge", {"queue": "mail", "state": "waiting"}),
            ("pause", {"queue": "mail"}),
            ("resume", {"queue": "mail"}),
            ("drop", {"queue": "mail"}),
            ("declare", {"queue": "new"}),
            ("schedule", {"name": "s", "queue": "mail", "every_ms": 1_000}),
            ("unschedule", {"name": "s"}),
            ("list", {}),
            ("stats", {}),
            ("schedules", {}),
        ]
        for verb, asked in calls:
            assert (await ask(peer, verb, **asked))["code"] == 103, verb
        assert len(await queues.claim(limit=10)) == 1

    with_queues(scene)


def test_a_right_to_one_queue_settles_no_job_of_another() -> None:
    async def scene(queues: Queues) -> None:
        await queues.enqueue("a", queue="open")
        [job] = await queues.claim("open")
        peer = await user(queues, mail=["claim", "enqueue", "result", "browse"])
        lease = {"id": job.id, "fence": job.fence}
        assert (await ask(peer, "settle", settlements=[{**lease, "deed": "ack"}]))["code"] == 103
        assert (await ask(peer, "extend", leases=[lease]))["code"] == 103
        assert (await ask(peer, "job", id=job.id))["code"] == 103
        assert (await ask(peer, "job", id="nothing"))["code"] == 1005

    with_queues(scene, *MANY)


def test_a_right_to_one_queue_takes_no_recurring_job_from_another() -> None:
    async def scene(queues: Queues) -> None:
        peer = await user(queues, open=["manage"])
        mine = {"queue": "open", "every_ms": 60_000}
        assert "next_ms" in await ask(peer, "schedule", name="mine", **mine)
        assert "next_ms" in await ask(peer, "schedule", name="mine", **mine)
        await queues.queueing.schedule(ScheduleRequest(name="bills", queue="mail", every_ms=60_000))
        assert (await ask(peer, "schedule", name="bills", **mine))["code"] == 103
        assert {each.queue for each in (await queues.store.schedules())[1]} == {"mail", "open"}

    with_queues(scene, *MANY)


def test_what_a_client_emits_needs_its_rights_too() -> None:
    async def scene(queues: Queues) -> None:
        await queues.enqueue("a")
        peer = await user(queues, mail=["claim"])
        [job] = (await ask(peer, "claim", queue="mail"))["jobs"]
        settlement = {"id": job["id"], "fence": job["fence"], "deed": "ack"}
        emits: list[dict[str, Any]] = [
            {"enqueue": {"queue": "mail", "data": 1}},
            {"append": {"stream": "orders", "data": 1}},
            {"publish": {"channel": "news", "data": 1}},
        ]
        for emit in emits:
            answer = await ask(peer, "settle", settlements=[{**settlement, "emit": [emit]}])
            assert answer["code"] == 103, emit
        allowed = {**settlement, "emit": [{"enqueue": {"queue": "open", "data": 1}}]}
        [item] = (await ask(peer, "settle", settlements=[allowed]))["settlements"]
        assert item["result"]["emitted"][0]["id"]

    with_queues(scene, *MANY, without=Namespace())


def test_a_rule_lets_every_user_enqueue_but_not_anonymous_ones() -> None:
    async def scene(queues: Queues) -> None:
        ann, nobody = await user(queues), queues.stage.peer()
        await nobody.connect()
        job = {"queue": "open", "data": 1}
        assert "jobs" in await ask(ann, "enqueue", jobs=[job])
        assert (await ask(nobody, "enqueue", jobs=[job]))["code"] == 103

    with_queues(scene, *MANY)


def test_an_insecure_node_asks_nobody() -> None:
    async def scene(queues: Queues) -> None:
        peer = queues.stage.peer()
        await peer.connect()
        await queues.enqueue("a")
        assert len((await ask(peer, "claim", queue="mail"))["jobs"]) == 1

    with_queues(scene, insecure=True)


def test_a_claim_by_rpc_waits_no_longer_than_sdks_do() -> None:
    async def scene(queues: Queues) -> None:
        peer = await user(queues, mail=["claim"])
        peer.say({"rpc": {"method": "gapless.queue.claim", "data": {"queue": "mail", "wait_ms": 60_000}}})
        await rest()
        await queues.pass_ms(RPC_WAIT_MAX_MS)
        [reply] = [reply for reply in peer.heard() if "rpc" in reply]
        assert reply["rpc"]["data"] == {"jobs": []}

    with_queues(scene)


def test_what_is_claimed_for_a_client_that_left_is_released() -> None:
    async def scene(queues: Queues) -> None:
        peer = await user(queues, mail=["claim"])
        peer.say({"rpc": {"method": "gapless.queue.claim", "data": {"queue": "mail", "wait_ms": 4_000}}})
        await rest()
        peer.session.closed(1000, "")
        await rest()
        await queues.enqueue("a")
        [job] = await queues.claim()
        assert job.attempt == 1

    with_queues(scene)


@pytest.mark.parametrize(
    ("method", "data", "code"),
    [
        ("gapless.queue.nothing", {}, 104),
        ("gapless.queue", {}, 104),
        ("gapless.queue/claim", {}, 104),
        ("queue.claim", {}, 104),
        ("queue/claim", {"queue": "mail"}, 104),
        ("gapless.queue.claim", {}, 107),
        ("gapless.queue.claim", {"queue": "mail", "limit": 0}, 107),
        ("gapless.queue.claim", {"queue": "mail", "x": 1}, 107),
        ("gapless.queue.claim", [], 107),
    ],
)
def test_what_is_no_call_is_refused(method: str, data: Any, code: int) -> None:
    async def scene(queues: Queues) -> None:
        peer = await user(queues, all=["claim"])
        [reply] = await peer.ask({"rpc": {"method": method, "data": data}})
        assert reply["error"]["code"] == code

    with_queues(scene)


def test_who_redrives_by_rpc_stands_in_the_audit_stream() -> None:
    async def scene(queues: Queues) -> None:
        await queues.enqueue("a")
        peer = await user(queues, mail=["manage"])
        assert (await ask(peer, "purge", queue="mail", state="waiting"))["jobs"] == 1
        assert [each["who"] for each in await queues.audited() if each["what"] == "purge"] == ["user ann"]

    with_queues(scene)


def leave(queues: Queues, peer: Peer) -> None:
    peer.session.closed(1000, "")


def expire(queues: Queues, peer: Peer) -> None:
    """Let a connection's time be over, though nobody has looked at it yet."""
    peer.session.ends_ms = queues.clock.now_ms()


@pytest.mark.parametrize("end", [leave, expire])
def test_what_was_claimed_for_a_connection_that_is_over_is_released_at_once(
    end: Callable[[Queues, Peer], None],
) -> None:
    async def scene(queues: Queues) -> None:
        claim, answer = queues.store.claim, asyncio.Event()

        async def slow(queue: str, **fields: Any) -> Any:
            jobs = await claim(queue, **fields)
            await answer.wait()
            return jobs

        [id] = await queues.enqueue("a")
        peer = await user(queues, mail=["claim"])
        queues.store.claim = slow  # type: ignore[method-assign]
        peer.say({"rpc": {"method": "gapless.queue.claim", "data": {"queue": "mail"}}})
        await rest()
        assert (await queues.store.look(id)).state is State.LEASED
        end(queues, peer)
        answer.set()
        await rest()
        view = await queues.store.look(id)
        assert (view.state, view.attempt) == (State.WAITING, 0)
        assert not peer.session.open

    with_queues(scene)
