"""The verbs of queues over HTTP, on a whole node."""

import asyncio
import json
from typing import Any

import pytest
from openapi_spec_validator import validate

from gapless.protocol.queues import VERBS
from gapless.server.config import Source, read
from gapless.server.node import Node
from tests.program import merged
from tests.server.raw_socket import RawSocket
from tests.server.running import CONFIG, KEY, call, running
from tests.server.serving import on_a_loop

RULES: dict[str, Any] = {
    "queues": [
        {"name": "mail", "retry": {"attempts_max": 2, "delays": ["0s"]}},
        {"pattern": "tenant.*", "result": "1m"},
    ],
}


async def ask(node: Node, verb: str, **request: Any) -> Any:
    """Call a verb of queues; return the result, or the error."""
    status, body = await call(node, f"/api/queue/{verb}", request)
    assert status == 200 or "error" in body, body
    return body.get("result", body.get("error"))


async def enqueue(node: Node, *data: Any, queue: str = "mail", **fields: Any) -> list[str]:
    jobs = [{"queue": queue, "data": each, **fields} for each in data]
    return [item["result"]["id"] for item in (await ask(node, "enqueue", jobs=jobs))["jobs"]]


async def claim(node: Node, queue: str = "mail", **fields: Any) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = (await ask(node, "claim", **{"queue": queue, "worker": "w", **fields}))[
        "jobs"
    ]
    return jobs


async def settle(node: Node, job: dict[str, Any], deed: str, **fields: Any) -> Any:
    settlement = {"id": job["id"], "fence": job["fence"], "deed": deed, **fields}
    [item] = (await ask(node, "settle", settlements=[settlement]))["settlements"]
    return item.get("result", item.get("error"))


async def kill(node: Node, *data: Any) -> list[str]:
    """Make dead jobs."""
    ids = await enqueue(node, *data)
    for job in await claim(node, limit=len(data)):
        await settle(node, job, "bury", reason="no such address", details="a traceback")
    return ids


async def audited(node: Node) -> list[dict[str, Any]]:
    _, body = await call(node, "/api/stream/audit", {})
    records: list[dict[str, Any]] = body["result"]["records"]
    return [each for each in records[::-1] if each["what"] not in ("append", "commit")]


async def claimers(node: Node, queue: str) -> int:
    stats = (await ask(node, "stats"))["queues"]
    return sum(each["claimers"] for each in stats if each["queue"] == queue)


async def waits(node: Node, count: int = 1, queue: str = "mail") -> None:
    """Return once so many claims wait."""
    while await claimers(node, queue) != count:  # no event tells what another request is at
        pass


@on_a_loop
async def test_a_job_goes_from_enqueue_to_ack() -> None:
    async with running(RULES) as node:
        [id] = await enqueue(node, {"to": "ann"}, headers={"trace": "t"}, key="ann", priority=9)
        [job] = await claim(node, lease_ms=5_000)
        assert (job["id"], job["data"], job["headers"]) == (id, {"to": "ann"}, {"trace": "t"})
        assert (job["key"], job["priority"], job["attempt"], job["queue"]) == ("ann", 9, 1, "mail")
        lease = {"id": id, "fence": job["fence"]}
        [extended] = (await ask(node, "extend", leases=[lease], lease_ms=60_000))["leases"]
        assert extended["result"]["lease_until_ms"] > job["lease_until_ms"]
        assert await settle(node, job, "ack") == {"state": "gone"}
        assert await settle(node, job, "ack") == {"state": "gone"}
        assert (await settle(node, job, "bury"))["reason"] == "lease_lost"
        assert (await ask(node, "job", id=id))["code"] == 1005


@on_a_loop
async def test_bytes_that_are_not_json_come_back_as_they_were() -> None:
    async with running(RULES) as node:
        jobs = [{"queue": "mail", "b64data": "/wA="}, {"queue": "mail", "b64data": "eyJhIjoxfQ=="}]
        await ask(node, "enqueue", jobs=jobs)
        first, second = await claim(node, limit=2)
        assert (first["b64data"], "data" in first) == ("/wA=", False)
        assert (second["data"], "b64data" in second) == ({"a": 1}, False)


