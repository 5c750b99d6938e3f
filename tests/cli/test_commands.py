"""The command line: what it prints, and with which code it ends."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gapless import __version__
from gapless.cli import COMMANDS, main


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("gapless", "asyncio")]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def test_the_commands_are_listed_with_what_they_do() -> None:
    code, output = run("--help")
    assert code == 0
    for command in COMMANDS:
        assert f"  {command} " in output


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str) -> None:
    code, output = run(command, "--help")
    assert code == 0
    assert f"main {command}" in output


def test_the_version_is_printed() -> None:
    assert run("version") == run("--version") == (0, f"gapless {__version__}\n")
    assert run("version", "--json") == (0, f'{{"version":"{__version__}"}}\n')


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["serve", "--nothing"], "No such option"),
        (["serve", "--config", "missing.toml"], "missing.toml: cannot be read: No such file or directory"),
        (["serve", "--set", "http_server.prot=1"], "did you mean http_server.port?"),
        (["serve", "--set", "store.url=nothing:"], "no store for the scheme 'nothing'"),
        (["serve", "--set", "store.url=nothing"], "is no store URL"),
        (["tail", "chat", "--after", "5"], "is no position; write epoch:offset"),
        (["tail", "chat", "--after", "e:-1"], "is no position"),
        (["tail", "chat", "--url", "ftp://here"], "is no http:// or ws:// URL"),
        (["publish", "chat", "1", "--url", "here"], "is no http:// URL"),
        (["info", "--url", "http://ann:secret@here"], "a URL with a name or password in it is not used"),
        (
            ["tail", "chat", "--url", "ws://ann:secret@here"],
            "a URL with a name or password in it is not used",
        ),
        (["backup", "/no/such/folder/file"], "/no/such/folder is no folder that may be written to"),
        (["publish", "chat"], "Missing argument 'DATA'"),
        (["history", "chat", "--since", "1h", "--after", "e:1"], "give --after or --since, not both"),
        (["token", "make", "ann", "--ttl", "1 hour"], "is no duration"),
        (["token", "make", "ann", "--claims", "[]"], "is no JSON object"),
        (["token", "make", "ann", "--key-file", "missing.pem"], "missing.pem cannot be read"),
    ],
)
def test_a_mistake_is_one_clear_line_and_code_2(arguments: list[str], told: str) -> None:
    code, output = run(*arguments)
    assert code == 2
    assert told in output
    assert "Traceback" not in output


def test_what_the_world_does_is_one_clear_line_and_code_1(tmp_path: Path) -> None:
    code, output = run("publish", "chat", "1", "--url", "http://127.0.0.1:1")
    assert (code, output) == (1, "Error: http://127.0.0.1:1 does not answer: Connection refused\n")
    code, output = run("serve", "--set", f"store.url=sqlite:{tmp_path}/nowhere/store.db")
    assert code == 1
    assert "nowhere" in output


def test_a_command_loads_only_what_it_needs() -> None:
    script = "import sys, gapless.cli, gapless.cli.versioning; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"uvloop", "picows", "starlette", "jwt", "apsw", "google.protobuf"} & set(loaded.split())
