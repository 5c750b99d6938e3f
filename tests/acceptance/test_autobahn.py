"""The Autobahn test suite against the echo: every case without compression (12 and 13 are compression's)."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

CASES = 301
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}


@pytest.fixture
def echo() -> Iterator[str]:
    command = [sys.executable, "-m", "gapless.testing.echo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def test_autobahn_finds_no_fault(
    wstest: Path, echo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {
        "outdir": str(tmp_path / "reports"),
        "servers": [{"agent": "gapless", "url": echo}],
        "cases": ["*"],
        "exclude-cases": ["12.*", "13.*"],
        "exclude-agent-cases": {},
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    subprocess.run(
        [wstest, "-m", "fuzzingclient", "-s", tmp_path / "spec.json"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=240,
    )
    report = json.loads((tmp_path / "reports/index.json").read_text())["gapless"]
    counts = Counter(case["behavior"] for case in report.values())
    with capsys.disabled():
        click.echo(f"\nAutobahn: {dict(counts)}")
    assert len(report) == CASES
    assert not {name: case["behavior"] for name, case in report.items() if case["behavior"] not in PASSED}
    assert not {name for name, case in report.items() if case["behaviorClose"] not in PASSED}
