import re

from gapless.core import errors
from gapless.core.errors import GaplessError

# The names and numbers on the wire. A line is added, never changed.
CODES = {
    "BadRequest": ("bad_request", 107, 400),
    "Unauthorized": ("unauthorized", 101, 401),
    "TokenExpired": ("token_expired", 109, 401),
    "PermissionDenied": ("permission_denied", 103, 403),
    "UnknownChannel": ("unknown_channel", 102, 404),
    "MethodNotFound": ("method_not_found", 104, 404),
    "AlreadySubscribed": ("already_subscribed", 105, 400),
    "NotAvailable": ("not_available", 108, 400),
    "LimitExceeded": ("limit_exceeded", 106, 400),
    "ConfigError": ("config", 107, 400),
    "PositionLost": ("position_lost", 112, 416),
    "TimelineGone": ("timeline_gone", 112, 409),
    "PositionTrimmed": ("position_trimmed", 112, 410),
    "PositionConflict": ("position_conflict", 1001, 409),
    "KeyConflict": ("key_conflict", 1002, 409),
    "UnknownQueue": ("unknown_queue", 1003, 404),
    "UnknownStream": ("unknown_stream", 1004, 404),
    "UnknownJob": ("unknown_job", 1005, 404),
    "LeaseLost": ("lease_lost", 1006, 409),
    "JobStarted": ("job_started", 1007, 409),
    "Unavailable": ("unavailable", 100, 503),
    "TooManyRequests": ("too_many_requests", 111, 429),
    "OutcomeUnknown": ("unknown", 1000, 503),
    "StoreFailed": ("store_failed", 100, 503),
    "StoreFull": ("store_full", 100, 503),
    "StoreRefused": ("store_refused", 100, 503),
    "StoreDamaged": ("store_damaged", 100, 503),
}


def test_codes_never_change() -> None:
    for name, expected in CODES.items():
        error: type[GaplessError] = getattr(errors, name)
        assert (error.code, error.number, error.http_status) == expected


def test_the_drawn_tree_is_the_tree() -> None:
    assert errors.__doc__ is not None
    parents: list[str] = []
    for line in errors.__doc__.splitlines()[2:]:
        match = re.match(r"([│├└─ ]*)(\w+)", line)
        if match is None or not line.strip():
            continue
        depth = len(match[1]) // 4
        error: type[GaplessError] = getattr(errors, match[2])
        if depth:
            assert error.__base__ is not None
            assert error.__base__.__name__ == parents[depth - 1], line
        parents[depth:] = [match[2]]


def test_every_error_is_drawn() -> None:
    assert errors.__doc__ is not None
    for name in errors.__all__:
        assert re.search(rf"\b{name}\b", errors.__doc__), name
