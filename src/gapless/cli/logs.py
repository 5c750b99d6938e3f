"""Logs: one line per event, to standard error or a file."""

import logging
import sys
import time
from typing import Final

from gapless.core.errors import ConfigError
from gapless.server.config.model import Level, Log

__all__ = ["start_logging"]

LEVELS: Final = {
    Level.NONE: logging.CRITICAL + 1,
    Level.ERROR: logging.ERROR,
    Level.WARN: logging.WARNING,
    Level.INFO: logging.INFO,
    Level.DEBUG: logging.DEBUG,
    Level.TRACE: logging.DEBUG,
}


class Lines(logging.Formatter):
    """Times in UTC; whatever a message holds, it stays on its line."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return super().format(record).replace("\n", "\\n").replace("\r", "\\r")


def start_logging(options: Log) -> logging.Logger:
    """Send what gapless logs where the configuration says; return its logger.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        handler = logging.FileHandler(options.file) if options.file else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise ConfigError(f"log.file: {options.file} cannot be written: {error.strerror}") from error
    handler.setFormatter(Lines("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("gapless")
    logger.addHandler(handler)
    logger.setLevel(LEVELS[options.level])
    logging.getLogger("asyncio").addHandler(handler)
    return logger
