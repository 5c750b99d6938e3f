"""What is shipped for deployments is what systemd takes, and names what there is."""

import json
import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path
from urllib.request import urlopen

from gapless.core.durations import milliseconds
from gapless.server.config import from_file, read
from tests.program import GAPLESS, Program

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
INSTALLED = "/opt/gapless/bin/gapless"


def instructions(name: str) -> list[str]:
    """The arguments of an instruction of the image."""
    return re.findall(rf"^{name} (.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)


def unit() -> dict[str, str]:
    """What the unit says of the service."""
    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / "gapless.service")
    return dict(parser["Service"])


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / "gapless.service"
    copy.write_text((DEPLOY / "gapless.service").read_text().replace(INSTALLED, GAPLESS))
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
