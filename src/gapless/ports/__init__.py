"""The ports: what gapless asks of an engine. Each sentence is a promise, each promise a conformance test.

Callbacks run on the event loop that opened the backend.
"""

from gapless.ports.bus import Bus
from gapless.ports.care import Care, Checked, Compacted, Told
from gapless.ports.groups import Groups
from gapless.ports.presence import Presence, Present
from gapless.ports.queues import Queues
from gapless.ports.store import Store
from gapless.ports.streams import Durability, Statistics, Streams
from gapless.ports.time import After, Clock, Timer

__all__ = [
    "After",
    "Bus",
    "Care",
    "Checked",
    "Clock",
    "Compacted",
    "Durability",
    "Groups",
    "Presence",
    "Present",
    "Queues",
    "Statistics",
    "Store",
    "Streams",
    "Timer",
    "Told",
]
