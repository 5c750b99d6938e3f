"""The programs that bench builds with Go (the peer, the load, a NATS server) or installs; all versions."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from gapless import __version__

__all__ = ["CACHE", "PEERS", "build", "install", "versions"]

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache/bench"
PEERS = CACHE / "peers/bin"
"""Where the Python of the peers' clients is, and their workers."""
REQUIREMENTS = HERE / "clients/requirements.txt"
RABBITMQ = "rabbitmq/usr/lib/rabbitmq/lib/rabbitmq_server-*"
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


def install() -> None:
    """Install what is not there yet of the peers that are not built.

    Raises:
        SystemExit: one of them cannot be had.
    """
    if subprocess.run([HERE.parent / "tools/install-peers", sys.executable], check=False).returncode:
        raise SystemExit("bench needs all peers; tools/install-peers says which could not be installed")


def versions() -> str:
    """Name what is measured."""
    module = re.search(r"centrifugal/centrifuge (v\S+)", (HERE / "go.mod").read_text())
    told = [
        f"gapless {__version__} ({_first_line('git', '-C', str(HERE), 'describe', '--always', '--dirty')})",
        f"peer: centrifuge {module[1] if module else 'unknown'}",
        _first_line("redis-server", "--version").partition(" sha=")[0],
        _first_line(str(CACHE / "nats-server"), "--version"),
        *(f"RabbitMQ {path.name.rpartition('-')[2]}" for path in CACHE.glob(RABBITMQ)),
        ", ".join(line.replace("==", " ") for line in REQUIREMENTS.read_text().splitlines() if "==" in line),
    ]
    return "; ".join(told)


def _first_line(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return f"no {command[0]}"
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition("\n")[0]