@on_a_loop
async def test_a_batch_is_all_or_nothing_unless_each_is_to_be_answered() -> None:
    async with running(RULES) as node:
        jobs = [{"queue": "mail", "data": 1}, {"queue": "nope", "data": 2}, {"queue": "mail"}]
        assert (await ask(node, "enqueue", jobs=jobs[:2]))["code"] == 1003
        assert await claim(node) == []
        answered = (await ask(node, "enqueue", jobs=jobs, atomic=False))["jobs"]
        assert [item.get("error", {}).get("code", 0) for item in answered] == [0, 1003, 107]
        assert [job["data"] for job in await claim(node, limit=9)] == [1]


@on_a_loop
async def test_a_rule_makes_a_queue_and_a_typing_error_none() -> None:
    async with running(RULES) as node:
        assert (await ask(node, "claim", queue="tenants", worker="w"))["reason"] == "unknown_queue"
        assert await claim(node, "tenant.1") == []
        await enqueue(node, 1, queue="tenant.2")
        listed = {each["queue"]: each for each in (await ask(node, "list"))["queues"]}
        assert list(listed) == ["mail", "tenant.1", "tenant.2"]
        assert listed["tenant.2"]["options"]["result_ms"] == 60_000
        assert listed["mail"]["options"]["retry"]["delays_ms"] == [0]
        page = await ask(node, "list", limit=2)
        assert (len(page["queues"]), page["next"]) == (2, "tenant.1")
        assert [each["queue"] for each in (await ask(node, "list", after="tenant.1"))["queues"]] == [
            "tenant.2"
        ]


@on_a_loop
async def test_queues_are_declared_and_dropped() -> None:
    async with running() as node:
        made = await ask(node, "declare", queue="a", options={"ordered": False})
        assert (made["fresh"], made["options"]["ordered"], made["options"]["lease_ms"]) == (
            True,
            False,
            30_000,
        )
        assert await ask(node, "declare", queue="a") == {**made, "fresh": False}
        await enqueue(node, 1, 2, queue="a")
        assert await ask(node, "drop", queue="a") == {"jobs": 2}
        assert (await ask(node, "drop", queue="a"))["code"] == 1003
        assert [(each["what"], each["who"], each["name"]) for each in await audited(node)] == [
            ("declare", "api", "a"),
            ("drop", "api", "a"),
        ]


@on_a_loop
async def test_a_claim_waits_for_a_job() -> None:
    async with running(RULES) as node:
        waiting = asyncio.create_task(claim(node, "tenant.1", wait_ms=20_000))
        await waits(node, queue="tenant.1")
        await enqueue(node, "a", queue="tenant.1")
        [job] = await waiting
        assert job["data"] == "a"
        assert await claim(node, "tenant.1", wait_ms=1) == []


@on_a_loop
async def test_who_goes_away_while_waiting_leaves_no_job_behind() -> None:
    async with running(RULES) as node:
        socket = await RawSocket.connect(node.port)
        body = b'{"queue":"mail","worker":"gone","wait_ms":20000}'
        socket.send(
            b"POST /api/queue/claim HTTP/1.1\r\nHost: here\r\nX-API-Key: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (KEY.encode(), len(body), body)
        )
        await waits(node)
        socket.leave()
        await waits(node, 0)
        await enqueue(node, "a")
        [job] = await claim(node)
        assert job["attempt"] == 1


@on_a_loop
async def test_those_who_wait_are_answered_when_the_node_stops() -> None:
    async with running(RULES) as node:
        waiting = asyncio.create_task(claim(node, wait_ms=60_000))
        await waits(node)
    assert await waiting == []


