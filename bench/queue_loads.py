"""Loads of queues, workers and streams: programs of Python, those of the peers in a virtualenv of their own."""

import json
import sys
from functools import partial
from pathlib import Path

from bench.loads import Load, run
from bench.programs import PEERS
from bench.report import Sample
from bench.servers import Server

__all__ = ["backlog", "cycle", "streams"]

ROOT = Path(__file__).parents[1]
CYCLE_JOBS = (2_000, 30_000)  # quick, and not


def cycle(client: str) -> Load:
    """Jobs from enqueue to ack through the client of `bench/clients/<client>_cycle.py`."""
    return partial(put, f"{client}_cycle", CYCLE_JOBS)
