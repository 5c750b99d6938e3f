"""`gapless queue` and `gapless stream` as people run them: at a terminal, interrupted, a server killed."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import API_KEY, GAPLESS, Program

DEADLINE_SECONDS = 20


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("server"))
    program.start()
    yield program
    program.close()


def command(program: Program, *arguments: str) -> list[str]:
    return [GAPLESS, *arguments, "--url", f"http://127.0.0.1:{program.port}"]


ENVIRONMENT = {**os.environ, "GAPLESS_HTTP_API__KEY": API_KEY}


def gapless(program: Program, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(program, *arguments),
        input=given,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        env=ENVIRONMENT,
    )


def told(program: Program, *arguments: str, given: str | None = None) -> Any:
    done = gapless(program, *arguments, "--json", given=given)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Running:
    """A command that goes on until it is interrupted."""

    def __init__(self, arguments: list[str]) -> None:
        self.process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=ENVIRONMENT,
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

    def interrupt(self) -> tuple[int, str]:
        """Press Ctrl-C; return the exit code and what was said on standard error."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=DEADLINE_SECONDS)
        assert b"Traceback" not in said
        return self.process.returncode, said.decode()


def at_terminal(program: Program, *arguments: str, answer: str) -> tuple[int, str]:
    """Run a command at a terminal and answer its question; return its exit code and all that was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(program, *arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=ENVIRONMENT
    )
    os.close(theirs)
    shown, answered = b"", False
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([ours], [], [], DEADLINE_SECONDS)
            assert ready, shown
            try:
                part = os.read(ours, 4_096)
            except OSError:  # Linux: nobody holds the other end any more
                break
            if not part:
                break
            shown += part
            if not answered and b"[y/N]" in shown:
                os.write(ours, answer.encode() + b"\n")
                answered = True
        return process.wait(DEADLINE_SECONDS), shown.decode()
    finally:
        os.close(ours)


def test_what_cannot_be_undone_is_asked_for_at_a_terminal(program: Program) -> None:
    told(program, "queue", "create", "precious")
    told(program, "queue", "push", "precious", "-", given="1\n2\n")
    code, shown = at_terminal(program, "queue", "purge", "precious", "--state", "waiting", answer="n")
    assert (code, "Remove 2 waiting jobs of queue 'precious' for good? [y/N]" in shown) == (1, True)
    assert "Aborted!" in shown
    assert told(program, "queue", "stats", "precious")[0]["ready"] == 2
    code, shown = at_terminal(program, "queue", "purge", "precious", "--state", "waiting", answer="y")
    assert code == 0
    assert "2 jobs of queue 'precious' are gone" in shown
    code, shown = at_terminal(program, "queue", "drop", "precious", answer="y")
    assert (code, "is gone, and 0 jobs with it" in shown) == (0, True)


def test_a_seek_shows_what_it_would_do_before_it_asks(program: Program) -> None:
    told(program, "stream", "create", "sought")
    told(program, "stream", "append", "sought", "-", given="1\n2\n3\n")
    program.api("stream/heartbeat", source="sought", group="g", member="m")
    code, shown = at_terminal(program, "stream", "seek", "sought", "g", "--to", "latest", answer="n")
    assert code == 1
    assert shown.index("skips") < shown.index("Let group 'g' skip 3 messages and get 0 again? [y/N]")
    assert told(program, "stream", "lag", "sought", "g")["lag"] == 3
    code, _ = at_terminal(program, "stream", "seek", "sought", "g", "--to", "latest", answer="y")
    assert code == 0
    assert told(program, "stream", "lag", "sought", "g").get("lag", 0) == 0


def test_a_stream_is_followed_until_interrupted_and_from_there_on(program: Program) -> None:
    told(program, "stream", "create", "live")
    told(program, "stream", "append", "live", "-", given="1\n2\n")
    tail = Running(command(program, "stream", "tail", "live", "--since", "1h"))
    assert tail.lines(2) == ["1", "2"]
    told(program, "stream", "append", "live", '{"n":3}')
    assert tail.lines(1) == ['{"n":3}']
    code, said = tail.interrupt()
    assert code == 0
    place = said.strip().removeprefix("to go on: --from ")
    assert place.endswith(":3")
    told(program, "stream", "append", "live", "4")
    further = Running(command(program, "stream", "tail", "live", "--from", place, "--json"))
    message = json.loads(further.lines(1)[0])
    assert (message["offset"], message["data"]) == (4, 4)
    assert further.interrupt()[0] == 0


def test_all_partitions_or_one_key_are_followed(program: Program) -> None:
    told(program, "stream", "create", "wide", "--partitions", "5", "--keyed")
    everything = Running(command(program, "stream", "tail", "wide", "--from", "earliest", "--json"))
    one = Running(command(program, "stream", "tail", "wide", "--from", "earliest", "--key", "k3"))
    for number in range(10):
        told(program, "stream", "append", "wide", str(number), "--key", f"k{number % 5}")
    seen = [json.loads(line) for line in everything.lines(10)]
    assert sorted(each["data"] for each in seen) == list(range(10))
    for key in range(5):
        assert [each["data"] for each in seen if each["key"] == f"k{key}"] == [key, key + 5]
    assert one.lines(2) == ["3", "8"]
    assert everything.interrupt() == (0, "")
    assert one.interrupt()[0] == 0


def test_following_survives_a_killed_server_without_gap_or_double(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.start()
    try:
        told(program, "stream", "create", "hard")
        tail = Running(command(program, "stream", "tail", "hard", "--from", "earliest"))
        for number in range(4):
            told(program, "stream", "append", "hard", str(number))
            if number % 2:
                assert tail.lines(2) == [str(number - 1), str(number)]
                program.kill()
                program.start()
        told(program, "stream", "append", "hard", "4")
        assert tail.lines(1) == ["4"]
        code, said = tail.interrupt()
        assert (code, "missed" in said) == (0, False)
        assert "does not answer" in said
    finally:
        program.close()


def test_messages_that_are_gone_are_told_as_missed(program: Program) -> None:
    told(program, "stream", "create", "gone")
    told(program, "stream", "append", "gone", "-", given="1\n2\n3\n")
    epoch = told(program, "stream", "ls")[0]["partitions"][0]["epoch"]
    told(program, "stream", "trim", "gone", "--through", "2", "--yes")
    tail = Running(command(program, "stream", "tail", "gone", "--from", f"{epoch}:1", "--json"))
    missed, message = [json.loads(line) for line in tail.lines(2)]
    assert missed == {"missed": True, "partition": 0, "after": f"{epoch}:1"}
    assert message["offset"] == 3
    tail.interrupt()


def test_following_what_is_not_there_ends_at_once(program: Program) -> None:
    told(program, "stream", "create", "there")
    done = gapless(program, "stream", "tail", "thera")
    assert done.returncode == 2
    assert "there is no stream 'thera'" in done.stderr
    assert "did you mean there?" in done.stderr


def test_following_ends_quietly_when_nobody_reads_any_more(program: Program) -> None:
    told(program, "stream", "create", "unread")
    tail = Running(command(program, "stream", "tail", "unread", "--from", "earliest"))
    told(program, "stream", "append", "unread", "1")
    assert tail.lines(1) == ["1"]
    tail._out.close()
    told(program, "stream", "append", "unread", "2")
    assert tail.process.wait(DEADLINE_SECONDS) in (0, 1)
    assert tail.process.stderr is not None
    assert b"Traceback" not in tail.process.stderr.read()
    tail.process.stderr.close()


def test_statistics_are_watched_until_interrupted(program: Program) -> None:
    told(program, "queue", "create", "watched")
    watch = Running(command(program, "queue", "stats", "watched", "--watch", "--every", "10ms", "--json"))
    assert [json.loads(line)[0]["queue"] for line in watch.lines(3)] == ["watched"] * 3
    assert watch.interrupt() == (0, "")
    table = Running(command(program, "queue", "stats", "watched", "--watch", "--every", "10ms"))
    assert [line.split()[0] for line in table.lines(4)] == ["queue", "watched"] * 2
    assert table.interrupt() == (0, "")


def test_a_replay_is_interrupted_cleanly(program: Program) -> None:
    told(program, "stream", "create", "slow")
    told(program, "stream", "append", "slow", "1")
    time_ms = told(program, "stream", "append", "slow", "2")["time_ms"]
    assert time_ms
    replay = Running(command(program, "stream", "replay", "slow", "--speed", "0.000001"))
    assert replay.lines(1) == ["1"]
    assert replay.interrupt()[0] == 0


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_SECONDS)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        arguments = [GAPLESS, "stream", "export", "much", str(tmp_path / "out"), "--url", url]
        export = Running(arguments)
        accepted, _ = listener.accept()  # it has begun, and waits for an answer
        with accepted:
            code, said = export.interrupt()
    assert (code, said.strip()) == (1, "Aborted!")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_import_says_where_to_go_on(program: Program) -> None:
    told(program, "queue", "create", "half")
    arguments = command(program, "queue", "push", "half", "-")
    push = subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert push.stdin is not None
    push.stdin.write(b"1\n" * 501)
    push.stdin.flush()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while told(program, "queue", "stats", "half")[0]["ready"] < 500:
        assert time.monotonic() < deadline
    push.send_signal(signal.SIGINT)
    _, said = push.communicate(timeout=DEADLINE_SECONDS)
    assert push.returncode == 1
    assert b"to go on: --skip 500" in said
