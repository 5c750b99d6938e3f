"""Bad input, from outside: the documented code each time, and a server that neither falls nor grows.

Next to it all a stock client stays connected, and is delivered a message after every test.
"""

import itertools
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import jwt
import pytest

from tests.acceptance import driver as drivers
from tests.acceptance.driver import StockClient
from tests.acceptance.raw import RawClient, exchange
from tests.acceptance.stock import SECRET, token
from tests.program import API_KEY, Program
from tests.server.raw_socket import BINARY, CONTINUATION, TEXT, frame

CONFIG = {
    "client": {
        "token": {"hmac_secret_key": SECRET},
        "ping_interval": "1s",
        "pong_timeout": "500ms",
        "stale_close_delay": "500ms",
    },
    "channel": {
        "namespaces": [
            {
                "name": "chat",
                "history_size": 1_000,
                "history_ttl": "10m",
                "force_recovery": True,
                "allow_subscribe_for_client": True,
                "allow_history_for_client": True,
                "allow_user_limited_channels": True,
            },
            {
                "name": "short",
                "history_size": 10,
                "history_ttl": "10m",
                "force_recovery": True,
                "allow_subscribe_for_client": True,
            },
            {"name": "shut"},
        ]
    },
    "store": {"durability": "process"},
}
CHANNEL_LIMIT = 128
MESSAGE_BYTES_MAX = 64 * 1024
OFFSET_MAX = 2**63 - 1
REPEATS = 20
GROWTH_BYTES_MAX = 16 << 20

numbers = itertools.count()


class Neighbour:
    """A client that behaves."""

    def __init__(self, program: Program, client: StockClient) -> None:
        self._program = program
        self._client = client
        client.subscribe("chat:neighbour")

    def check(self) -> None:
        number = next(numbers)
        self._program.api("publish", channel="chat:neighbour", data=number)
        (event,) = self._client.publications("chat:neighbour", 1)
        assert event["data"] == number


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("server"), CONFIG)
    program.start()
    yield program
    assert "Traceback" not in program.output()
    assert program.stop() == 0
    program.close()


@pytest.fixture(scope="module")
def neighbour(program: Program) -> Iterator[Neighbour]:
    driver = drivers.python()
    client = StockClient(driver, "neighbour", program.url, binary=False, token=token("neighbour"))
    neighbour = Neighbour(program, client)
    neighbour.check()
    yield neighbour
    assert not {"disconnected", "error"} & set(driver.waiting("neighbour"))
    assert driver.waiting("neighbour").count("connecting") == 1, "it never had to come back"
    driver.close()


@pytest.fixture(scope="module")
def basis_bytes(program: Program, neighbour: Neighbour) -> int:
    """What the program holds once everything that is imported late has been."""
    for _ in range(REPEATS):
        with RawClient(program.port, token("warm")) as client:
            client.call("subscribe", channel=f"chat:{next(numbers)}")
    return program.resident_bytes()


@pytest.fixture(autouse=True)
def unharmed(program: Program, neighbour: Neighbour, basis_bytes: int) -> Iterator[None]:
    yield
    neighbour.check()
    assert program.resident_bytes() < basis_bytes + GROWTH_BYTES_MAX


def connected(program: Program) -> RawClient:
    return RawClient(program.port, token("eve"))


def ends(program: Program, *sent: bytes, binary: bool = False, credentials: str | None = None) -> int:
    """Send bytes over new WebSockets, and return the code with which each one ends."""
    codes = set()
    for _ in range(REPEATS):
        with RawClient(program.port, credentials, binary=binary) as client:
            for data in sent:
                client.send_bytes(data)
            codes.add(client.end())
    (code,) = codes
    return code


def command(id: int, name: str, **request: Any) -> bytes:
    return json.dumps({"id": id, name: request}).encode()


# The client protocol ------------------------------------------------------------------------

