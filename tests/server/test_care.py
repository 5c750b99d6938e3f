"""The care of the store over HTTP: who may, one job at a time, and what is left behind."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gapless.core.limits import BODY_BYTES_MAX
from gapless.server.care import State
from gapless.server.care_routes import PART_BYTES, _read_file
from gapless.server.node import Node
from tests.server.raw_socket import RawSocket
from tests.server.running import call, running
from tests.server.serving import on_a_loop, until


def sqlite(folder: Path) -> dict[str, Any]:
    return {"store": {"url": f"sqlite:{folder / 'gapless.db'}", "durability": "memory"}}


async def begin(node: Node, kind: str) -> dict[str, Any]:
    status, answer = await call(node, f"/api/store/{kind}")
    assert status == 200, answer
    job: dict[str, Any] = answer["result"]
    return job


async def done(node: Node, job: dict[str, Any]) -> dict[str, Any]:
    while job["state"] == "running":
        _, answer = await call(node, "/api/store/job", {"id": job["id"]})
        job = answer["result"]
    return job


@on_a_loop
async def test_a_backup_is_fetched_once_and_gone_then(tmp_path: Path) -> None:
    async with running(sqlite(tmp_path)) as node:
        job = await done(node, await begin(node, "backup"))
        assert job["state"] == "done"
        [waiting] = tmp_path.glob("gapless.db.care-*")
        status, body = await call(node, f"/api/store/backup/{job['id']}", b"", method="GET")
        assert (status, len(body)) == (200, job["result"]["bytes"])
        assert body.startswith(b"SQLite format 3")
        assert not waiting.exists()
        status, answer = await call(node, f"/api/store/backup/{job['id']}", b"", method="GET")
        assert (status, answer["error"]["reason"]) == (400, "bad_request")


@pytest.mark.parametrize("parts", [1, 2, 3])
@on_a_loop
async def test_a_backup_goes_though_whoever_has_its_last_byte_leaves_at_once(
    tmp_path: Path, parts: int
) -> None:
    file, size, fetched = tmp_path / "backup", 2 * PART_BYTES + 1, []
    file.write_bytes(bytes(size))
    body = _read_file(file, size, lambda: fetched.append(True))
    for _ in range(parts):
        await anext(body)
    await body.aclose()
    assert fetched == [True] * (parts == 3)


@on_a_loop
async def test_a_backup_nobody_fetches_goes_with_the_next_and_with_the_node(tmp_path: Path) -> None:
    async with running(sqlite(tmp_path)) as node:
        for _ in range(2):
            assert (await done(node, await begin(node, "backup")))["state"] == "done"
            assert len(list(tmp_path.glob("*.care-*"))) == 1
    assert not list(tmp_path.glob("*.care-*"))


@on_a_loop
async def test_a_backup_that_nobody_can_fetch_any_more_is_gone(tmp_path: Path) -> None:
    async with running(sqlite(tmp_path)) as node:
        assert (await done(node, await begin(node, "backup")))["state"] == "done"
        assert (await done(node, await begin(node, "check")))["state"] == "done"
        assert not list(tmp_path.glob("*.care-*"))


@on_a_loop
async def test_an_empty_store_is_checked_like_any_other(tmp_path: Path) -> None:
    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context))
    async with running(sqlite(tmp_path)) as node:
        assert (await done(node, await begin(node, "check")))["result"]["messages"] == 0
    assert failed == []


@pytest.mark.parametrize(
    "id", ["../gapless.db", "..%2fgapless.db", "%2e%2e/gapless.db", "%00", "gapless.db", "a" * 300, "%ff"]
)
def test_no_path_leads_to_another_file_than_a_backup(id: str, tmp_path: Path) -> None:
    @on_a_loop
    async def test() -> None:
        async with running(sqlite(tmp_path)) as node:
            status, body = await call(node, f"/api/store/backup/{id}", b"", method="GET")
            assert status in (400, 404)
            assert "SQLite format" not in str(body)

    test()


@on_a_loop
async def test_without_the_key_nothing_is_answered(tmp_path: Path) -> None:
    paths = ["backup", "check", "compact", "room", "restore", "erase", "job", "cancel"]
    async with running(sqlite(tmp_path)) as node:
        for path in paths:
            status, answer = await call(node, f"/api/store/{path}", key="wrong")
            assert (status, answer["error"]["reason"]) == (401, "unauthorized")
        assert (await call(node, "/api/store/backup/x", b"", key=None, method="GET"))[0] == 401


@on_a_loop
async def test_a_store_that_is_no_file_says_so() -> None:
    async with running() as node:
        for path, body in (("backup", {}), ("check", {}), ("compact", {}), ("room", {"bytes": 1})):
            status, answer = await call(node, f"/api/store/{path}", body)
            assert (status, answer["error"]["reason"]) == (400, "not_available")
            assert "no file" in answer["error"]["message"]


@on_a_loop
async def test_mistakes_are_told(tmp_path: Path) -> None:
    async with running(sqlite(tmp_path)) as node:
        for path, body in (
            ("job", {"id": "another"}),
            ("job", {}),
            ("cancel", b"no JSON"),
            ("room", {"bytes": "many"}),
            ("erase", {"channel": "chat:1"}),
        ):
            status, answer = await call(node, f"/api/store/{path}", body)
            assert (status, answer["error"]["reason"]) == (400, "bad_request")
        status, answer = await call(node, "/api/store/room", {"bytes": 1 << 60})
        assert answer["error"]["reason"] == "store_full"


@on_a_loop
async def test_an_upload_may_be_longer_than_other_bodies_and_is_checked(tmp_path: Path) -> None:
    async with running(sqlite(tmp_path)) as node:
        junk = bytes(BODY_BYTES_MAX + 1)
        assert (await call(node, "/api/publish", junk))[0] == 413
        status, answer = await call(node, "/api/store/restore", junk)
        assert status == 200
        job = await done(node, answer["result"])
        assert (job["state"], job["error"].partition(",")[0]) == ("failed", "the file is no SQLite database")
        assert not list(tmp_path.glob("*.care-*"))


@on_a_loop
async def test_a_backup_is_restored_while_the_node_serves(tmp_path: Path) -> None:
    async with running(sqlite(tmp_path)) as node:
        message = {"channel": "chat:1", "data": 1}
        assert (await call(node, "/api/publish", message))[1]["result"]["offset"] == 1
        made = await done(node, await begin(node, "backup"))
        _, backup = await call(node, f"/api/store/backup/{made['id']}", b"", method="GET")
        assert (await call(node, "/api/publish", message))[1]["result"]["offset"] == 2
        before = node.info().store.epoch
        _, answer = await call(node, "/api/store/restore?discard=1", backup)
        job = await done(node, answer["result"])
        assert job["result"] == {"epoch": node.info().store.epoch}
        assert node.info().store.epoch != before
        assert (await call(node, "/api/publish", message))[1]["result"]["offset"] == 2
        assert (await call(node, "/health", method="GET"))[0] == 200
        assert sorted(file.name for file in tmp_path.glob("*before*")) == []


@on_a_loop
async def test_an_erased_message_is_gone_from_history(tmp_path: Path) -> None:
    async with running(sqlite(tmp_path)) as node:
        for data in (1, 2):
            await call(node, "/api/publish", {"channel": "chat:1", "data": data})
        _, answer = await call(node, "/api/store/erase", {"channel": "chat:1", "offset": 1})
        assert answer == {"result": {"erased": True}}
        _, answer = await call(node, "/api/history", {"channel": "chat:1", "limit": 10})
        assert [each["data"] for each in answer["result"]["publications"]] == [2]


@on_a_loop
async def test_an_upload_that_breaks_off_leaves_nothing_and_blocks_nobody(tmp_path: Path) -> None:
    async with running(sqlite(tmp_path)) as node:
        socket = await RawSocket.connect(node.port)
        fields = ["Host: here", "X-API-Key: key", "Content-Length: 1000000"]
        head = "\r\n".join(["POST /api/store/restore HTTP/1.1", *fields, "", ""]).encode()
        socket.send(head + bytes(600_000))
        await until(lambda: bool(list(tmp_path.glob("*.care-*"))))
        status, answer = await call(node, "/api/store/check")
        assert (status, answer["error"]["reason"]) == (409, "conflict")
        socket.leave()
        upload = node._care._job
        assert upload is not None
        await until(lambda: upload.state is State.FAILED)
        assert not list(tmp_path.glob("*.care-*"))
        assert (await done(node, await begin(node, "check")))["result"]["wrong"] == 0


@on_a_loop
async def test_a_node_that_joined_anothers_file_cares_for_it_too(tmp_path: Path) -> None:
    async with running(sqlite(tmp_path)) as owner, running(sqlite(tmp_path)) as joined:
        status, _ = await call(owner, "/api/publish", {"channel": "chat:1", "data": 1})
        assert status == 200
        assert (await done(joined, await begin(joined, "check")))["result"]["messages"] == 1
        job = await done(joined, await begin(joined, "backup"))
        assert (job["state"], job["done"]) == ("done", job["total"])
        status, body = await call(joined, f"/api/store/backup/{job['id']}", b"", method="GET")
        assert (status, len(body)) == (200, job["result"]["bytes"])
        status, answer = await call(joined, "/api/store/restore", body)
        job = await done(joined, answer["result"])
        assert job["state"] == "done", job
        _, answer = await call(owner, "/api/history", {"channel": "chat:1", "limit": 1})
        assert (answer["result"]["epoch"], answer["result"]["offset"]) == (job["result"]["epoch"], 1)
        assert (await done(joined, await begin(joined, "compact")))["state"] == "done"
        assert not list(tmp_path.glob("*.care-*"))


@on_a_loop
async def test_a_backup_that_went_with_a_change_of_owners_is_told_to_be_gone(tmp_path: Path) -> None:
    async with running(sqlite(tmp_path)) as node:
        job = await done(node, await begin(node, "backup"))
        for waiting in tmp_path.glob("*.care-*"):
            waiting.unlink()
        status, answer = await call(node, f"/api/store/backup/{job['id']}", b"", method="GET")
        assert (status, answer["error"]["reason"]) == (400, "bad_request")
