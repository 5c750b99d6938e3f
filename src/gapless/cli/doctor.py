"""`gapless doctor`: what would keep a server from doing its work here, and what to do about it."""

import asyncio
import ctypes
import os
import platform
import resource
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

import click
import msgspec

from gapless import __version__, backends
from gapless.cli.calling import as_json, configured_at
from gapless.cli.configured import Sources, configured
from gapless.cli.examining import (
    Finding,
    Machine,
    StoreFacts,
    Weight,
    clock_findings,
    configuration_findings,
    good,
    machine_findings,
    store_findings,
)
from gapless.core.errors import GaplessError
from gapless.ports import Durability
from gapless.server.config import Config, read

__all__ = ["doctor"]

FSYNCS: Final = 50
LIBRARIES: Final = ("apsw", "picows", "uvloop", "uvicorn", "starlette", "msgspec")
MARKS: Final = {Weight.GOOD: ("ok", "green"), Weight.NOTE: ("note", "yellow"), Weight.MEND: ("mend", "red")}
TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
TIMEX_BYTES: Final = 512  # more than struct timex has anywhere


@click.command()
@configured
@as_json
def doctor(sources: Sources, as_json: bool) -> None:
    """Check store, disk, machine and configuration; the exit code is 1 if something must be mended."""
    config = read(sources())
    findings = [
        *configuration_findings(config),
        *store_findings(_store(config), config.store.minimum),
        *machine_findings(_machine(), config.client.connection_limit),
        *clock_findings(time.time_ns() // 1_000_000, _stored_ms(config), _is_synchronised()),
        *_versions(),
    ]
    if as_json:
        click.echo(msgspec.json.encode({"findings": findings}))
    else:
        for finding in findings:
            _print(finding)
    if any(finding.weight is Weight.MEND for finding in findings):
        sys.exit(1)


def _print(finding: Finding) -> None:
    mark, colour = MARKS[finding.weight]
    click.echo(f"{click.style(f'{mark:5}', fg=colour)} {finding.about}: {finding.found}")
    if finding.advice:
        click.echo(f"      → {finding.advice}")


# Store ----------------------------------------------------------------------------------------


def _store(config: Config) -> StoreFacts:
    scheme, _, address = config.store.url.partition(":")
    facts = _durability(config)
    if scheme != "sqlite" or not address:
        return facts
    folder = Path(address).absolute().parent
    if not os.access(folder, os.W_OK | os.X_OK):
        return facts._replace(trouble=facts.trouble or f"{folder} is no folder that this user may write to")
    room = os.statvfs(folder)
    return facts._replace(
        file_system=_file_system(folder),
        free_bytes=room.f_bavail * room.f_frsize,
        needed_bytes=_needed_bytes(Path(address).absolute()),
        fsync_us=_fsync_us(folder),
    )


def _durability(config: Config) -> StoreFacts:
    """Ask the running server; where none runs, open the store as it would. A new file is not made."""
    try:
        (node, *_) = configured_at(config).call("info", {})["nodes"]
        return StoreFacts(Durability(node["store"]["durability"]), "says the running server")
    except (GaplessError, KeyError, TypeError, ValueError):
        pass  # none runs, or it is no gapless, or the API is closed: then the store itself tells
    scheme, _, address = config.store.url.partition(":")
    if scheme == "sqlite" and address and not Path(address).exists():
        return StoreFacts(None)
    try:
        return StoreFacts(asyncio.run(_opened(config)), "it was opened")
    except GaplessError as error:
        return StoreFacts(None, trouble=str(error))


async def _opened(config: Config) -> Durability:
    options = backends.Options(ballast_bytes=0, key_window_ms=config.store.idempotency_window_ms)
    store = await backends.open(config.store.url, options)
    await store.close()
    return store.durability


def _file_system(folder: Path) -> str:
    from gapless.backends.sqlite.disk import mount_of

    mounts = Path("/proc/self/mountinfo")
    return mount_of(folder.resolve(), mounts.read_text())[0] if mounts.exists() else ""


def _needed_bytes(path: Path) -> int:
    """Return how much has to be free besides the ballast, and with it if that is not there yet."""
    from gapless.backends.sqlite.disk import BALLAST, shares

    standard = backends.Options()
    _, ballast_bytes, free_bytes = shares(path.parent, standard.ballast_bytes, standard.free_bytes_min)
    return free_bytes + (0 if path.with_name(path.name + BALLAST).exists() else ballast_bytes)


def _fsync_us(folder: Path) -> int:
    """Measure what a small commit waits for."""
    took_ns = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for number in range(FSYNCS):
            os.pwrite(file.fileno(), os.urandom(4_096), number * 4_096)
            began_ns = time.perf_counter_ns()
            os.fdatasync(file.fileno())
            took_ns.append(time.perf_counter_ns() - began_ns)
    return max(1, round(median(took_ns) / 1_000))


def _stored_ms(config: Config) -> int | None:
    scheme, _, address = config.store.url.partition(":")
    path = Path(address)
    return path.stat().st_mtime_ns // 1_000_000 if scheme == "sqlite" and path.is_file() else None


# Machine --------------------------------------------------------------------------------------


def _machine() -> Machine:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ports = _kernel("net/ipv4/ip_local_port_range")
    backlog = _kernel("net/core/somaxconn")
    return Machine(
        open_files_max=None if hard == resource.RLIM_INFINITY else hard,
        open_files_soft=None if soft == resource.RLIM_INFINITY else soft,
        backlog_max=backlog[0] if backlog else None,
        local_ports=ports[1] - ports[0] + 1 if len(ports) == 2 else None,
    )


def _kernel(name: str) -> list[int]:
    path = Path("/proc/sys") / name
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def _is_synchronised() -> bool | None:
    """Ask the kernel whether something keeps its clock; None where it does not say."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (AttributeError, OSError):
        return None
    return None if state < 0 else state != TIME_ERROR


def _versions() -> list[Finding]:
    import apsw

    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    told = f"gapless {__version__}, Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}"
    return [good("versions", f"{told}, {libraries}")]
