"""Queues and streams in a configuration: their sections, durations in lists, variables by name."""

from pathlib import Path

import pytest
from msgspec import UNSET

from gapless.core.errors import ConfigError
from gapless.core.retry import Retry
from gapless.server.config import Config, from_environment, from_file, from_flags, read

FILE = """
[[queues]]
name = "mail"
lease = "10s"
result = "1h"
on_dead = "stop"
allow_enqueue_for_client = true

[queues.retry]
attempts_max = 3
delays = ["1s", "1m30s"]

[[queues]]
pattern = "tenant.*"
fair = true

[[streams]]
name = "orders"
partitions = 8
retention = "168h"
"""


def configured(tmp_path: Path, text: str, environment: dict[str, str] | None = None, *flags: str) -> Config:
    path = tmp_path / "gapless.toml"
    path.write_text(text)
    return read([from_file(path), *from_environment(environment or {}), *from_flags(list(flags))])


def test_queues_and_streams_are_sections_with_durations(tmp_path: Path) -> None:
    config = configured(tmp_path, FILE)
    mail, tenant = config.queues
    assert (mail.name, mail.lease_ms, mail.result_ms, mail.on_dead) == ("mail", 10_000, 3_600_000, "stop")
    assert mail.retry == Retry(attempts_max=3, delays_ms=(1_000, 90_000))
    assert (tenant.pattern, tenant.fair, tenant.retry) == ("tenant.*", True, UNSET)
    [orders] = config.streams
    assert (orders.partitions, orders.retention_ms) == (8, 604_800_000)


def test_a_variable_and_a_flag_name_a_queue(tmp_path: Path) -> None:
    environment = {"GAPLESS_QUEUES__MAIL__RETRY__DELAYS": "5s,10s"}
    config = configured(tmp_path, FILE, environment, "queues.mail.lease=20s")
    assert config.queues[0].lease_ms == 20_000
    assert config.queues[0].retry == Retry(attempts_max=3, delays_ms=(5_000, 10_000))
    whole = configured(tmp_path, "", {"GAPLESS_QUEUES": '[{"name": "mail", "lease": "7s"}]'})
    assert [(rule.name, rule.lease_ms) for rule in whole.queues] == [("mail", 7_000)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[queues]]\nlease='1s'", "either a name or a pattern"),
        ("[[queues]]\nname='a'\npattern='b'", "either a name or a pattern"),
        ("[[queues]]\nname='a b'", "no name"),
        ("[[queues]]\nname='a'\nleese='1s'", "queues[0].leese"),
        ("[[queues]]\nname='a'\nlease='1ms'", "a duration"),
        ("[[queues]]\nname='a'\nlease=5", "a duration"),
        ("[[queues]]\nname='a'\n[queues.retry]\ndelays=['x']", "a list of durations"),
        ("[[queues]]\nname='a'\n[queues.retry]\ndelays=5", "a list of durations"),
        ("[[queues]]\nname='a'\n[queues.retry]\ndelays=[5]", "a list of durations"),
        ("[[queues]]\nname='a'\n[queues.retry]\nfactor=0.5", "a number from 1 to 100"),
        ("[[queues]]\nname='a'\n[queues.retry]\nattempts_max=0", "a whole number from 1 to"),
        ("queues = 5", "a list of sections"),
        ("[[streams]]\nname='a'\npartitions=0", "a whole number from 1 to"),
    ],
)
def test_a_mistake_in_a_rule_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configured(tmp_path, text)
    assert said in str(raised.value)


def test_a_variable_for_a_queue_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is none with the name 'post'"):
        configured(tmp_path, FILE, {"GAPLESS_QUEUES__POST__LEASE": "1s"})
