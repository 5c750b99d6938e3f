"""Rules for queues and streams: which there are without being declared by a call, and what clients may do."""

import logging
from collections.abc import Iterable
from fnmatch import fnmatchcase
from re import fullmatch
from typing import Any, Final, TypeVar

from msgspec import Struct, structs

from gapless.core.errors import ConfigError
from gapless.core.limits import QUEUE_NAME_BYTES_MAX
from gapless.protocol.payloads import NAME
from gapless.protocol.settings import QueueSettings, StreamSettings, said

__all__ = ["QueueRule", "StreamRule", "changed", "laid_over", "rule_for"]

log: Final = logging.getLogger("gapless.rules")


class QueueRule(QueueSettings, frozen=True, kw_only=True):
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


Rule = TypeVar("Rule", QueueRule, StreamRule)
Kept = TypeVar("Kept", bound=Struct)


def rule_for(rules: Iterable[Rule], name: str) -> Rule | None:
    """Return the rule that a name falls under: that of its own name, or the first whose pattern fits."""
    fitting = None
    for rule in rules:
        if rule.name == name:
            return rule
        if fitting is None and rule.pattern and fnmatchcase(name, rule.pattern):
            fitting = rule
    return fitting


def laid_over(kept: Kept, name: str, settings: Struct, rule: Struct | None) -> Kept:
    """Return how something is kept if settings are laid over how it was, and a rule over these."""
    asked = said(settings, type(kept))
    ruled = said(rule, type(kept)) if rule is not None else {}
    over = [field for field in asked if field in ruled and asked[field] != ruled[field]]
    if over:
        log.warning("%r goes by the configuration, not by what was declared: %s", name, ", ".join(over))
    return structs.replace(kept, **{**asked, **ruled})


def changed(before: Struct, after: Struct) -> dict[str, Any]:
    """Return what is otherwise than it was, as it is now."""
    fields = {name: getattr(after, name) for name in after.__struct_fields__}
    return {name: value for name, value in fields.items() if value != getattr(before, name)}


def _check(rule: Any, section: str) -> None:
    if bool(rule.name) is bool(rule.pattern):
        raise ConfigError(f"each of {section} needs either a name or a pattern")
    if rule.name and not (fullmatch(NAME, rule.name) and len(rule.name) <= QUEUE_NAME_BYTES_MAX):
        raise ConfigError(
            f"{section}: {rule.name!r} is no name, which has up to {QUEUE_NAME_BYTES_MAX} of letters, digits,"
            " -, _ and ."
        )
