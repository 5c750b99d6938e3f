"""`gapless bridge`: what it refuses. `tests/acceptance/test_bridge.py` shows what it does."""

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner

from gapless.cli import main
from tests.cli.conftest import Run
from tests.program import Program, free_port
from tests.redis_server import redis_server

COMMAND = ("bridge", "redis-pubsub")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give CHANNELS, or --pattern GLOB"),
        (["chat", "--redis", "http://127.0.0.1"], "names no Redis"),
        (["chat", "--redis", "redis://127.0.0.1:many"], "is no host with a port"),
        (["chat", "--to", ""], "--to names no channel"),
        (["chat", "--drain-timeout", "long"], "is no duration"),
        (["chat", "--waiting-bytes", "1"], "--waiting-bytes"),
        (["chat", "--ca-file", "missing.pem"], "missing.pem holds no certificate"),
    ],
)
def test_a_mistake_is_one_clear_line_and_code_2(run: Run, arguments: list[str], told: str) -> None:
    ended = run(*COMMAND, *arguments)
    assert (ended.code, told in ended.err) == (2, True), ended.err
    assert "Traceback" not in ended.err


def test_a_wrong_key_is_told_before_anything_is_heard(program: Program) -> None:
    at = ["--url", f"http://127.0.0.1:{program.port}", "--api-key", "wrong"]
    ended = CliRunner().invoke(main, [*COMMAND, "chat", *at, "--redis", f"redis://127.0.0.1:{free_port()}"])
    told = "the API key is missing or wrong" in ended.output
    assert (ended.exit_code, told) == (2, True), ended.output


def test_a_wrong_password_of_redis_ends_it(run: Run, tmp_path: Path) -> None:
    with redis_server(tmp_path, requirepass="secret", appendonly="no") as redis:
        ended = run(*COMMAND, "chat", "--redis", f"redis://:wrong@127.0.0.1:{redis.port}")
    assert (ended.code, "refuses the user or password" in ended.err) == (1, True), ended.err
    assert "wrong@" not in ended.err


def test_without_its_package_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gapless.cli.bridging.find_spec", lambda name: None)
    assert importlib.util.find_spec("hiredis") is not None
    ended = run(*COMMAND, "chat")
    assert (ended.code, "pip install 'gapless[redis]'" in ended.err) == (2, True), ended.err
