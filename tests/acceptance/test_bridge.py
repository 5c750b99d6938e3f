"""What is published to plain Redis channels arrives in gapless channels, across restarts of either."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import certificate
from tests.program import API_KEY, GAPLESS, Program, free_port
from tests.redis_server import RedisServer, redis_server

SECONDS_MAX = 30
POLL_SECONDS = 0.02
OPEN = {
    "store": {"durability": "process"},
    "channel": {
        "namespaces": [
            {"name": name, "history_size": 100_000, "history_ttl": "1h", "force_recovery": True}
            for name in ("chat", "bytes", "mapped")
        ]
    },
}


class Bridge:
    """`gapless bridge redis-pubsub`, and what it says."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._said = folder / "said"
        self._counts = folder / "counts"
        with self._said.open("w") as said, self._counts.open("w") as counts:
            self.process = subprocess.Popen(
                [GAPLESS, "bridge", "redis-pubsub", "--json", "--every", "100ms", *options],
                stdout=counts,
                stderr=said,
                start_new_session=True,
            )

    def said(self) -> str:
        return self._said.read_text()

    def counts(self) -> dict[str, int]:
        """The last line of counts that was written to its end."""
        lines = self._counts.read_text().rpartition("\n")[0].splitlines()
        told: dict[str, int] = json.loads(lines[-1]) if lines else {}
        return told

    def until(self, true: Callable[[], Any]) -> None:
        deadline = time.monotonic() + SECONDS_MAX
        while not true():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, (self.said(), self.counts())
            try:
                self.process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                pass

    def until_said(self, text: str) -> None:
        self.until(lambda: text in self.said())

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(SECONDS_MAX)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    (tmp_path / "gapless").mkdir()
    program = Program(tmp_path / "gapless", OPEN)
    program.start()
    yield program
    program.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis", appendonly="no") as redis:
        yield redis


@pytest.fixture
def start(tmp_path: Path, program: Program, redis: RedisServer) -> Iterator[Callable[..., Bridge]]:
    """Starts a bridge between the two, and waits until it listens."""
    started: list[Bridge] = []

    def start(*options: str, redis_url: str = redis.url) -> Bridge:
        server = ["--url", f"http://127.0.0.1:{program.port}", "--api-key", API_KEY]
        started.append(Bridge(tmp_path, *options, "--redis", redis_url, *server))
        started[-1].until_said("listening to")
        return started[-1]

    yield start
    for bridge in started:
        if bridge.process.poll() is None:
            bridge.process.kill()
        bridge.process.wait()


def publish(redis: RedisServer, channel: str, payloads: list[bytes]) -> None:
    """Publish as any Redis client does, all at once, and wait until Redis took them."""
    with socket.create_connection(("127.0.0.1", redis.port), SECONDS_MAX) as connection:
        name = channel.encode()
        connection.sendall(
            b"".join(
                b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(body), body)
                for body in payloads
            )
        )
        replies = connection.makefile("rb")
        for _ in payloads:
            assert replies.readline() == b":1\r\n", "one bridge hears it"


def numbers(*range_: int) -> list[bytes]:
    return [b'{"number":%d}' % number for number in range(*range_)]


def held(program: Program, channel: str) -> list[Any]:
    """All that a channel keeps, page by page."""
    found: list[Any] = []
    since: dict[str, Any] = {}
    while True:
        page = program.api("history", channel=channel, limit=1_000, **since)["result"]
        if not page["publications"]:
            return found
        found += [each.get("b64data", each["data"]) for each in page["publications"]]
        since = {"since": {"epoch": page["epoch"], "offset": page["publications"][-1]["offset"]}}


