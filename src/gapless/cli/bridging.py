"""`gapless bridge`: messages of other systems, in channels."""

from importlib.util import find_spec
from typing import Final

import click

from gapless.cli.calling import Server, as_json, at_server
from gapless.cli.places import duration
from gapless.core.errors import ConfigError

__all__ = ["bridge"]

WAITING_BYTES: Final = 64 * 1024 * 1024


@click.group()
def bridge() -> None:
    """Let what others publish elsewhere flow into channels."""


@bridge.command("redis-pubsub")
@click.argument("channels", nargs=-1)
@click.option(
    "--pattern", "-p", "patterns", multiple=True, metavar="GLOB", help="Channels that fit; may be repeated."
)
@click.option(
    "--redis",
    default="redis://127.0.0.1:6379",
    show_default=True,
    envvar="REDIS_URL",
    metavar="URL",
    help="redis://, rediss:// or redis+sentinel://, with user and password; or in REDIS_URL.",
)
@click.option("--strip", default="", metavar="PREFIX", help="Take this off the beginning of Redis' channels.")
@click.option(
    "--to",
    default="{channel}",
    show_default=True,
    metavar="TEMPLATE",
    help="The channel to publish to; {channel} is that of Redis, without what is stripped.",
)
@click.option("--binary", is_flag=True, help="Publish what is not JSON as bytes, not as a text.")
@click.option(
    "--waiting-bytes",
    "waiting_bytes_max",
    type=click.IntRange(1_000),
    default=WAITING_BYTES,
    show_default=True,
    help="What may wait while the server is away; beyond it the oldest are dropped.",
)
@click.option(
    "--drain-timeout",
    "drain_ms",
    type=duration,
    default="10s",
    show_default=True,
    help="How long it may take to publish what waits when the bridge is told to stop.",
)
@click.option(
    "--every",
    "every_ms",
    type=duration,
    default="10s",
    show_default=True,
    help="With --json: how often the counts are printed.",
)
@at_server
@as_json
def redis_pubsub(  # noqa: PLR0913 # an option each
    server: Server,
    channels: tuple[str, ...],
    patterns: tuple[str, ...],
    redis: str,
    strip: str,
    to: str,
    binary: bool,
    waiting_bytes_max: int,
    drain_ms: int,
    every_ms: int,
    as_json: bool,
) -> None:
    """Publish what is published to Redis CHANNELS, in order, each message once.

    JSON is published as it is, all else as a text. Redis Pub/Sub keeps nothing: what is published there
    while the bridge does not run, or cannot reach Redis, is lost. What the server does not take for a while
    waits here. Told to stop (SIGTERM, Ctrl-C) the bridge publishes what waits; it ends with code 1 if it
    could not.

    Example: gapless bridge redis-pubsub news --pattern 'chat:*'
    """
    if not channels and not patterns:
        raise click.UsageError("give CHANNELS, or --pattern GLOB")
    if find_spec("hiredis") is None:
        raise ConfigError("needs the package 'hiredis': pip install 'gapless[redis]'")
    from gapless.bridges.bridge import Plan
    from gapless.bridges.mapping import Mapping
    from gapless.cli.pubsub import How, run

    plan = Plan(
        channels=channels,
        patterns=patterns,
        mapping=Mapping(strip, to, binary),
        waiting_bytes_max=waiting_bytes_max,
        drain_ms=drain_ms,
    )
    left = run(server, redis, plan, How(as_json, every_ms))
    if left:
        raise click.ClickException(f"{left:,} messages were not published")