@on_a_loop
async def test_dead_jobs_are_browsed_edited_and_redriven() -> None:
    async with running(RULES) as node:
        ids = await kill(node, 1, 2, 3, 4)
        page = await ask(node, "browse", queue="mail", limit=3)
        assert ([job["id"] for job in page["jobs"]], bool(page["next"])) == (ids[:3], True)
        assert {"reason": "no such address", "details": "a traceback", "worker": "w"}.items() <= page["jobs"][
            0
        ].items()
        assert [
            job["id"] for job in (await ask(node, "browse", queue="mail", after=page["next"]))["jobs"]
        ] == ids[3:]
        assert await ask(node, "redrive", queue="mail", ids=ids[:1], data={"n": 9}) == {
            "jobs": 1, "more": False, "wait_ms": 0,
        }  # fmt: skip
        assert await ask(node, "redrive", queue="mail", per_second=2) == {
            "jobs": 2,
            "more": True,
            "wait_ms": 1000,
        }
        assert (await ask(node, "redrive", queue="mail"))["jobs"] == 1
        assert [job["data"] for job in await claim(node, limit=9)] == [{"n": 9}, 2, 3, 4]
        assert (await ask(node, "redrive", queue="mail", data=1))["code"] == 107
        told = [each for each in await audited(node) if each["what"] == "redrive"]
        assert [each["details"]["edited"] for each in told] == [True, False, False]
        assert {each["who"] for each in told} == {"api"}


@on_a_loop
async def test_jobs_are_purged_and_cancelled() -> None:
    async with running(RULES) as node:
        await kill(node, 1, 2)
        assert await ask(node, "purge", queue="mail", limit=1) == {"jobs": 1, "more": True}
        assert await ask(node, "purge", queue="mail") == {"jobs": 1, "more": False}
        waiting, started = await enqueue(node, "a", "b", priority=1)
        [job] = await claim(node)
        assert job["id"] == waiting
        assert (await ask(node, "cancel", id=waiting))["reason"] == "job_started"
        assert (await ask(node, "cancel", id=started))["data"] == "b"
        assert (await ask(node, "cancel", id=started))["reason"] == "unknown_job"
        assert (await ask(node, "purge", queue="mail", state="leased"))["code"] == 107
        assert [each["what"] for each in await audited(node)] == ["purge", "purge", "cancel"]


@on_a_loop
async def test_a_paused_queue_gives_nothing() -> None:
    async with running(RULES) as node:
        await enqueue(node, 1)
        assert await ask(node, "pause", queue="mail") == {}
        assert await claim(node) == []
        assert (await ask(node, "stats", queue="mail"))["queues"][0]["paused"]
        waiting = asyncio.create_task(claim(node, wait_ms=20_000))
        await waits(node)
        assert await ask(node, "resume", queue="mail") == {}
        assert len(await waiting) == 1


@on_a_loop
async def test_a_result_is_waited_for() -> None:
    async with running(RULES) as node:
        [id] = await enqueue(node, 1, queue="tenant.1")
        assert await ask(node, "result", id=id) == {"state": "waiting"}
        [job] = await claim(node, "tenant.1")
        waiting = asyncio.create_task(ask(node, "result", id=id, wait_ms=20_000))
        await asyncio.sleep(0)
        assert (await settle(node, job, "ack", result={"sum": 3}))["state"] == "done"
        assert await waiting == {"state": "done", "result": {"sum": 3}}
        [dead] = await kill(node, 1)
        assert await ask(node, "result", id=dead, wait_ms=1_000) == {
            "state": "dead", "reason": "no such address", "details": "a traceback",
        }  # fmt: skip
        assert (await ask(node, "result", id="nothing"))["code"] == 1005


@on_a_loop
async def test_what_is_emitted_is_stored_with_the_ack_and_told_to_subscribers() -> None:
    async with running(RULES) as node:
        await enqueue(node, 1)
        [job] = await claim(node)
        bad = [
            {"publish": {"channel": "chat:1", "data": 1}},
            {"publish": {"channel": "nowhere:1", "data": 1}},
        ]
        assert (await settle(node, job, "ack", emit=bad))["code"] == 102
        emit = [
            {"publish": {"channel": "chat:1", "data": {"done": True}, "headers": {"a": "b"}}},
            {"enqueue": {"queue": "tenant.new", "data": 2}},
        ]
        told = await settle(node, job, "ack", emit=emit)
        assert (told["emitted"][0]["offset"], told["emitted"][1]["fresh"]) == (1, True)
        _, history = await call(node, "/api/history", {"channel": "chat:1", "limit": 10})
        [publication] = history["result"]["publications"]
        assert (publication["data"], publication["tags"]) == ({"done": True}, {"a": "b"})
        assert [each["data"] for each in await claim(node, "tenant.new")] == [2]
        assert (await settle(node, job, "ack", emit=[{}]))["code"] == 107


