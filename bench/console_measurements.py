"""What is measured of the console, in a browser."""

from bench.browser_loads import first_view, tail_burst
from bench.measurement import Measurement, absolute, of
from bench.report import Figure

__all__ = ["CONSOLE_MEASUREMENTS"]

CONSOLE = "gapless with a console"

CONSOLE_MEASUREMENTS = (
    Measurement(
        "console",
        "Chromium without a cache opens /console/ on a server with a store; from the beginning of the "
        "navigation to the frame in which the first number stands",
        {CONSOLE: first_view},
        (
            Figure("first view of the console", "ms", of("first_view_ms"), absolute(300), CONSOLE, ""),
            Figure(
                "first view of the console: slowest of ten", "ms", of("slowest_view_ms"), None, CONSOLE, ""
            ),
        ),
    ),
    Measurement(
        "console_tail",
        "5,000 messages a second for ten seconds in a channel whose live tail is looked at in Chromium, "
        "which counts all of them; tasks below 50 ms are not told of, so 50 is the least",
        {CONSOLE: tail_burst},
        (
            Figure(
                "live tail under 5,000/s: longest task",
                "ms",
                of("longest_task_ms"),
                absolute(100),
                CONSOLE,
                "",
            ),
            Figure("live tail under 5,000/s: tasks over 50 ms", "", of("long_tasks"), None, CONSOLE, ""),
        ),
    ),
)
