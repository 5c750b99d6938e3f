"""Where a well-known server loses messages by its Redis or with its other nodes, and gapless' answer."""

import asyncio
import itertools
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.core.errors import PositionLost
from gapless.core.stream import Position
from gapless.testing.conformance.places import fill, read
from tests.acceptance.raw import RawClient
from tests.faults.test_where_others_lose import CONFIG, follow, position, publish
from tests.faults.worker_program import until
from tests.program import Program, merged
from tests.redis_server import RedisServer, redis_server

PRESENT = {"presence": True, "allow_presence_for_client": True, "allow_presence_for_anonymous": True}
NAMESPACES = [each | PRESENT for each in CONFIG["channel"]["namespaces"]]
ON_REDIS = merged(CONFIG, {"channel": {"namespaces": NAMESPACES}, "store": {"durability": "disk"}})
HEALED_MS = 2_000
CHUNK_BYTES = 65_536

numbers = itertools.count()


class Way:
    """The way of one node to Redis, on which rings of the bus may be lost while all else arrives."""

    def __init__(self, port: int) -> None:
        self.deaf = False
        self.dropped = 0
        self._target = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with closing(one), closing(other):
            try:
                while data := one.recv(CHUNK_BYTES):
                    if self.deaf and b"smessage" in data:
                        self.dropped += 1
                    else:
                        other.sendall(data)
            except OSError:
                pass
            for end in (one, other):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self) -> None:
        """Accept no more."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


class Cluster:
    """Two nodes on one Redis; the way of the second one may lose rings."""

    def __init__(self, folder: Path) -> None:
        self.redis = RedisServer(folder / "redis").start()
        self.way = Way(self.redis.port)
        self.nodes: list[Program] = []
        for number, port in enumerate((self.redis.port, self.way.port)):
            home = folder / f"n{number}"
            home.mkdir()
            program = Program(home, ON_REDIS, {"store": {"url": f"redis://127.0.0.1:{port}"}})
            program.start()
            self.nodes.append(program)

    def close(self) -> None:
        """End all."""
        for node in self.nodes:
            node.close()
        self.way.close()
        self.redis.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture
def channel() -> str:
    return f"kept:r{next(numbers)}"


def test_l1_a_redis_that_came_back_older_is_a_new_generation_and_every_reader_is_told(
    cluster: Cluster, channel: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    with ExitStack() as stack:
        live, away = (stack.enter_context(RawClient(node.port, "")) for node in cluster.nodes)
        began = position(follow(away, channel))
        follow(live, channel)
        publish(cluster.nodes[0], channel, "a")
        assert away.publication(channel) == "a"
        away.close()
        shutil.copytree(cluster.redis.folder, copy)
        publish(cluster.nodes[1], channel, "lost")
        assert [live.publication(channel), live.publication(channel)] == ["a", "lost"]
        cluster.redis.kill()
        shutil.rmtree(cluster.redis.folder)
        shutil.copytree(copy, cluster.redis.folder)
        cluster.redis.start()
        assert live.push(channel)["unsubscribe"]["code"] == 2500
        until(lambda: "result" in cluster.nodes[0].api("publish", channel=channel, data="after"))
        for offset in (began[1] + 1, began[1] + 2):  # had not read what is lost, and had
            told = _from_after(cluster.nodes[1], channel, (began[0], offset))
            assert not told.get("recovered")


def test_l1_a_generation_that_redis_has_forgotten_was_lost_as_a_whole(
    cluster: Cluster, channel: str, tmp_path: Path
) -> None:
    """Whoever slept through it stands in one that Redis knows, and is told all the same."""
    copy = tmp_path / "copy"
    with RawClient(cluster.nodes[1].port, "") as client:
        began = position(follow(client, channel))
    shutil.copytree(cluster.redis.folder, copy)
    cluster.redis.kill()
    cluster.redis.start()
    until(lambda: "result" in cluster.nodes[0].api("publish", channel=channel, data="lost"))
    cluster.redis.kill()
    shutil.rmtree(cluster.redis.folder)
    shutil.copytree(copy, cluster.redis.folder)
    cluster.redis.start()
    assert not _from_after(cluster.nodes[1], channel, began).get("recovered")


def _from_after(node: Program, channel: str, since: tuple[str, int]) -> dict[str, Any]:
    """Subscribe from a position as soon as a node knows of another generation."""
    answers: list[dict[str, Any]] = []

    def asked() -> bool:
        with RawClient(node.port, "") as client:
            answers.append(_when_settled(client, channel, since))
        return bool(answers[-1]["epoch"] != since[0])

    until(asked)
    return answers[-1]


def _when_settled(client: RawClient, channel: str, since: tuple[str, int]) -> dict[str, Any]:
    """Subscribe, as often as the server says that it does not know yet."""
    request = {
        "channel": channel,
        "recoverable": True,
        "recover": True,
        "epoch": since[0],
        "offset": since[1],
    }
    while True:
        reply = client.call("subscribe", **request)
        if "subscribe" in reply:
            told: dict[str, Any] = reply["subscribe"]
            return told
        assert reply["error"]["temporary"], reply


def test_l4_d1_a_key_holds_at_every_node_and_over_a_kill_of_redis(cluster: Cluster, channel: str) -> None:
    request = {"channel": channel, "data": "once", "idempotency_key": "k1"}
    first = cluster.nodes[0].api("publish", **request)["result"]
    cluster.redis.kill()
    cluster.redis.start()
    until(lambda: "result" in cluster.nodes[1].api("publish", **request))
    again = cluster.nodes[1].api("publish", **request)["result"]
    assert again["offset"] == first["offset"]
    told = _from_after(cluster.nodes[1], channel, (first["epoch"], first["offset"] - 1))
    assert told["recovered"], "what Redis had acknowledged is there: nobody is told of a loss"
    assert [each["data"] for each in told["publications"]] == ["once"]


def test_l8_a_ring_that_was_lost_on_a_quiet_channel_is_made_good_within_two_seconds(
    cluster: Cluster, channel: str
) -> None:
    with RawClient(cluster.nodes[1].port, "") as client:
        follow(client, channel)
        publish(cluster.nodes[0], channel, "heard")
        assert client.publication(channel) == "heard"
        dropped = cluster.way.dropped
        cluster.way.deaf = True
        stored = cluster.nodes[0].api("publish", channel=channel, data="not heard")["result"]
        try:
            push = client.push(channel)["pub"]
        finally:
            cluster.way.deaf = False
        assert (push["data"], push["offset"]) == ("not heard", stored["offset"])
        assert cluster.way.dropped > dropped


def test_l9_a_node_that_hears_nothing_says_so_and_delivers_all_the_same(
    cluster: Cluster, channel: str
) -> None:
    with RawClient(cluster.nodes[1].port, "") as client:
        follow(client, channel)
        assert _health(cluster.nodes[1]) == 200
        cluster.way.deaf = True
        try:
            for number in range(3):
                publish(cluster.nodes[0], channel, number)
            assert [client.publication(channel) for _ in range(3)] == [0, 1, 2]
            until(lambda: _keeps_up_a_noise(cluster.nodes[0], channel) and _health(cluster.nodes[1]) == 503)
        finally:
            cluster.way.deaf = False
        until(lambda: _keeps_up_a_noise(cluster.nodes[0], channel) and _health(cluster.nodes[1]) == 200)


def _keeps_up_a_noise(node: Program, channel: str) -> bool:
    publish(node, channel, "noise")
    return True


def _health(node: Program) -> int:
    with closing(HTTPConnection("127.0.0.1", node.port, timeout=10)) as connection:
        connection.request("GET", "/health")
        return connection.getresponse().status


def test_l10_every_store_keeps_positions_and_recovers_from_them(tmp_path: Path) -> None:
    async def recovers(url: str) -> None:
        store = await backends.open(url, Options(ballast_bytes=0, free_bytes_min=0))
        begin = Position(store.epoch, (await store.heads(["s"])).heads["s"].last)
        await fill(store, "s", 3)
        page = await read(store, after=begin)
        assert [message.offset for message in page.messages] == [begin.offset + n for n in (1, 2, 3)]
        with pytest.raises(PositionLost):
            await read(store, after=Position("elsewhere", 1))
        await store.close()

    with redis_server(tmp_path / "redis") as redis:
        for url in ("memory:", f"sqlite:{tmp_path / 'l10.db'}", redis.url):
            asyncio.run(recovers(url))


def test_l12_who_was_on_a_node_that_died_is_soon_no_longer_present_on_another(
    cluster: Cluster, channel: str
) -> None:
    first, second = cluster.nodes
    with RawClient(first.port, "") as gone, RawClient(second.port, "") as here:
        for client in (gone, here):
            follow(client, channel)
        until(lambda: len(_present(second, channel)) == 2)
        first.kill()
        until(lambda: len(_present(second, channel)) == 1)
    first.start()


def _present(node: Program, channel: str) -> dict[str, Any]:
    present: dict[str, Any] = node.api("presence", channel=channel)["result"]["presence"]
    return present
