"""What is shipped for deployments is what systemd takes, and names what there is."""

import json
import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path
from urllib.request import urlopen

import pytest

from gapless.cli.working import worker
from gapless.core.durations import milliseconds
from gapless.server.config import from_file, read
from gapless.worker.process import FINISH_MS
from tests.program import GAPLESS, Program

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
INSTALLED = "/opt/gapless/bin/gapless"
PROGRAM = "/opt/app/bin/gapless"
UNITS = ("gapless.service", "gapless-worker.service")


def instructions(name: str) -> list[str]:
    """The arguments of an instruction of the image."""
    return re.findall(rf"^{name} (.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)


def unit(name: str = UNITS[0]) -> dict[str, str]:
    """What a unit says of its service."""
    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / name)
    return dict(parser["Service"])


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_the_units(tmp_path: Path, name: str) -> None:
    copy = tmp_path / name
    copy.write_text((DEPLOY / name).read_text().replace(INSTALLED, GAPLESS).replace(PROGRAM, GAPLESS))
    analyze = shutil.which("systemd-analyze")
    command = [analyze, "verify", str(copy)] if analyze else [sys.executable, "-c", ""]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_starts_the_server_and_gives_it_time_to_stop() -> None:
    service = unit()
    command, *arguments = service["ExecStart"].split()
    assert command == INSTALLED
    config = read([from_file(DEPLOY / "gapless.toml")])
    assert arguments == ["serve", "--config", "/etc/gapless/gapless.toml"]
    assert config.store.url == f"sqlite:{service['WorkingDirectory']}/gapless.db"
    assert milliseconds(f"{service['TimeoutStopSec']}s") > config.shutdown.timeout_ms


def test_the_workers_unit_starts_a_worker_and_gives_it_time_to_stop() -> None:
    service = unit(UNITS[1])
    command, name, *arguments = service["ExecStart"].split()
    assert (command, name) == (PROGRAM, "worker")
    said = worker.make_context(name, arguments).params
    assert said["health_port"] == said["metrics_port"] is not None
    assert milliseconds(f"{service['TimeoutStopSec']}s") > said["drain_ms"] + FINISH_MS


def test_the_image_starts_the_server_and_asks_for_its_health(tmp_path: Path) -> None:
    config = read([from_file(DEPLOY / "gapless.toml")])
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["gapless"]
    assert json.loads(instructions("CMD")[0]) == unit()["ExecStart"].split()[1:]
    assert instructions("VOLUME") == [str(Path(config.store.url.partition(":")[2]).parent)]
    assert instructions("EXPOSE") == [str(config.http_server.port)]
    python, *script = json.loads(instructions("HEALTHCHECK")[0].removeprefix("CMD "))
    assert python == "python"
    program = Program(tmp_path)
    program.start()
    try:
        here = [argument.replace(":8000", f":{program.port}") for argument in script]
        assert subprocess.run([sys.executable, *here]).returncode == 0
        assert urlopen(f"http://127.0.0.1:{program.port}/health/live").status == 200
    finally:
        program.close()
    assert subprocess.run([sys.executable, *here], capture_output=True).returncode == 1
