"""`gapless asyncapi`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gapless.cli import main

PROGRAM = """
from gapless import Gapless

gl = Gapless("memory:")


@gl.queue("mail")
async def send(mail: dict) -> None: ...
"""


def test_the_document_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "described.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = CliRunner().invoke(main, ["asyncapi", "described:gl", "--version", "1.2"])
    document = json.loads(result.output)
    assert document["info"] == {"title": "described", "version": "1.2"}
    assert list(document["operations"]) == ["queue.mail"]


def test_what_is_not_there_is_told() -> None:
    result = CliRunner().invoke(main, ["asyncapi", "nowhere:gl"])
    assert result.exit_code == 2
    assert "there is no module 'nowhere' here" in result.output