def test_all_arrives_in_order_and_ctrl_c_ends_it_well(
    program: Program, redis: RedisServer, start: Callable[..., Bridge]
) -> None:
    bridge = start("--pattern", "chat:*")
    for first in range(0, 10_000, 1_000):
        publish(redis, "chat:1", numbers(first, first + 1_000))
        publish(redis, "chat:2", numbers(first, first + 1_000))
    assert bridge.interrupt() == 0, bridge.said()
    for channel in ("chat:1", "chat:2"):
        assert held(program, channel) == [{"number": number} for number in range(10_000)]
    counts = bridge.counts()
    assert counts["received"] == counts["published"] == 20_000
    assert "Traceback" not in bridge.said()


def test_names_and_payloads_are_mapped_as_it_is_told(
    program: Program, redis: RedisServer, start: Callable[..., Bridge]
) -> None:
    bridge = start("app:one", "--strip", "app:", "--to", "mapped:{channel}", "--binary")
    publish(redis, "app:one", [b'{"a": 1}', b"\x00\xff"])
    bridge.until(lambda: bridge.counts().get("published") == 2)
    assert held(program, "mapped:one") == [{"a": 1}, "AP8="]
    publish(redis, "app:one", [b"x" * 100_000])
    bridge.until_said("not published (1 so far): to channel 'mapped:one'")
    assert bridge.interrupt() == 0


def test_a_server_that_is_killed_and_comes_back_gets_each_message_once(
    program: Program, redis: RedisServer, start: Callable[..., Bridge]
) -> None:
    bridge = start("chat:1")
    for turn in range(3):
        publish(redis, "chat:1", numbers(turn * 1_000, turn * 1_000 + 500))
        program.kill()
        publish(redis, "chat:1", numbers(turn * 1_000 + 500, turn * 1_000 + 1_000))
        program.start()
    bridge.until(lambda: bridge.counts().get("published") == 3_000)
    assert held(program, "chat:1") == [{"number": number} for number in range(3_000)]
    assert bridge.interrupt() == 0, bridge.said()
    assert bridge.counts()["retries"] > 0


def test_a_redis_that_is_restarted_is_listened_to_again(
    program: Program, redis: RedisServer, start: Callable[..., Bridge]
) -> None:
    bridge = start("chat:1", "--pattern", "chat:[2-9]")
    publish(redis, "chat:1", numbers(10))
    redis.stop()
    redis.start()
    bridge.until_said("what was published there meanwhile did not come here")
    publish(redis, "chat:1", numbers(10, 20))
    assert bridge.interrupt() == 0, bridge.said()
    assert held(program, "chat:1") == [{"number": number} for number in range(20)]
    assert bridge.counts()["redis_losses"] == 1


def test_a_redis_with_a_password_is_listened_to_over_tls(
    tmp_path: Path, program: Program, start: Callable[..., Bridge]
) -> None:
    folder, port = tmp_path / "secured", free_port()
    folder.mkdir()
    certificate("localhost").write(folder)
    pem, key = str(folder / "server.pem"), str(folder / "server.key")
    secured = {
        "tls-port": str(port),
        "tls-cert-file": pem,
        "tls-key-file": key,
        "tls-ca-cert-file": pem,
        "tls-auth-clients": "no",
    }
    with redis_server(folder, appendonly="no", **secured) as redis:
        redis.command("CONFIG", "SET", "requirepass", "secret")
        bridge = start("chat:1", redis_url=f"rediss://:secret@localhost:{port}?ca={pem}")
        command = ["redis-cli", "-p", str(redis.port), "-a", "secret", "publish", "chat:1", "1"]
        assert subprocess.run(command, capture_output=True, check=True).stdout == b"1\n"
        bridge.until(lambda: bridge.counts().get("published") == 1)
        assert bridge.interrupt() == 0, bridge.said()
    assert held(program, "chat:1") == [1]


def test_what_could_not_be_published_in_the_end_is_told(
    program: Program, redis: RedisServer, start: Callable[..., Bridge]
) -> None:
    bridge = start("chat:1", "--drain-timeout", "200ms")
    program.kill()
    publish(redis, "chat:1", numbers(7))
    bridge.until(lambda: bridge.counts().get("waiting") == 7)
    assert bridge.interrupt() == 1
    assert "Error: 7 messages were not published" in bridge.said()