@on_a_loop
async def test_what_became_of_jobs_is_counted() -> None:
    async with running(RULES) as node:
        await kill(node, 1)
        await enqueue(node, 1, 2, delay_ms=60_000)
        [stats] = (await ask(node, "stats", queue="mail"))["queues"]
        assert {
            "enqueued": 3,
            "claimed": 1,
            "died": 1,
            "dead": 1,
            "delayed": 2,
            "ready": 0,
        }.items() <= stats.items()
        assert stats["enqueued_per_second"] >= 0
        assert (await ask(node, "stats", queue="nope"))["code"] == 1003


BAD: list[tuple[str, object]] = [
    ("enqueue", {}),
    ("enqueue", {"jobs": []}),
    ("enqueue", {"jobs": [{"queue": "mail", "data": 1, "delay": 5}]}),
    ("enqueue", {"jobs": [{"queue": "mail", "data": 1, "priority": 10}]}),
    ("enqueue", {"jobs": [{"queue": "mail", "data": 1, "delay_ms": -1}]}),
    ("enqueue", {"jobs": [{"queue": "mail", "data": 1, "at_ms": 2**63}]}),
    ("enqueue", {"jobs": [{"queue": "mail", "data": 1, "key": ""}]}),
    ("enqueue", {"jobs": [{"queue": "mail", "data": 1, "headers": {"a": 1}}]}),
    ("enqueue", {"jobs": [{"queue": "mail", "b64data": "?"}]}),
    ("enqueue", {"jobs": [{"queue": "a/b", "data": 1}]}),
    ("enqueue", {"jobs": [{"queue": "", "data": 1}]}),
    ("enqueue", {"jobs": [{"queue": "mail", "data": 1}] * 1_001}),
    ("claim", {"worker": "w"}),
    ("claim", {"queue": "mail", "limit": 0}),
    ("claim", {"queue": "mail", "limit": 1_001}),
    ("claim", {"queue": "mail", "wait_ms": 60_001}),
    ("claim", {"queue": "mail", "lease_ms": 86_400_001}),
    ("extend", {"leases": [{"id": "1"}]}),
    ("extend", {"leases": [{"id": "1", "fence": "x"}], "lease_ms": 0}),
    ("settle", {"settlements": [{"id": "1", "fence": "x", "deed": "drop"}]}),
    ("declare", {"queue": "a b"}),
    ("declare", {"queue": "x" * 129}),
    ("declare", {"queue": "a", "options": {"lease_ms": 1}}),
    ("declare", {"queue": "a", "options": {"retry": {"attempts_max": 0}}}),
    ("declare", {"queue": "a", "options": {"retry": {"factor": 0.5}}}),
    ("declare", {"queue": "a", "options": {"fifo": True}}),
    ("browse", {"queue": "mail", "state": "lost"}),
    ("browse", {"queue": "mail", "limit": 0}),
    ("schedule", {"name": "a b", "queue": "mail", "every_ms": 1_000}),
    ("result", {"id": ""}),
    ("enqueue", b"{"),
    ("enqueue", b"[]"),
    ("enqueue", b"\xff"),
    ("enqueue", b'{"jobs":[{"queue":"mail","data":"\xff"}]}'),
    ("enqueue", b"[" * 5_000),
]


@on_a_loop
async def test_malformed_requests_are_refused_and_nothing_is_stored() -> None:
    async with running(RULES) as node:
        for verb, body in BAD:
            status, answer = await call(node, f"/api/queue/{verb}", body)
            assert (status, answer["error"]["code"]) == (400, 107), (verb, body)
            assert answer["error"]["message"]
        assert (await ask(node, "stats"))["queues"][0]["enqueued"] == 0


OUTSIDE: list[dict[str, Any]] = [
    {"queue": "mail"},
    {"queue": "mail", "data": 1, "b64data": "AA=="},
    {"queue": "mail", "data": "x" * 70_000},
    {"queue": "mail", "data": 1, "headers": {"a": "x" * 17_000}},
    {"queue": "mail", "data": 1, "key": "ä" * 200},
    {"queue": "mail", "data": 1, "delay_ms": 1, "at_ms": 1_900_000_000_000},
    {"queue": "mail", "data": 1, "at_ms": 4_900_000_000_000},
    {"queue": "mail", "data": json.loads("[" * 129 + "]" * 129)},
]


