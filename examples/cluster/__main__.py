"""`python -m examples.cluster`: start it; or show what a rolling restart or a failover does to clients."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable

from examples.cluster.cluster import KEY, Cluster
from examples.cluster.traffic import Score, Traffic

INTERRUPTED = 130
PUBLIC_PORT = 8000
SETTLE_SECONDS = 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.cluster", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["run", "roll", "failover"], default="run")
    parser.add_argument("--port", type=int, help=f"HAProxy's (run: {PUBLIC_PORT}; else any that is free)")
    parser.add_argument("--store", default="", help="use this one instead of a Redis of its own")
    parser.add_argument("--clients", type=int, default=20, help="of the demonstrations")
    parser.add_argument("--pace-ms", type=int, default=20, help="between two messages of theirs")
    parser.add_argument(
        "--behind-ms", type=int, default=0, help="failover: to a replica that lacks the last so long"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args()


def say(told: str) -> None:
    print(told, file=sys.stderr, flush=True)


def sentence(score: Score) -> str:
    total = score.clients * score.messages
    told = (
        f"{score.forgotten:,} messages are gone, of which {score.told} clients were told; "
        if score.told
        else ""
    )
    return (
        f"{score.clients} clients x {score.messages:,} messages = {total:,} deliveries: "
        f"{score.lost:,} lost, {score.doubled:,} doubled, {score.disordered:,} out of order; "
        f"{told}{score.reconnects:,} reconnects, {score.seconds} s"
    )


async def demonstrate(options: argparse.Namespace) -> int:
    """Start a cluster with clients, let something befall it, and count."""
    async with Cluster(say, port=options.port or 0, store=options.store) as cluster:
        traffic = Traffic(
            cluster.websocket, cluster.api, KEY, clients=options.clients, pace_ms=options.pace_ms
        )
        score = await traffic.run(_befalling(cluster, options))
    print(json.dumps(score.report()) if options.json else sentence(score), flush=True)
    return 0 if score.kept else 1


async def _befalling(cluster: Cluster, options: argparse.Namespace) -> None:
    await asyncio.sleep(SETTLE_SECONDS)
    if options.what == "roll":
        await cluster.roll()
    else:
        await cluster.fail_over(behind_seconds=options.behind_ms / 1000)
    await asyncio.sleep(SETTLE_SECONDS)


async def run(options: argparse.Namespace) -> int:
    """Start a cluster, and do what is typed until Ctrl-C."""
    port = PUBLIC_PORT if options.port is None else options.port
    async with Cluster(say, port=port, store=options.store) as cluster:
        print(f"""
  Clients    {cluster.websocket}
  Backends   {cluster.api}  key: {KEY}
  HAProxy    http://127.0.0.1:{cluster.status_port}/
  Logs       {cluster.folder}
""")
        orders: dict[str, Callable[[], Awaitable[object]]] = {
            "status": lambda: _tell_status(cluster),
            "roll": cluster.roll,
            "failover": cluster.fail_over,
        }
        await _tell_status(cluster)
        print(f"\nType {', '.join(orders)}; Ctrl-C ends it.", flush=True)
        lines = await _lines()
        while line := await lines.readline():
            order = orders.get(line.decode().strip())
            await order() if order is not None else say(f"there are {', '.join(orders)}")
        await asyncio.get_running_loop().create_future()
    return 0


async def _tell_status(cluster: Cluster) -> None:
    print("\n".join(f"  {line}" for line in await cluster.status()), flush=True)


async def _lines() -> asyncio.StreamReader:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    return lines


async def _until_told(work: Awaitable[int]) -> int:
    """Do the work; on SIGTERM, too, all that was started is stopped."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def main() -> int:
    options = arguments()
    work = run(options) if options.what == "run" else demonstrate(options)
    try:
        return asyncio.run(_until_told(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("stopped")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
