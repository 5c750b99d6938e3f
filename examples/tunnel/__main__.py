"""`python -m examples.tunnel`: run it, and print the count."""

import argparse
import asyncio
import json
import sys

from examples.tunnel.tunnel import Plan, Score, Tunnel, report

INTERRUPTED = 130


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.tunnel", description=__doc__)
    parser.add_argument("--clients", type=int, default=Plan.clients)
    parser.add_argument("--messages", type=int, default=Plan.messages)
    parser.add_argument("--kills", type=int, default=Plan.kills, help="how often the server gets kill -9")
    parser.add_argument("--seed", type=int, default=Plan.seed, help="of what befalls the connections")
    parser.add_argument("--pace-ms", type=int, default=Plan.pace_ms, help="between two messages")
    parser.add_argument("--store", default="", help="memory: shows what is found where a store forgets")
    parser.add_argument("--seconds-max", type=int, default=180, help="give up after this time")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, and no progress")
    return parser.parse_args()


def sentence(score: Score) -> str:
    total = score.clients * score.messages
    return (
        f"{score.clients} clients x {score.messages:,} messages = {total:,} deliveries: "
        f"{score.lost:,} lost, {score.doubled:,} doubled, {score.disordered:,} out of order; "
        f"{score.reconnects:,} reconnects, server killed {score.kills} times, {score.seconds} s"
    )


def progress(score: Score) -> None:
    proxy = score.proxy
    line = (
        f"{score.seconds:5.1f} s  published {score.published:,} ({score.retries} retries)  "
        f"delivered {score.deliveries:,}  reconnects {score.reconnects:,}  killed {score.kills}  "
        f"cut {proxy['cuts']} stalled {proxy['stalls']} half-open {proxy['half_opens']}"
    )
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


async def run(options: argparse.Namespace) -> Score:
    plan = Plan(
        options.clients, options.messages, options.kills, options.pace_ms, options.seed, options.store
    )
    tunnel = Tunnel(plan, (lambda score: None) if options.json else progress)
    try:
        async with asyncio.timeout(options.seconds_max):
            return await tunnel.run()
    except TimeoutError:
        return tunnel.score


def main() -> int:
    options = arguments()
    try:
        score = asyncio.run(run(options))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    if sys.stderr.isatty() and not options.json:
        print(file=sys.stderr)
    print(json.dumps(report(score)) if options.json else sentence(score))
    return 0 if score.kept else 1


if __name__ == "__main__":
    sys.exit(main())
