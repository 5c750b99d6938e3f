"""`--url sqlite:FILE`: queues and streams of a file, beside the process that has it open, or alone."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gapless import Gapless
from gapless.cli import main
from gapless.protocol.settings import StreamSettings


def asked(url: str, *command: str) -> Result:
    return CliRunner().invoke(main, [*command, "--url", url])


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:{tmp_path / 'app.db'}"
    with Gapless(url).blocking() as gl:
        gl.queues.declare("mails")
        gl.enqueue("mails", 1)
        gl.streams.declare("orders", StreamSettings(partitions=1))
        gl.append_many("orders", [1, 2])
    return url


def test_a_file_that_nobody_has_open_is_opened(url: str) -> None:
    told = asked(url, "queue", "stats", "mails", "--json")
    assert (told.exit_code, json.loads(told.stdout)[0]["ready"]) == (0, 1)
    assert asked(url, "queue", "push", "mails", "2").exit_code == 0
    assert json.loads(asked(url, "queue", "stats", "mails", "--json").stdout)[0]["ready"] == 2


def test_a_file_that_another_has_open_is_joined(url: str) -> None:
    with Gapless(url).blocking() as gl:
        assert gl.queues.stats("mails").queues[0].ready == 1
        assert asked(url, "queue", "push", "mails", "2").exit_code == 0
        assert gl.queues.stats("mails").queues[0].ready == 2


def test_a_stream_of_a_file_is_read_and_exported(url: str) -> None:
    assert asked(url, "stream", "read", "orders").stdout == "1\n2\n"
    assert asked(url, "stream", "read", "orders", "--limit", "1").stdout == "1\n"
    assert len(asked(url, "stream", "export", "orders").stdout.splitlines()) == 2
    assert asked(url, "stream", "replay", "orders", "--speed", "max").stdout == "1\n2\n"


def test_a_typing_error_is_told_with_what_is_near(url: str) -> None:
    told = asked(url, "queue", "push", "mials", "1")
    assert told.exit_code == 2
    assert "did you mean mails?" in told.stderr


def test_looking_makes_no_file(tmp_path: Path) -> None:
    file = tmp_path / "none.db"
    told = asked(f"sqlite:{file}", "queue", "ls")
    assert told.exit_code == 2
    assert f"there is no file '{file}'" in " ".join(told.stderr.split())
    assert list(tmp_path.iterdir()) == []
