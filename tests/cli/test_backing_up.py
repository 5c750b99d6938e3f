"""`gapless backup` and `gapless restore`: what they print. `tests/faults/test_care.py` shows what they do."""

import asyncio
from pathlib import Path

from gapless import Gapless
from tests.cli.conftest import Run


def test_a_restore_answers_as_the_backup_did_by_a_server_or_without(run: Run, tmp_path: Path) -> None:
    file = str(tmp_path / "copy.db")
    made = run("backup", file, "--json").json
    assert made == {"file": file, "bytes": Path(file).stat().st_size}
    assert run("restore", file, "--discard", "--json").json == made
    alone = run("restore", file, "--store", f"sqlite:{tmp_path / 'new.db'}", "--json")
    assert alone.json == made
    assert "who was revoked or blocked" in alone.err


def test_a_file_that_a_library_has_open_is_backed_up_by_it(run: Run, tmp_path: Path) -> None:
    """No server is there to ask: the file is joined where it is."""
    url, copy = f"sqlite:{tmp_path / 'app.db'}", tmp_path / "copy.db"

    async def scenario() -> None:
        async with Gapless(url) as gl:
            await gl.publish("chat", 1)
            told = await asyncio.to_thread(run, "backup", str(copy), "--store", url, "--json")
            assert told.json == {"file": str(copy), "bytes": copy.stat().st_size}
            checked = await asyncio.to_thread(run, "store", "check", "--store", url, "--json")
            assert (checked.json["messages"], checked.json["wrong"]) == (1, 0)
            await asyncio.to_thread(run, "store", "compact", "--store", url)
            refused = await asyncio.to_thread(run, "restore", str(copy), "--store", url)
            assert (refused.code, "is open in another process" in refused.err) == (1, True)
            await gl.publish("chat", 2)

    asyncio.run(scenario())
    assert [path.name for path in tmp_path.glob("*.care-*")] == []
