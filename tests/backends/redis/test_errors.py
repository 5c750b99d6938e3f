"""What Redis refuses is an error of the tree, which says whether to ask again."""

import pytest

from gapless.backends.redis.errors import by_code, translated
from gapless.core.errors import (
    BadRequest,
    GaplessError,
    KeyConflict,
    LeaseLost,
    OutcomeUnknown,
    StoreDamaged,
    StoreFull,
    StoreRefused,
    Unavailable,
)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("GAPLESS lease_lost it is another's", LeaseLost),
        ("GAPLESS bad_request no", BadRequest),
        ("GAPLESS nothing_known no", GaplessError),
        ("GAPLESS unknown what was written before it failed stands", OutcomeUnknown),
        ("OOM command not allowed when used memory > 'maxmemory'.", StoreFull),
        ("MISCONF Redis is configured to save RDB snapshots", StoreFull),
        ("NOAUTH Authentication required.", StoreRefused),
        ("WRONGPASS invalid username-password pair or user is disabled.", StoreRefused),
        ("NOPERM this user has no permissions to run the 'fcall' command", StoreRefused),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", StoreDamaged),
        ("BUSY Redis is busy running a script", Unavailable),
        ("LOADING Redis is loading the dataset in memory", Unavailable),
        ("MOVED 3999 127.0.0.1:6381", Unavailable),
        ("ASK 3999 127.0.0.1:6381", Unavailable),
        ("READONLY You can't write against a read only replica.", Unavailable),
        ("CLUSTERDOWN The cluster is down", Unavailable),
        ("MASTERDOWN Link with MASTER is down", Unavailable),
        ("NOREPLICAS Not enough good replicas to write.", Unavailable),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Unavailable),
        ("AGAIN something has to be written first", Unavailable),
        ("ERR something else", GaplessError),
    ],
)
def test_each_refusal_has_its_error(told: str, kind: type[GaplessError]) -> None:
    assert type(translated(told)) is kind


def test_an_error_of_our_functions_keeps_its_words() -> None:
    assert str(translated("GAPLESS lease_lost it is another's")) == "it is another's"


def test_an_error_of_one_item_is_told_by_its_code() -> None:
    error = by_code("key_conflict", "the key belongs to another payload")
    assert (type(error), str(error)) == (KeyConflict, "the key belongs to another payload")


def test_where_in_a_function_an_error_was_raised_is_not_told() -> None:
    told = translated(
        "GAPLESS store_refused choose another prefix script: gapless_1_pulse, on @user_function:86."
    )
    assert (type(told), str(told)) == (StoreRefused, "choose another prefix")
