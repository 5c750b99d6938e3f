"""The programs that bench builds for itself with Go (the peer, the load, a NATS server), and all versions."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from gapless import __version__

__all__ = ["CACHE", "build", "versions"]

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache/bench"
NATS_SERVER = "github.com/nats-io/nats-server/v2@v2.15.2"


def build() -> None:
    """Build what is not there yet, into the project's cache.

    Raises:
        SystemExit: there is no Go.
    """
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin")  # where Go's installer puts it
    if go is None:
        raise SystemExit("bench builds its peer and its load with Go 1.26 or later, which is not on the PATH")
    CACHE.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(CACHE)}
    subprocess.run(
        [go, "install", "-buildvcs=false", "./peer", "./load"], cwd=HERE, env=environment, check=True
    )
    if not (CACHE / "nats-server").exists():
        subprocess.run([go, "install", NATS_SERVER], cwd=CACHE, env=environment, check=True)


def versions() -> str:
    """Name what is measured."""
    module = re.search(r"centrifugal/centrifuge (v\S+)", (HERE / "go.mod").read_text())
    told = [
        f"gapless {__version__} ({_first_line('git', '-C', str(HERE), 'describe', '--always', '--dirty')})",
        f"peer: centrifuge {module[1] if module else 'unknown'}",
        _first_line("redis-server", "--version").partition(" sha=")[0],
        _first_line(str(CACHE / "nats-server"), "--version"),
    ]
    return "; ".join(told)


def _first_line(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return f"no {command[0]}"
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition("\n")[0]