MALFORMED = {
    "nothing": b"",
    "half an object": b'{"id":1,"connect":{',
    "no object": b"[1,2]",
    "no JSON": b"hello",
    "a negative id": b'{"id":-1,"connect":{}}',
    "an id too large": b'{"id":4294967296,"connect":{}}',
    "a fraction": b'{"id":1.5,"connect":{}}',
    "null": b"null",
    "the wrong type": b'{"id":1,"connect":{"token":[]}}',
    "no request": b'{"id":1}',
    "no id": b'{"connect":{}}',
    "too deep": b'{"id":1,"connect":{"data":' + b"[" * 60_000 + b"}}",
    "too many": b"\n".join([b"{}"] * 10_001),
    "an unowed pong": b"{}",
    "a NUL": b'{"id":1,"connect":{}}\0',
}


@pytest.mark.parametrize("payload", MALFORMED.values(), ids=MALFORMED)
def test_malformed_json_ends_the_connection(program: Program, payload: bytes) -> None:
    assert ends(program, frame(TEXT, payload)) == 3501


DAMAGED = {
    "nothing": b"",
    "less than announced": b"\x20\x08\x01",
    "an endless varint": b"\xff" * 100,
    "an unknown wire type": b"\x02\x0f\x0f",
    "JSON": b'{"id":1,"connect":{}}',
    "a huge length": b"\xff\xff\xff\xff\x7f" + b"x",
    "text that is not UTF-8": b"\x08\x08\x01\x22\x04\x0a\x02\xff\xfe",
}


@pytest.mark.parametrize("payload", DAMAGED.values(), ids=DAMAGED)
def test_malformed_protobuf_ends_the_connection(program: Program, payload: bytes) -> None:
    assert ends(program, frame(BINARY, payload), binary=True) == 3501


def test_text_that_is_not_utf8_ends_the_connection(program: Program) -> None:
    assert ends(program, frame(TEXT, b'{"id":1,"connect":{"name":"\xff"}}')) == 1007


@pytest.mark.parametrize(
    "sent",
    [
        frame(TEXT, b" " * (MESSAGE_BYTES_MAX + 1)),
        frame(TEXT, b"{", announced=1 << 62),
        frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b" " * 4096, fin=False) * 16,
    ],
    ids=["oversized", "announced", "fragments"],
)
def test_a_message_over_the_limit_ends_the_connection(program: Program, sent: bytes) -> None:
    assert ends(program, sent) == 1009
    assert ends(program, sent, credentials=token("eve")) == 1009


def test_endless_fragments_of_nothing_end_the_connection(program: Program) -> None:
    endless = frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 100_000
    assert ends(program, endless) in (1008, 1009)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("subscribe", {"channel": "chat:1"}),
        ("publish", {"channel": "chat:1", "data": 1}),
        ("history", {"channel": "chat:1"}),
        ("ping", {}),
        ("rpc", {"method": "x"}),
    ],
)
def test_a_command_before_connect_ends_the_connection(
    program: Program, method: str, request_: dict[str, Any]
) -> None:
    assert ends(program, frame(TEXT, command(1, method, **request_))) == 3501


def test_a_second_connect_ends_the_connection(program: Program) -> None:
    again = frame(TEXT, command(2, "connect", token=token("eve")))
    assert ends(program, again, credentials=token("eve")) == 3501


def test_what_nobody_takes_ends_the_connection(program: Program) -> None:
    assert ends(program, frame(TEXT, b'{"send":{"data":1}}'), credentials=token("eve")) == 3508


@pytest.mark.parametrize("method", ["subscribe", "publish", "history", "presence", "presence_stats"])
@pytest.mark.parametrize(
    ("channel", "code"),
    [("nowhere:1", 102), ("shut:1", 103), ("", 107), ("chat:" + "x" * 251, 107), ("chat:\u00fc", 107)],
)
def test_a_channel_that_there_is_not_is_refused(
    program: Program, method: str, channel: str, code: int
) -> None:
    with connected(program) as client:
        reply = client.call(method, channel=channel, **({"data": 1} if method == "publish" else {}))
        looks = method in ("history", "presence", "presence_stats")
        assert reply["error"]["code"] == (108 if channel == "shut:1" and looks else code)
        assert "ping" in client.call("ping"), "the connection goes on"


