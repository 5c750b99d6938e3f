"""Who may do what to queues and streams: by the token, or by a rule; nobody by default."""

import pytest

from gapless.broker.rights import QUEUE_RIGHTS, RIGHTS, STREAM_RIGHTS, Access
from gapless.broker.rules import QueueRule, StreamRule, rule_for
from gapless.core.errors import ConfigError, PermissionDenied
from gapless.protocol import queues, streams

ACCESS = Access(
    [
        QueueRule(name="mail", allow_enqueue_for_client=True),
        QueueRule(pattern="open.*", allow_claim_for_client=True, allow_claim_for_anonymous=True),
        QueueRule(pattern="*"),
    ],
    [StreamRule(name="orders", allow_read_for_client=True)],
)


def test_every_verb_asks_for_a_right() -> None:
    assert set(RIGHTS) == set(queues.VERBS) | set(streams.VERBS)
    assert sum(map(len, QUEUE_RIGHTS.values())) == len(queues.VERBS)
    assert sum(map(len, STREAM_RIGHTS.values())) == len(streams.VERBS)


@pytest.mark.parametrize(
    ("verb", "names", "granted", "user", "allowed"),
    [
        ("queue/enqueue", ["mail"], {}, "ann", True),
        ("queue/enqueue", ["mail"], {}, "", False),
        ("queue/enqueue", ["mail", "other"], {}, "ann", False),
        ("queue/enqueue", ["mail", "other"], {"other": ["enqueue"]}, "ann", True),
        ("queue/enqueue", ["other"], {"other": ["claim"]}, "ann", False),
        ("queue/enqueue", ["tenant.1"], {"tenant.*": ["enqueue"]}, "", True),
        ("queue/enqueue", ["tenant.1"], {"tenant.?": ["enqueue"]}, "", True),
        ("queue/enqueue", ["tenants"], {"tenant.*": ["enqueue"]}, "", False),
        ("queue/claim", ["mail"], {}, "ann", False),
        ("queue/claim", ["open.1"], {}, "", True),
        ("queue/extend", ["open.1"], {}, "", True),
        ("queue/settle", ["open.1"], {}, "ann", True),
        ("queue/browse", ["open.1"], {}, "ann", False),
        ("queue/purge", ["open.1"], {}, "ann", False),
        ("queue/purge", ["open.1"], {"*": ["manage"]}, "ann", True),
        ("queue/stats", [""], {"mail": ["browse"]}, "ann", False),
        ("queue/stats", [""], {"mail*": ["browse"]}, "ann", False),
        ("queue/stats", [""], {"*": ["browse"]}, "ann", True),
        ("queue/settle", [], {}, "", True),
        ("stream/read", ["orders"], {}, "ann", True),
        ("stream/read", ["orders"], {}, "", False),
        ("stream/append", ["orders"], {}, "ann", False),
        ("stream/append", ["orders"], {"orders": ["read", "append"]}, "ann", True),
        ("stream/seek", ["orders"], {"orders": ["read", "append", "consume"]}, "ann", False),
        ("stream/fetch", ["orders"], {"orders": ["consume"]}, "ann", True),
    ],
)
def test_a_right_comes_from_the_token_or_a_rule(
    verb: str, names: list[str], granted: dict[str, list[str]], user: str, allowed: bool
) -> None:
    if allowed:
        ACCESS.check(verb, names, granted, user)
    else:
        with pytest.raises(PermissionDenied):
            ACCESS.check(verb, names, granted, user)


def test_a_refusal_says_what_would_do() -> None:
    with pytest.raises(PermissionDenied, match=r"claim queues needs 'enqueue'.*allow_enqueue_for_client"):
        ACCESS.check("queue/enqueue", ["other"], {}, "ann")


def test_a_name_goes_before_a_pattern_and_patterns_in_their_order() -> None:
    rules = [QueueRule(pattern="m*", lease_ms=1_000), QueueRule(pattern="ma*"), QueueRule(name="mail")]
    assert rule_for(rules, "mail") is rules[2]
    assert rule_for(rules, "main") is rules[0]
    assert rule_for(rules, "other") is None


@pytest.mark.parametrize(
    "fields", [{}, {"name": "a", "pattern": "a"}, {"name": "a b"}, {"name": "-a"}, {"name": "x" * 129}]
)
def test_a_rule_without_a_proper_name_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        QueueRule(**fields)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        StreamRule(**fields)  # type: ignore[arg-type]
