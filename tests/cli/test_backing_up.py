"""`gapless backup` and `gapless restore`: what they print. `tests/faults/test_care.py` shows what they do."""

from pathlib import Path

from tests.cli.conftest import Run


def test_a_restore_answers_as_the_backup_did_by_a_server_or_without(run: Run, tmp_path: Path) -> None:
    file = str(tmp_path / "copy.db")
    made = run("backup", file, "--json").json
    assert made == {"file": file, "bytes": Path(file).stat().st_size}
    assert run("restore", file, "--discard", "--json").json == made
    alone = run("restore", file, "--store", f"sqlite:{tmp_path / 'new.db'}", "--json")
    assert alone.json == made
    assert "who was revoked or blocked" in alone.err
