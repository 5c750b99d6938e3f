"""Rules for queues and streams: which there are without being declared by a call, and what clients may do."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from re import fullmatch
from typing import Any, TypeVar

from msgspec import Struct, structs

from gapless.core.errors import ConfigError
from gapless.core.jobs import QueueOptions
from gapless.core.limits import QUEUE_NAME_BYTES_MAX
from gapless.protocol.payloads import NAME
from gapless.protocol.streams import StreamSettings

__all__ = ["QueueRule", "StreamRule", "rule_for"]


class QueueRule(QueueOptions, frozen=True, kw_only=True):
    """A queue by its `name`, which is made at the start; or a `pattern` (`mail.*`), made when first used.

    The permissions are as in namespaces: off by default, and who is anonymous needs `for_anonymous` besides.
    """

    name: str = ""
    pattern: str = ""
    allow_enqueue_for_client: bool = False
    allow_enqueue_for_anonymous: bool = False
    allow_result_for_client: bool = False
    allow_result_for_anonymous: bool = False
    allow_claim_for_client: bool = False
    allow_claim_for_anonymous: bool = False
    allow_browse_for_client: bool = False
    allow_browse_for_anonymous: bool = False

    def __post_init__(self) -> None:
        _check(self, "queues")

    def options(self) -> QueueOptions:
        """Return the options of such a queue."""
        return _part(self, QueueOptions)


class StreamRule(StreamSettings, frozen=True, kw_only=True):
    """A stream by its `name`, which is made at the start; or a `pattern` (`orders.*`), made when first used.

    The permissions are as in namespaces: off by default, and who is anonymous needs `for_anonymous` besides.
    """

    name: str = ""
    pattern: str = ""
    allow_append_for_client: bool = False
    allow_append_for_anonymous: bool = False
    allow_read_for_client: bool = False
    allow_read_for_anonymous: bool = False
    allow_consume_for_client: bool = False
    allow_consume_for_anonymous: bool = False

    def __post_init__(self) -> None:
        _check(self, "streams")

    def settings(self) -> StreamSettings:
        """Return the settings of such a stream."""
        return _part(self, StreamSettings)


Rule = TypeVar("Rule", QueueRule, StreamRule)
Part = TypeVar("Part", bound=Struct)


def rule_for(rules: Iterable[Rule], name: str) -> Rule | None:
    """Return the rule that a name falls under: that of its own name, or the first whose pattern fits."""
    fitting = None
    for rule in rules:
        if rule.name == name:
            return rule
        if fitting is None and rule.pattern and fnmatchcase(name, rule.pattern):
            fitting = rule
    return fitting


def _check(rule: Any, section: str) -> None:
    if bool(rule.name) is bool(rule.pattern):
        raise ConfigError(f"each of {section} needs either a name or a pattern")
    if rule.name and not (fullmatch(NAME, rule.name) and len(rule.name) <= QUEUE_NAME_BYTES_MAX):
        raise ConfigError(
            f"{section}: {rule.name!r} is no name, which has up to {QUEUE_NAME_BYTES_MAX} of letters, digits,"
            " -, _ and ."
        )


def _part(rule: Any, kind: type[Part]) -> Part:
    return kind(**{field.name: getattr(rule, field.name) for field in structs.fields(kind)})
