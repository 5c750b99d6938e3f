"""Each event is one line, for people or machines, without secrets; of a kind no more than a disk takes."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.cli.logs import FIELDS, Lines, Objects, Restraint, start_logging
from gapless.core.errors import ConfigError
from gapless.core.limits import LOG_LINES_PER_SECOND_MAX
from gapless.server.config.model import Level, Log, LogFormat

TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl"


def record(text: str, *args: object, second: int = 0, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "gapless.test", "levelname": "INFO", "msg": text, "args": args})
    made.created, made.msecs = float(second), 7.0
    made.__dict__.update(fields)
    return made


def test_a_line_for_people_has_its_fields_behind_the_event() -> None:
    line = Lines().format(record("client left", client="c-1", code=3000, reason="two words", user=""))
    assert (
        line
        == '1970-01-01T00:00:00.007Z INFO gapless.test client left client=c-1 code=3000 reason="two words"'
    )


def test_a_line_for_machines_is_an_object_with_the_same_names() -> None:
    told = json.loads(Objects().format(record("client left", client="c-1", code=3000, odd="left out")))
    assert told == {
        "time": "1970-01-01T00:00:00.007Z",
        "level": "info",
        "logger": "gapless.test",
        "event": "client left",
        "client": "c-1",
        "code": 3000,
    }


@pytest.mark.parametrize("formatter", [Lines(), Objects()])
def test_whatever_a_message_holds_it_stays_on_its_line(formatter: logging.Formatter) -> None:
    assert len(formatter.format(record("%s", "a\nb\rc", reason="d\ne")).splitlines()) == 1
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        line, *trace = formatter.format(record("failed", exc_info=sys.exc_info())).splitlines()
    assert "failed" in line
    assert all(each.startswith("    ") for each in trace)
    if isinstance(formatter, Objects):
        assert (trace, "ValueError" in line) == ([], True)
    else:
        assert trace[-2:] == ["    ValueError: first", "    second"]


@pytest.mark.parametrize("formatter", [Lines(), Objects()])
@pytest.mark.parametrize(
    "text",
    [
        f"it came as {TOKEN}",
        "GET /api/info?api_key=hidden&x=1",
        "x-api-key: hidden",
        "Authorization: apikey hidden",
        "authorization: Bearer hidden",
        '{"token": "hidden"}',
        "hmac_secret='hidden'",
    ],
)
def test_secrets_are_not_written(formatter: logging.Formatter, text: str) -> None:
    for line in (formatter.format(record(text)), formatter.format(record("refused", reason=text))):
        assert "hidden" not in line
        assert TOKEN[:20] not in line
        assert "***" in line


def test_words_that_only_look_like_secrets_are_written() -> None:
    for text in (
        "the token's header may not have 'crit'",
        "client.token.hmac_secret_key (a secret → a secret)",
    ):
        assert text in Lines().format(record(text))


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[logging.LogRecord] = []
        self.restraint = Restraint(self)
        self.addFilter(self.restraint)

    def emit(self, line: logging.LogRecord) -> None:
        self.lines.append(line)


def test_what_repeats_too_often_is_counted_instead() -> None:
    handler = Kept()
    for number in range(1_000):
        handler.handle(record("refused %d", number))
    handler.handle(record("another"))
    assert len(handler.lines) == LOG_LINES_PER_SECOND_MAX + 1
    handler.handle(record("later", second=1))
    suppressed = handler.lines[-2]
    assert (suppressed.getMessage(), suppressed.__dict__["suppressed"]) == (
        "suppressed: refused %d",
        1_000 - LOG_LINES_PER_SECOND_MAX,
    )
    assert "suppressed" in FIELDS
    handler.handle(record("refused %d", 1, second=1))
    assert handler.lines[-1].getMessage() == "refused 1"


@pytest.fixture
def quiet() -> Iterator[None]:
    """Take back what logging was told."""
    loggers = [logging.getLogger(name) for name in ("gapless", "asyncio")]
    before = [(list(logger.handlers), logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        for handler in set(logger.handlers) - set(handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)


@pytest.mark.usefixtures("quiet")
def test_the_configuration_says_where_and_how_much(tmp_path: Path) -> None:
    place = tmp_path / "log"
    log = start_logging(Log(level=Level.WARN, format=LogFormat.JSON, file=str(place)))
    log.info("not this")
    log.warning("but this")
    assert [json.loads(line)["event"] for line in place.read_text().splitlines()] == ["but this"]


@pytest.mark.usefixtures("quiet")
def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log\.file"):
        start_logging(Log(file=str(tmp_path / "no" / "such")))
