"""Logs: one line per event, to standard error or a file; without secrets, and no more than a disk can take.

A traceback follows its line, indented, so that nothing in it passes for an event; in JSON it is a field.

What is logged is a text that does not change, with fields beside it:
`log.info("client left", extra={"code": 1000})`.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from gapless.core.errors import ConfigError
from gapless.core.limits import LOG_KINDS_MAX, LOG_LINES_PER_SECOND_MAX
from gapless.server.config.model import Level, Log, LogFormat

__all__ = ["FIELDS", "name_process", "set_level", "start_logging"]

LEVELS: Final = {
    Level.NONE: logging.CRITICAL + 1,
    Level.ERROR: logging.ERROR,
    Level.WARN: logging.WARNING,
    Level.INFO: logging.INFO,
    Level.DEBUG: logging.DEBUG,
    Level.TRACE: logging.DEBUG,
}
# What may stand beside an event, in this order.
FIELDS: Final = (
    "worker", "client", "user", "channel", "address", "method", "route", "status", "code", "reason",
    "suppressed",
)  # fmt: skip
# A JWT, wherever it stands; and what follows the name of a credential.
SECRET: Final = re.compile(
    r"(?P<jwt>eyJ[\w-]{4,}\.[\w-]*(?:\.[\w-]*)?)"
    r"|(?P<name>(?:x-api-key|api_?key|token|secret|password|authorization)[\"']?\s*[=:]\s*[\"']?"
    r"(?:(?:apikey|bearer|basic)\s+)?|(?:apikey|bearer)\s+)(?P<value>[^\s\"'&,;]+)",
    re.IGNORECASE,
)


class Lines(logging.Formatter):
    """For people: time in UTC, level, logger, event, then `name=value`, on one line; then the traceback."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 # logging's name
        """Return the line without a traceback."""
        beside = [f"{name}={_quoted(_without_secrets(str(value)))}" for name, value in _fields(record)]
        return " ".join([super().formatMessage(record), *beside])

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and what follows it."""
        record.message, record.asctime = record.getMessage(), self.formatTime(record)
        line = _without_secrets(self.formatMessage(record)).replace("\n", "\\n").replace("\r", "\\r")
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return "\n    ".join([line, *_without_secrets(trace).splitlines()])


class Objects(Lines):
    """For machines: a JSON object on each line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _without_secrets(record.getMessage()),
        }
        told |= {
            name: _without_secrets(value) if isinstance(value, str) else value
            for name, value in _fields(record)
        }
        if record.exc_info:
            told["traceback"] = _without_secrets(self.formatException(record.exc_info))
        return json.dumps(told, ensure_ascii=False, default=str)


class Restraint(logging.Filter):
    """Lets through so many lines of a kind a second, then says how many there were more.

    A kind is a logger and a text. A client that does the same over and over fills no disk.
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._second = 0
        self._counts: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is written."""
        if int(record.created) != self._second:
            self.tell_suppressed()
            self._second = int(record.created)
        kind = (record.name, str(record.msg))
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        return count <= LOG_LINES_PER_SECOND_MAX and len(self._counts) <= LOG_KINDS_MAX

    def tell_suppressed(self) -> None:
        """Write how many lines were not."""
        counts, self._counts = self._counts, {}
        for (name, text), count in counts.items():
            if count > LOG_LINES_PER_SECOND_MAX:
                more = count - LOG_LINES_PER_SECOND_MAX
                line = logging.makeLogRecord(
                    {"name": name, "levelno": logging.WARNING, "levelname": "WARNING"}
                )
                line.msg, line.suppressed = f"suppressed: {text}", more
                self._handler.emit(line)


def start_logging(options: Log) -> logging.Logger:
    """Send what gapless logs where the configuration says; return its logger.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        handler = logging.FileHandler(options.file) if options.file else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise ConfigError(f"log.file: {options.file} cannot be written: {error.strerror}") from error
    handler.setFormatter(Objects() if options.format is LogFormat.JSON else Lines())
    handler.addFilter(Restraint(handler))
    logger = logging.getLogger("gapless")
    logger.addHandler(handler)
    set_level(options.level)
    logging.getLogger("asyncio").addHandler(handler)
    return logger


def set_level(level: Level) -> None:
    """Log from this weight on."""
    logging.getLogger("gapless").setLevel(LEVELS[level])


def name_process(number: int) -> None:
    """Have each line say which of several processes it is of."""
    make = logging.getLogRecordFactory()

    def made(*args: Any, **given: Any) -> logging.LogRecord:
        record = make(*args, **given)
        record.worker = number
        return record

    logging.setLogRecordFactory(made)


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    for name in FIELDS:
        value = getattr(record, name, None)
        if value is not None and value != "":
            yield name, value


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if not value or re.search(r'[\s="\\]', value) else value


def _without_secrets(text: str) -> str:
    return SECRET.sub(lambda found: "***" if found["jwt"] else f"{found['name']}***", text)
