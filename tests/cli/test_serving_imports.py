"""What a server does not need is not imported by it: it starts the sooner."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("absent", ["aiohttp", "hiredis", "gapless.library", "gapless.worker.child"])
def test_a_server_imports_only_what_it_needs(absent: str) -> None:
    code = f"import sys, gapless.cli.serving; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
