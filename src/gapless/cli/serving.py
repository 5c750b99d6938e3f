"""`gapless serve` and `gapless dev`."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from random import SystemRandom
from typing import Final

import click
import uvloop
from click.core import ParameterSource

from gapless.backends import store_clock
from gapless.cli.configured import Sources, configured, lenient, override
from gapless.cli.logs import set_level, start_logging
from gapless.cli.machine import raise_open_files_limit, spare_the_collector
from gapless.cli.several.parent import run_several
from gapless.cli.several.process import app_of
from gapless.cli.supervision import tell_ready, tell_reloading, tell_stopping
from gapless.core.errors import GaplessError, StoreFailed
from gapless.core.limits import SERVER_WORKERS_MAX
from gapless.core.masking import masked_url
from gapless.server.checking import checked
from gapless.server.clock import LoopClock
from gapless.server.config import Effective, Source, examine, from_environment, from_flags
from gapless.server.config.fields import leaves
from gapless.server.config.model import HttpServer
from gapless.server.extension import Extension
from gapless.server.node import App, Node

__all__ = ["dev", "serve"]

# What the process ends with when it was asked to stop twice.
CUT_SHORT: Final = 1
DEFAULT_PORT: Final = HttpServer().port
LOOPBACK: Final = "127.0.0.1"
DEV_STORE: Final = "sqlite:gapless-dev.db"
DEV: Final = Source(
    name="gapless dev",
    tree={
        "http_server": {"address": LOOPBACK},
        "client": {"insecure": True, "allowed_origins": ["*"]},
        "http_api": {"insecure": True},
        "console": {"enabled": True, "insecure": True},
        "channel": {
            "without_namespace": {
                "history_size": 1_000,
                "history_ttl": "24h",
                "force_recovery": True,
                "presence": True,
            }
        },
        "store": {"url": DEV_STORE, "durability": "memory"},
        "log": {"level": "warn"},
    },
)

log: Final = logging.getLogger("gapless.cli")

with_app: Final = click.option(
    "--app", "target", metavar="MODULE:NAME", default="", help="Run with the hooks of this Gapless."
)


@click.command()
@configured
@lenient
@with_app
@click.option("--workers", type=click.IntRange(1, SERVER_WORKERS_MAX), metavar="N",
              help="How many processes share the port (http_server.workers).")  # fmt: skip
def serve(sources: Sources, lenient: bool, target: str, workers: int | None) -> None:
    """Run the server: what --config says, then the environment (GAPLESS_*), then --set.

    The hooks of an application (--app) run in the server's process. Its publish, enqueue and the like go to
    this server's store, whatever its own URL.
    """
    asked = [] if workers is None else [f"http_server.workers={workers}"]

    def read_with(tell: Callable[[str], object]) -> Effective:
        found = examine([*sources(), *from_flags(asked, "--workers")], lenient=lenient)
        for remark in found.remarks:
            tell(remark)
        return Effective(checked(found, store_clock()()), found.origins)

    warn: Callable[[str], object] = partial(log.warning, "%s")
    told: list[str] = []
    read = read_with(told.append)
    start_logging(read.config.log)
    for message in told:
        warn(message)
    if read.config.http_server.workers > 1:
        run_several(read, target, partial(read_with, warn))
    else:
        run(read, lambda node: None, partial(read_with, warn), app_of(target))


@click.command()
@click.option("--address", default=LOOPBACK, show_default=True,
              help="Where to listen; 0.0.0.0 lets a phone beside you open the demo.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True)
@click.option("--store", default=DEV_STORE, show_default=True, help="Where messages are kept.")
@with_app
@override
def dev(address: str, port: int, store: str, target: str, assignments: tuple[str, ...]) -> None:
    """Run with all defaults, insecure: everybody may do everything. For development only."""
    from gapless.cli.dev.demo import PREFIX, Demo, with_demo
    from gapless.cli.dev.lab import Lab
    from gapless.cli.dev.links import reached_at
    from gapless.cli.dev.secret import with_secret

    chosen = {"address": f"http_server.address={address}", "port": f"http_server.port={port}",
              "store": f"store.url={store}"}  # fmt: skip
    given = click.get_current_context().get_parameter_source
    said = {flag: it for flag, it in chosen.items() if given(flag) is ParameterSource.COMMANDLINE}
    sources = [
        DEV,
        *from_environment(os.environ),
        *(source for flag, it in said.items() for source in from_flags([it], f"--{flag}")),
        *from_flags(assignments),
        *from_flags(["http_server.workers=1"], DEV.name),
    ]
    found = examine(sources)
    config = with_secret(with_demo(checked(found, store_clock()())), SystemRandom())
    start_logging(config.log)

    def started(node: Node) -> None:
        url, api = f"{reached_at(config.http_server.address)}:{node.port}", config.http_api.handler_prefix
        elsewhere = "" if url == f"{LOOPBACK}:{DEFAULT_PORT}" else f" --url http://{url}"
        click.secho(
            "INSECURE: anybody who reaches this port may read and publish everything.", fg="red", bold=True
        )
        click.secho(f"\n  Demo        http://{url}{PREFIX}/", bold=True)
        if config.console.enabled:
            click.secho(f"  Console     http://{url}{config.console.handler_prefix}/", bold=True)
        click.echo(f"""\
  WebSocket   ws://{url}{config.websocket.handler_prefix}
  API         http://{url}{api}
  Health      http://{url}{config.health.handler_prefix}
  Store       {masked_url(config.store.url)} (durability: {node.durability.value})

