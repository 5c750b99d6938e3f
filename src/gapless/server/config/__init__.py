"""The configuration: its model, and how it is read from a file, the environment and flags."""

from gapless.server.config.effective import Effective, SetAt
from gapless.server.config.model import Config
from gapless.server.config.reading import Reading, examine, read, refusal
from gapless.server.config.sources import Source, from_all, from_environment, from_file, from_flags

__all__ = [
    "Config",
    "Effective",
    "Reading",
    "SetAt",
    "Source",
    "examine",
    "from_all",
    "from_environment",
    "from_file",
    "from_flags",
    "read",
    "refusal",
]