@pytest.mark.parametrize("job", OUTSIDE)
def test_a_job_outside_the_limits_is_refused(job: dict[str, Any]) -> None:
    @on_a_loop
    async def scene() -> None:
        async with running(RULES) as node:
            error = await ask(node, "enqueue", jobs=[job])
            assert (error["code"], bool(error["message"])) == (107, True)
            assert await claim(node) == []

    scene()


@on_a_loop
async def test_who_has_no_key_does_nothing() -> None:
    async with running(RULES) as node:
        for verb in VERBS:
            status, answer = await call(node, f"/api/{verb}", {}, key="wrong")
            assert (status, answer["error"]["code"]) == (401, 101)
        status, answer = await call(node, "/api/queue/nothing", {})
        assert (status, answer["error"]["code"]) == (404, 104)


@on_a_loop
async def test_errors_are_told_by_the_status_where_that_is_asked_for() -> None:
    async with running(RULES) as node:
        field = "X-Centrifugo-Error-Mode: transport"
        status, answer = await call(node, "/api/queue/drop", {"queue": "nope"}, field)
        assert (status, answer["code"]) == (404, 1003)


@on_a_loop
async def test_the_openapi_document_names_every_method() -> None:
    async with running() as node:
        status, document = await call(node, "/openapi.json", b"", method="GET", key=None)
        assert status == 200
        validate(document)
        assert {f"/{verb}" for verb in VERBS} <= set(document["paths"])
        assert {"/publish", "/history", "/batch"} <= set(document["paths"])
        assert document["servers"] == [{"url": "/api"}]


@on_a_loop
async def test_rules_are_followed_after_a_reload() -> None:
    async with running(RULES) as node:
        rules = [{"name": "mail", "lease": "5s"}, {"name": "new"}]
        node.reload(read([Source(name="test", tree=merged(CONFIG, {"queues": rules}))]))
        while len((listed := await ask(node, "list"))["queues"]) != 2:
            pass
        assert listed["queues"][0]["options"]["lease_ms"] == 5_000
        assert (await ask(node, "claim", queue="tenant.1"))["reason"] == "unknown_queue"


@on_a_loop
async def test_a_batch_enqueues_and_appends_beside_what_it_publishes_in_order() -> None:
    async with running(RULES) as node:
        jobs = [{"queue": "mail", "data": "a"}, {"queue": "nowhere", "data": 1}]
        commands: list[dict[str, Any]] = [
            {"publish": {"channel": "chat:1", "data": 1}},
            {"queue/enqueue": {"jobs": jobs, "atomic": False}},
            {"stream/append": {"stream": "orders", "messages": [{"data": "b"}]}},
            {"queue/claim": {"queue": "mail"}},
        ]
        await call(node, "/api/stream/declare", {"stream": "orders"})
        status, body = await call(node, "/api/batch", {"commands": commands})
        published, enqueued, appended, refused = body["replies"]
        assert (status, published["publish"]["offset"]) == (200, 1)
        first, second = enqueued["queue/enqueue"]["jobs"]
        assert ("id" in first["result"], second["error"]["code"]) == (True, 1003)
        assert [item["result"]["offset"] for item in appended["stream/append"]["messages"]] == [1]
        assert refused["error"]["code"] == 104
        assert "queue/enqueue, stream/append" in refused["error"]["message"]
        assert [job["data"] for job in await claim(node, limit=9)] == ["a"]


@on_a_loop
async def test_a_malformed_enqueue_refuses_the_whole_batch_before_anything_is_done() -> None:
    async with running(RULES) as node:
        commands: list[dict[str, Any]] = [
            {"publish": {"channel": "chat:1", "data": 1}},
            {"queue/enqueue": {"jobs": [{"queue": "mail", "priority": "high"}]}},
        ]
        status, _ = await call(node, "/api/batch", {"commands": commands})
        assert status == 400
        _, body = await call(node, "/api/history", {"channel": "chat:1"})
        assert body["result"]["offset"] == 0
