"""Puts the wall clock of every Python process that has this folder in its PYTHONPATH off by some seconds."""

import os
import time

OFF_NS = int(os.environ["CLOCK_OFF_SECONDS"]) * 10**9

_time_ns, _clock_gettime_ns = time.time_ns, time.clock_gettime_ns


def time_ns() -> int:
    return _time_ns() + OFF_NS


def clock_gettime_ns(clock: int) -> int:
    return _clock_gettime_ns(clock) + (OFF_NS if clock == time.CLOCK_REALTIME else 0)


time.time_ns = time_ns
time.time = lambda: time_ns() / 10**9
time.clock_gettime_ns = clock_gettime_ns
time.clock_gettime = lambda clock: clock_gettime_ns(clock) / 10**9
