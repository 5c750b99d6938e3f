"""A server for the commands that ask one, and the commands run against it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from gapless.cli import main
from tests.program import API_KEY, Program

OPEN = {
    "client": {"insecure": True},
    "channel": {"without_namespace": {"history_size": 1_000, "history_ttl": "1h", "force_recovery": True}},
}


class Told(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def each(self) -> list[Any]:
        assert self.code == 0, self.err
        return [json.loads(line) for line in self.lines]


Run = Callable[..., Told]


def explained(*command: str) -> str:
    """Return what a command says of itself, on one line."""
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("server"), OPEN)
    program.start()
    yield program
    program.close()


@pytest.fixture
def run(program: Program) -> Run:
    def run(*arguments: str, given: str | bytes | None = None) -> Told:
        at = ("--url", f"http://127.0.0.1:{program.port}", "--api-key", API_KEY)
        result = CliRunner().invoke(main, [*arguments, *at], input=given)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Told(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., str]:
    def write(*lines: str) -> str:
        file = tmp_path / "lines.ndjson"
        file.write_text("".join(f"{line}\n" for line in lines))
        return str(file)

    return write
