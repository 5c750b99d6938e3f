"""The program as its users run it: started, followed, published to, killed, stopped."""

import json
import re
import resource
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import API_KEY, GAPLESS, Program, free_port

OPEN = {
    "client": {"insecure": True},
    "channel": {"without_namespace": {"history_size": 1_000, "history_ttl": "1h", "force_recovery": True}},
}
DEADLINE_SECONDS = 20


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path, OPEN)
    program.start()
    yield program
    program.close()


class Tail:
    """`gapless tail`, line by line."""

    def __init__(self, program: Program, *arguments: str) -> None:
        url = f"http://127.0.0.1:{program.port}"
        self.process = subprocess.Popen(
            [GAPLESS, "tail", "--url", url, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert self.process.stdout is not None
        self._out = self.process.stdout

    def lines(self, count: int) -> list[str]:
        found: list[str] = []
        for _ in range(count):
            ready, _, _ = select.select([self._out], [], [], DEADLINE_SECONDS)
            assert ready, f"only {found} came"
            found.append(self._out.readline().decode().rstrip("\n"))
        return found

    def stop(self) -> tuple[int, str]:
        """Interrupt it; return its exit code and what it said on standard error."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode, said.decode()


def publish(program: Program, channel: str, data: str) -> str:
    command = [
        GAPLESS,
        "publish",
        channel,
        data,
        "--url",
        f"http://127.0.0.1:{program.port}",
        "--key",
        API_KEY,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=True)
    return done.stdout.strip()


def followed(program: Program, count: int) -> None:
    """Wait until so many follow the server."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while program.api("info")["result"]["nodes"][0]["num_subs"] < count:
        assert time.monotonic() < deadline


def test_a_published_message_is_printed_by_who_follows(program: Program) -> None:
    tail, json_tail = Tail(program, "chat"), Tail(program, "chat", "--json")
    followed(program, 2)
    first, second = publish(program, "chat", '{"text": "hi"}'), publish(program, "chat", "no JSON")
    assert tail.lines(2) == ['{"text": "hi"}', '"no JSON"']
    told = [json.loads(line) for line in json_tail.lines(2)]
    assert told == [{"data": {"text": "hi"}, "position": first}, {"data": "no JSON", "position": second}]
    code, said = tail.stop()
    assert code == 0
    assert f"to go on: --after {second}" in said
    json_tail.stop()


def test_following_goes_on_where_it_ended(program: Program) -> None:
    after = publish(program, "chat", "1")
    publish(program, "chat", "2")
    tail = Tail(program, "chat", "--after", after)
    assert tail.lines(1) == ["2"]
    tail.stop()


def test_following_survives_a_killed_server_without_gap_or_double(program: Program) -> None:
    tail = Tail(program, "chat")
    followed(program, 1)
    for number in range(6):
        publish(program, "chat", str(number))
        if number % 2:
            program.kill()
            program.start()
    assert tail.lines(6) == [str(number) for number in range(6)]
    code, said = tail.stop()
    assert code == 0
    assert "missed" not in said


def test_a_position_of_another_store_is_told_as_a_gap(program: Program) -> None:
    at = publish(program, "chat", "1")
    tail = Tail(program, "chat", "--after", "never-ours:1", "--json")
    assert json.loads(tail.lines(1)[0]) == {"missed": True, "after": "never-ours:1", "position": at}
    tail.stop()


def test_following_ends_quietly_when_nobody_reads_any_more(program: Program) -> None:
    tail = Tail(program, "chat")
    followed(program, 1)
    tail._out.close()
    publish(program, "chat", "1")
    assert tail.process.wait(DEADLINE_SECONDS) == 0
    assert tail.process.stderr is not None
    assert b"Traceback" not in tail.process.stderr.read()
    tail.process.stderr.close()


def test_the_server_stops_in_good_order_when_asked(program: Program) -> None:
    publish(program, "chat", "1")
    assert program.stop() == 0
    output = program.output()
    assert re.search(
        r"^\d{4}-\d\d-\d\dT[\d:.]+Z INFO gapless\.node listening on port \d+", output, re.MULTILINE
    )
    assert output.endswith("INFO gapless.node stopped\n")
    assert API_KEY not in output.replace("gapless", "")


def test_a_store_that_is_taken_away_ends_the_server_with_a_clear_word(
    program: Program, tmp_path: Path
) -> None:
    publish(program, "chat", "1")
    (tmp_path / "gapless.db").rename(tmp_path / "elsewhere.db")
    answer = program.api("publish", channel="chat", data=2)
    assert answer["error"]["reason"] == "unknown"
    assert program.process is not None
    assert program.process.wait(DEADLINE_SECONDS) == 1
    assert "Error: the store had to close" in program.output()
    assert "Traceback" not in program.output()


def ended(program: Program) -> tuple[int, str]:
    """Start a program that is to end by itself."""
    done = subprocess.run(program.command(), capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_what_keeps_the_server_from_starting_is_told(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    second = Program(folder, OPEN, {"http_server": {"port": program.port}})
    code, said = ended(second)
    assert code == 1
    assert f"cannot listen on 127.0.0.1, port {program.port}: another process listens there" in said
    second = Program(folder, OPEN, {"store": {"url": f"sqlite:{folder}/no/such/folder.db"}})
    assert ended(second)[0] == 1
    second = Program(folder, OPEN, {"log": {"file": f"{folder}/no/such/file"}})
    code, said = ended(second)
    assert code == 2
    assert "log.file" in said


def test_unknown_keys_are_refused_unless_leniently_read(tmp_path: Path) -> None:
    program = Program(tmp_path, OPEN, {"admin": {"enabled": True}})
    code, said = ended(program)
    assert code == 2
    assert "gapless.json:1: admin.enabled: this key of Centrifugo's is not one that gapless has" in said
    lenient = subprocess.Popen([*program.command(), "--lenient"], stderr=subprocess.PIPE, text=True)
    assert lenient.stderr is not None
    try:
        assert "WARNING" in lenient.stderr.readline()
        assert "listening" in lenient.stderr.readline()
    finally:
        lenient.terminate()
        lenient.communicate(timeout=DEADLINE_SECONDS)


def test_few_file_descriptors_are_a_warning(tmp_path: Path) -> None:
    program = Program(tmp_path, OPEN)
    process = subprocess.Popen(
        program.command(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )
    assert process.stderr is not None
    try:
        assert "only 64 files may be open" in process.stderr.readline()
        assert "listening" in process.stderr.readline()
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0


def test_dev_says_that_it_is_insecure_and_what_to_try(tmp_path: Path) -> None:
    port = free_port()
    dev = subprocess.Popen(
        [GAPLESS, "dev", "--port", str(port)], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert dev.stdout is not None
    printed = ""
    while "curl" not in printed:
        line = dev.stdout.readline()
        assert line, printed
        printed += line
    try:
        assert "INSECURE" in printed
        assert f"ws://127.0.0.1:{port}/connection/websocket" in printed
        assert [line.split() for line in printed.splitlines() if "/demo/" in line or "/console/" in line] == [
            ["Demo", f"http://127.0.0.1:{port}/demo/"],
            ["Console", f"http://127.0.0.1:{port}/console/"],
        ]
        command = printed.splitlines()[-1].strip()
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
        assert json.loads(done.stdout)["result"]["offset"] == 1
        assert (tmp_path / "gapless-dev.db").exists()
    finally:
        dev.terminate()
        dev.communicate(timeout=DEADLINE_SECONDS)
    assert dev.returncode == 0


# The other commands ---------------------------------------------------------------------------


def gapless(program: Program, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of the client's, with the server's URL and key."""
    url = f"http://127.0.0.1:{program.port}"
    command = [GAPLESS, *arguments, "--url", url, "--key", API_KEY]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=DEADLINE_SECONDS)


def printed(program: Program, *arguments: str, given: str | None = None) -> list[str]:
    done = gapless(program, *arguments, given=given)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_is_kept_is_printed_from_the_end_or_from_a_place(program: Program) -> None:
    places = [publish(program, "chat", str(number)) for number in range(5)]
    assert printed(program, "history", "chat") == ["0", "1", "2", "3", "4"]
    assert printed(program, "history", "chat", "--limit", "2") == ["3", "4"]
    assert printed(program, "history", "chat", "--after", places[2]) == ["3", "4"]
    assert printed(program, "history", "chat", "--since", "1h", "--limit", "3") == ["0", "1", "2"]
    assert printed(program, "history", "chat", "--since", "0s") == []
    lines = [json.loads(line) for line in printed(program, "history", "chat", "--all", "--json")]
    assert [(line["position"], line["data"]) for line in lines] == list(zip(places, range(5), strict=True))


def test_each_line_of_a_load_is_a_message_and_a_repeat_of_it_none(program: Program) -> None:
    lines = [json.dumps({"n": number}) for number in range(1_200)]
    for _ in range(2):
        said = printed(program, "publish", "chat", "-", "--idempotency-key", "load", given="\n".join(lines))
        assert said == ["published 1200 messages"]
    assert printed(program, "history", "chat", "--all") == [line.replace(" ", "") for line in lines][200:]
    refused = gapless(program, "publish", "other:1", "-", given="1\n2\n")
    assert refused.returncode == 2
    assert "line 1: there is no namespace 'other' (102); those before it are published" in refused.stderr


def test_a_broadcast_tells_of_each_channel(program: Program) -> None:
    done = gapless(program, "broadcast", "one", "unknown:1", "two", "hi")
    assert done.returncode == 1
    first, second, third = done.stdout.splitlines()
    assert re.fullmatch(r"one\t\w+:1", first)
    assert second == "unknown:1\tthere is no namespace 'unknown' (102)"
    assert re.fullmatch(r"two\t\w+:1", third)
    assert "1 of 3 channels were not published to" in done.stderr
    assert printed(program, "history", "two") == ['"hi"']


def test_channels_and_nodes_are_listed(program: Program) -> None:
    tail = Tail(program, "chat1")
    followed(program, 1)
    assert printed(program, "channels", "--pattern", "chat*") == ["       1  chat1"]
    assert json.loads(printed(program, "channels", "--json")[0]) == {"channel": "chat1", "num_clients": 1}
    tail.stop()
    (node,) = json.loads(printed(program, "info", "--json")[0])
    assert node["store"]["durability"] in ("process", "disk")
    assert any(line.split()[:1] == ["durability"] for line in printed(program, "info"))


def test_the_name_of_a_channel_commands_no_terminal(program: Program) -> None:
    tail = Tail(program, "a\n\x1b[2Jb")
    followed(program, 1)
    assert printed(program, "channels") == ["       1  a\\n\\x1b[2Jb"]
    tail.stop()


def test_a_channel_is_followed_from_a_time(program: Program) -> None:
    for number in range(3):
        publish(program, "chat", str(number))
    tail = Tail(program, "chat", "--since", "10m", "--key", API_KEY)
    assert tail.lines(3) == ["0", "1", "2"]
    tail.stop()


def token(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [GAPLESS, "token", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=DEADLINE_SECONDS)


SECRET = "client.token.hmac_secret_key=a secret of thirty-two characters"


def test_a_token_that_was_made_is_found_good_and_says_what_it_was_given() -> None:
    made = token("make", "ann", "--set", SECRET, "--claims", '{"info": {"a": 1}, "jti": "7"}')
    assert made.returncode == 0, made.stderr
    checked = token("check", "-", "--set", SECRET, "--json", given=made.stdout)
    said = json.loads(checked.stdout)
    assert (said["user"], said["token_id"], said["info"]) == ("ann", "7", {"a": 1})
    assert said["expires_ms"] > said["issued_ms"] > 0
    forged = token("check", made.stdout.strip(), "--set", f"{SECRET}!")
    assert forged.returncode == 2
    assert "Traceback" not in forged.stderr


def test_a_subscription_token_is_made_for_a_channel() -> None:
    made = token("make", "ann", "--channel", "chat:1", "--ttl", "0", "--set", SECRET, "--json")
    signed = json.loads(made.stdout)["token"]
    checked = token("check", signed, "--subscription", "--set", SECRET)
    assert {tuple(line.split()[:2]) for line in checked.stdout.splitlines()} >= {
        ("user", "ann"),
        ("channel", "chat:1"),
    }
    refused = token("check", signed, "--set", SECRET)
    assert refused.returncode == 2
    assert "a subscription token does not open a connection" in refused.stderr


def test_without_a_secret_no_token_is_made() -> None:
    refused = token("make", "ann")
    assert refused.returncode == 2
    assert "client.token.hmac_secret_key is not configured" in refused.stderr
