"""The programs that bench builds for itself with Go: the peer, the load and a NATS server."""

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["CACHE", "build"]

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