@pytest.mark.parametrize("channel", ["$chat:1", "chat:1#bob", "$chat:1#eve"])
def test_a_channel_of_others_cannot_be_subscribed_to(program: Program, channel: str) -> None:
    with connected(program) as client:
        assert client.call("subscribe", channel=channel)["error"]["code"] == 103


def test_ten_thousand_subscriptions_stop_at_the_limit(program: Program) -> None:
    ids = range(2, 10_002)
    with connected(program) as client:
        for start in range(0, len(ids), 1_000):
            batch = ids[start : start + 1_000]
            client.send(*({"id": id, "subscribe": {"channel": f"chat:{id}"}} for id in batch))
        replies = list(itertools.islice(client.replies(), len(ids)))
    subscribed = [reply["id"] for reply in replies if "subscribe" in reply]
    refused = [reply["id"] for reply in replies if "error" in reply and reply["error"]["code"] == 106]
    assert len(subscribed) == CHANNEL_LIMIT
    assert sorted(subscribed + refused) == list(ids)


@pytest.mark.parametrize(
    "credentials",
    [
        "x",
        "a.b.c",
        "x" * 20_000,
        token("eve", channel="chat:1"),
        jwt.encode({"sub": "eve"}, "", "none"),
        jwt.encode({"sub": "eve"}, "another secret of enough characters", "HS256"),
        jwt.encode({"sub": "eve"}, SECRET * 2, "HS512"),
        jwt.encode({"sub": "eve"}, SECRET, "HS256", headers={"crit": ["b64"], "b64": False}),
        token("eve", exp="tomorrow"),
    ],
    ids=["text", "dots", "long", "kind", "none", "key", "algorithm", "crit", "claims"],
)
def test_a_token_of_the_wrong_kind_ends_the_connection(program: Program, credentials: str) -> None:
    assert ends(program, frame(TEXT, command(1, "connect", token=credentials))) == 3500


def test_an_expired_token_is_refused_with_its_own_error(program: Program) -> None:
    with RawClient(program.port) as client:
        late = token("eve", exp=int(time.time()) - 60)
        assert client.call("connect", token=late)["error"]["code"] == 109


def test_no_token_ends_the_connection(program: Program) -> None:
    assert ends(program, frame(TEXT, command(1, "connect"))) == 3501


@pytest.mark.parametrize("offset", [-1, OFFSET_MAX + 1, 2**64, 1e300])
@pytest.mark.parametrize("method", ["subscribe", "history"])
def test_an_offset_that_is_none_ends_the_connection(program: Program, method: str, offset: float) -> None:
    request = {"recover": True, "offset": offset} if method == "subscribe" else {"since": {"offset": offset}}
    sent = frame(TEXT, command(2, method, channel="chat:1", **request))
    assert ends(program, sent, credentials=token("eve")) == 3501


@pytest.mark.parametrize("offset", [1_000, OFFSET_MAX])
@pytest.mark.parametrize("epoch", [None, "", "never ours", "x" * 50_000])
def test_a_position_that_does_not_hold_is_not_believed(
    program: Program, offset: int, epoch: str | None
) -> None:
    channel = f"chat:{next(numbers)}"
    held = program.api("publish", channel=channel, data=1)["result"]
    at = {"offset": offset, "epoch": held["epoch"] if epoch is None else epoch}
    with connected(program) as client:
        told = client.call("subscribe", channel=channel, recover=True, **at)["subscribe"]
        assert told["was_recovering"]
        assert not told.get("recovered")
        assert (told["offset"], told["epoch"]) == (held["offset"], held["epoch"])
        assert "publications" not in told
        assert client.call("history", channel=channel, since=at, limit=1)["error"]["code"] == 112
        client.call("unsubscribe", channel=channel)
        rather = client.call("subscribe", channel=channel, recover=True, flag=2, **at)
        assert rather["error"]["code"] == 112


