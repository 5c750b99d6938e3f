"""How long the jobs of a worker take, from the first to the last: counted where they are handled."""

import os
import time
from itertools import count
from pathlib import Path

__all__ = ["COUNT", "URL", "Counting"]

URL = os.environ["BENCH_URL"]
"""Where the jobs are."""
COUNT = int(os.environ["BENCH_COUNT"])
"""How many there are."""


class Counting:
    """Writes the seconds to the file BENCH_SECONDS when the last job is done; threads may use it."""

    def __init__(self) -> None:
        self._next = count(1).__next__
        self._began = 0.0

    def done(self) -> None:
        number = self._next()
        if number == 1:
            self._began = time.perf_counter()
        elif number == COUNT:
            path = Path(os.environ["BENCH_SECONDS"])
            unfinished = path.with_suffix(".unfinished")
            unfinished.write_text(str(time.perf_counter() - self._began))
            unfinished.rename(path)
