"""The configuration: its model, and how it is read from a file, the environment and flags."""

from gapless.server.config.model import Config
from gapless.server.config.reading import read
from gapless.server.config.sources import Source, from_environment, from_file, from_flags

__all__ = ["Config", "Source", "from_environment", "from_file", "from_flags", "read"]