# Clients that do nothing ----------------------------------------------------------------------


def test_who_never_connects_is_let_go(program: Program) -> None:
    def wait(_: int) -> int:
        with RawClient(program.port) as client:
            return client.end()

    with ThreadPoolExecutor(100) as pool:
        assert set(pool.map(wait, range(300))) == {3502}


def test_who_does_not_answer_pings_is_let_go(program: Program) -> None:
    with connected(program) as client:
        client.wait_for_ping()
        assert client.end() == 3012


def test_a_flood_before_connect_ends_at_its_limit(program: Program) -> None:
    with RawClient(program.port) as client:
        refused = command(1, "connect", token=token("eve", exp=1), data="x" * 30_000)
        for _ in range(4):
            client.send_bytes(frame(TEXT, refused))
        assert client.end() == 3501


def test_a_flood_of_connections_is_outlived(program: Program) -> None:
    for _ in range(1_000):
        exchange_nothing(program)


def exchange_nothing(program: Program) -> None:
    client = RawClient(program.port)
    client.send_bytes(frame(TEXT, command(1, "connect", token="x"))[:-3])
    client.close()


def test_slow_readers_hold_no_memory_and_are_told_what_they_lost(program: Program, basis_bytes: int) -> None:
    size, count = 60_000, 400  # more than any socket takes, and than is kept
    with ExitStack() as stack:
        readers = [
            stack.enter_context(RawClient(program.port, token("slow"), takes_bytes=4_096)) for _ in range(10)
        ]
        starts = [reader.call("subscribe", channel="short:slow")["subscribe"] for reader in readers]
        for number in range(count):
            program.api("publish", channel="short:slow", data=f"{number:04d}" + "x" * size)
        assert program.resident_bytes() < basis_bytes + GROWTH_BYTES_MAX
        for reader, start in zip(readers, starts, strict=True):
            offsets = []
            while "pub" in (push := reader.push("short:slow")):
                offsets.append(push["pub"]["offset"])
            assert push["unsubscribe"]["code"] == 2500
            assert offsets == list(range(1, len(offsets) + 1)), "in order, without a gap, up to the end"
            at = {"offset": len(offsets), "epoch": start["epoch"]}
            again = reader.call("subscribe", channel="short:slow", recover=True, **at)["subscribe"]
            assert again["was_recovering"]
            assert not again.get("recovered")
            assert again["offset"] == count


# HTTP -----------------------------------------------------------------------------------------


def http(
    program: Program, *fields: str, body: bytes = b"", target: str = "/api/publish", key: str = API_KEY
) -> tuple[list[int], bytes]:
    """Send a request as it is; return the statuses of all responses, and the bytes."""
    lines = [f"POST {target} HTTP/1.1", "Host: here", f"X-API-Key: {key}", *fields, "", ""]
    answer = exchange(program.port, "\r\n".join(lines).encode() + body)
    statuses = [
        int(part.split(b" ", 1)[0][:3]) for part in answer.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()
    ]
    return statuses, answer


PUBLISH = b'{"channel":"chat:1","data":1}'
LENGTH = f"Content-Length: {len(PUBLISH)}"


def test_what_follows_a_body_is_never_taken_for_it(program: Program) -> None:
    statuses, _ = http(program, LENGTH, body=PUBLISH + b"more than announced\r\n\r\n")
    assert statuses == [200, 400]


