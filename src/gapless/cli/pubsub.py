"""Running a bridge from Redis Pub/Sub: its connections, signals, and what is printed meanwhile."""

import asyncio
import signal
import sys
from random import SystemRandom
from typing import Final

import click
import msgspec
import uvloop
from msgspec import Struct

from gapless.backends.redis.address import Address
from gapless.backends.redis.seeking import Seeker
from gapless.bridges.bridge import Bridge, Plan
from gapless.bridges.forwarding import Counts
from gapless.cli.calling import Server, trusted
from gapless.cli.supervision import tell_ready, tell_stopping
from gapless.core.errors import OutcomeUnknown, Unavailable
from gapless.library.posting import Posting
from gapless.ports import Clock
from gapless.server.clock import LoopClock
from gapless.server.parting import pause

__all__ = ["How", "run"]

MOVE_MS: Final = 500
CLEAR: Final = "\r\x1b[K"


class How(Struct, frozen=True):
    """How counts are told: as a line of JSON every `every_ms`, or in one that moves, on a terminal."""

    as_json: bool
    every_ms: int


def run(server: Server, redis_url: str, plan: Plan, how: How) -> int:
    """Bridge until told to stop; return how many messages were heard and not published.

    Raises:
        GaplessError: Redis or the server lets nobody in with these credentials, or a URL is none.
    """
    counts = uvloop.run(_run(server, Address.read(redis_url), plan, how))
    if how.as_json:
        click.echo(msgspec.json.encode(counts))
    else:
        _say(_line(counts))
    return counts.waiting


async def _run(server: Server, address: Address, plan: Plan, how: How) -> Counts:
    posting = Posting(server.url, api_key=server.key, tls=trusted(server.ca_file))
    clock = LoopClock()
    bridge = Bridge(Seeker(address, clock.after), posting.batch, plan, _say, clock, SystemRandom())
    asked = asyncio.Event()
    posting.open()
    try:
        await _ask(posting)
        running = asyncio.ensure_future(bridge.run(asked))
        _end_when_told(asked, running)
        telling = asyncio.ensure_future(_keep_telling(bridge.counts, how, clock))
        tell_ready()
        try:
            await running
        except asyncio.CancelledError:
            _say("told to stop a second time: ending at once")
        finally:
            telling.cancel()
    finally:
        await posting.close()
    return bridge.counts


async def _ask(posting: Posting) -> None:
    """See that the server lets this bridge in, if it is there."""
    try:
        await posting.post("info", b"{}")
    except (Unavailable, OutcomeUnknown) as error:
        _say(f"{error}; messages wait until it does")


def _end_when_told(asked: asyncio.Event, running: "asyncio.Future[None]") -> None:
    """Ask to stop at the first signal; at the second one end it."""

    def hear() -> None:
        if asked.is_set():
            running.cancel()
            return
        tell_stopping()
        asked.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, hear)


async def _keep_telling(counts: Counts, how: How, clock: Clock) -> None:
    if how.as_json:
        while True:
            await pause(clock, how.every_ms)
            click.echo(msgspec.json.encode(counts))
    while sys.stderr.isatty():
        await pause(clock, MOVE_MS)
        sys.stderr.write(CLEAR + _line(counts))
        sys.stderr.flush()


def _line(counts: Counts) -> str:
    seldom = ((counts.refused, "refused"), (counts.dropped, "dropped"))
    told = [f"{count:,} {what}" for count, what in seldom if count]
    first = f"{counts.received:,} received, {counts.published:,} published, {counts.waiting:,} waiting"
    return ", ".join([first, *told])


def _say(told: str) -> None:
    click.echo(f"{CLEAR if sys.stderr.isatty() else ''}{told}", err=True)