Follow a channel:

  {sys.argv[0]} tail chat{elsewhere}

and publish to it:

  curl http://{url}{api}/publish -d '{{"channel": "chat", "data": {{"text": "hello"}}}}'
""")

    demo = Demo(config, SystemRandom(), app_of(target))
    lab = Lab(demo.routes())
    added = {path for path, field, value in leaves(config) if value != field.default}
    added -= {path for path, _, _ in leaves(found.checked())}
    origins = {**dict.fromkeys(added, DEV.name), **found.origins}
    run(Effective(config, origins), started, app=lab.beside(demo.running), extension=lab)


def run(
    effective: Effective,
    started: Callable[[Node], None],
    reread: Callable[[], Effective] | None = None,
    app: App | None = None,
    extension: Extension | None = None,
) -> None:
    """Run a node until it is asked to stop; asked again, the process ends at once.

    `reread` reads the configuration anew when the process gets a SIGHUP. An `app` runs beside the node,
    an `extension` adds to it.

    Raises:
        ConfigError, StoreRefused: it could not start.
        StoreError: the store had to close.
    """
    raise_open_files_limit()
    uvloop.run(_run(effective, started, reread, app, extension))


async def _run(
    effective: Effective,
    started: Callable[[Node], None],
    reread: Callable[[], Effective] | None,
    app: App | None,
    extension: Extension | None,
) -> None:
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[None] = loop.create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _ask, asked)
    config, origins = effective
    node = Node(config, LoopClock(), SystemRandom(), app, extension=extension, origins=origins)
    if reread is not None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    await node.start()
    if reread is not None:
        loop.add_signal_handler(signal.SIGHUP, _reload, node, reread)
    spare_the_collector()
    started(node)
    tell_ready()
    await asyncio.wait((asked, node.failed), return_when=asyncio.FIRST_COMPLETED)
    tell_stopping()
    await node.stop()
    if node.failed.done():
        raise StoreFailed(f"the store had to close: {node.failed.result()}")


def _ask(asked: asyncio.Future[None]) -> None:
    """Stop in good order; at the second time at once, as `kill -9` would: nothing acknowledged gets lost."""
    if asked.done():
        log.warning("asked to stop a second time: ending at once")
        logging.shutdown()
        os._exit(CUT_SHORT)
    asked.set_result(None)


def _reload(node: Node, reread: Callable[[], Effective]) -> None:
    """Read the configuration again; one that cannot be read changes nothing."""
    tell_reloading()
    try:
        read = reread()
        node.reload(*read)
        set_level(read.config.log.level)
    except GaplessError as error:
        log.error("the configuration stays as it was: %s", error)
    tell_ready()