def test_bodies_that_never_come_keep_nobody_waiting(program: Program) -> None:
    head = f"POST /api/publish HTTP/1.1\r\nHost: here\r\nX-API-Key: {API_KEY}\r\n{LENGTH}\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(REPEATS):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", program.port)))
            half.sendall(head.encode() + PUBLISH[:-1])
        client = stack.enter_context(connected(program))
        client.call("subscribe", channel="chat:1")
        program.api("publish", channel="chat:1", data="while bodies are missing")
        assert client.publication("chat:1") == "while bodies are missing"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((LENGTH, "Transfer-Encoding: chunked"), 400),
        (("Transfer-Encoding: chunked", LENGTH), 400),
        ((LENGTH, "Content-Length: 1"), 400),
        (("Content-Length: -1",), 400),
        (("Content-Length: 0x10",), 400),
        (("Content-Length: 99999999999999999999999",), 400),
        (("Content-Length: 1048577",), 413),
        (("Transfer-Encoding: gzip",), 400),
        ((LENGTH, "Host: there"), 400),
        ((LENGTH, "X: " + "x" * 20_000), 431),
        ((LENGTH, *(f"X-{n}: x" for n in range(200))), 431),
        ((LENGTH, " folded: x"), 400),
        ((LENGTH, "Bad Name: x"), 400),
        ((LENGTH, "X: a\0b"), 400),
    ],
    ids=[
        "CL and TE", "TE and CL", "two CL", "negative", "hex", "huge", "large", "TE", "two hosts", "long",
        "many", "folded", "name", "NUL",
    ],
)  # fmt: skip
def test_a_malformed_head_is_refused_and_ends_the_connection(
    program: Program, fields: tuple[str, ...], status: int
) -> None:
    for _ in range(REPEATS):
        statuses, answer = http(program, *fields, body=PUBLISH)
        assert statuses == [status] or (status == 400 and statuses == [501]), answer


def test_an_endless_head_is_cut_off(program: Program) -> None:
    answer = exchange(program.port, b"GET / HTTP/1.1\r\n" + b"X: " + b"x" * 10_000_000)
    assert answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")) or not answer


def test_an_endless_body_is_cut_off(program: Program) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    statuses, _ = http(program, "Transfer-Encoding: chunked", body=chunk * 64)
    assert statuses in ([413], [])


def test_a_slow_head_is_given_up(program: Program) -> None:
    began = time.monotonic()
    answer = exchange(program.port, b"POST /api/publish HTTP/1.1\r\nHost: he")
    assert time.monotonic() - began < 8
    assert answer.startswith(b"HTTP/1.1 408") or not answer


def call_with(program: Program, body: bytes) -> tuple[list[int], int]:
    fields = (f"Content-Length: {len(body)}", "Connection: close")
    statuses, answer = http(program, *fields, body=body)
    return statuses, json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"channel":"chat:1","data":"\xff"}',
        b'{"channel":"chat:1","data":' + b"[" * 100_000 + b"}",
    ],
    ids=["half", "list", "not UTF-8", "too deep"],
)
def test_a_body_that_is_no_request_is_refused_by_status_too(program: Program, body: bytes) -> None:
    assert call_with(program, body) == ([400], 107)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 107),
        (b'{"channel":"chat:1"}', 107),
        (b'{"channel":"","data":1}', 107),
        (b'{"channel":"nowhere:1","data":1}', 102),
        (b'{"channel":"chat:1","data":1,"idempotency_key":"' + b"k" * 200 + b'"}', 107),
        (b'{"channel":"chat:1","data":"' + b"x" * MESSAGE_BYTES_MAX + b'"}', 107),
    ],
    ids=["empty", "no data", "no channel", "no namespace", "long key", "large"],
)
def test_a_bad_call_of_the_api_is_told_its_error(program: Program, body: bytes, code: int) -> None:
    assert call_with(program, body) == ([200], code)


def test_the_api_is_closed_to_who_has_no_key(program: Program) -> None:
    for key in ("", "wrong", API_KEY + "x"):
        statuses, _ = http(program, LENGTH, "Connection: close", body=PUBLISH, key=key)
        assert statuses == [401]
