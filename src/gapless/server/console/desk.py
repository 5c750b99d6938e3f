"""What a session of the console does over the server API: within its role, and on record."""

from functools import partial
from typing import Any, Final

from gapless.broker.audit import record
from gapless.broker.broker import Broker
from gapless.broker.streams.keeping import record_now
from gapless.core.errors import GaplessError
from gapless.core.stream import Entry
from gapless.server.api.calls import Outcome, outcome_of
from gapless.server.api.methods import Api
from gapless.server.console import roles
from gapless.server.console.passes import Pass, Passes

__all__ = ["Desk"]

# What a record names: whatever of these a request has, the first of them first. Payloads and tokens are none.
NAMES: Final = ("channel", "queue", "stream", "source", "user", "token_id", "client", "method", "id")
NAMED_MAX: Final = 10
NAME_CHARACTERS_MAX: Final = 255


class Desk:
    """Calls methods for whoever is logged in."""

    def __init__(self, passes: Passes, broker: Broker) -> None:
        self._passes = passes
        self._broker = broker

    def known(self, token: bytes, method: str | None = None) -> Pass:
        """Return whose token that is; one who may call `method`, if it is given.

        Raises:
            Unauthorized, TokenExpired: the token is none, or holds no more.
            PermissionDenied: this user is blocked, or may not call it.
        """
        held = self._passes.read(token.decode("latin-1"))
        if method is not None:
            roles.check(held.role, method)
        return held

    async def call(self, api: Api, token: bytes, method: str, body: bytes) -> Outcome:
        """Carry out a call, and record it if it acts; what is refused by then is its outcome.

        Raises:
            Unauthorized, TokenExpired: the token is none, or holds no more.
            PermissionDenied: this user is blocked.
            MethodNotFound, BadRequest: it is no call.
        """
        held = self.known(token)
        request = api.asked(method, body)
        try:
            roles.check(held.role, method)
        except GaplessError as error:
            return error
        outcome = await outcome_of(partial(api.call_as, held.who, method, request))
        if roles.is_recorded_here(method):
            await record_now(self._broker, _record(held, method, request, outcome))
        return outcome


def _record(held: Pass, method: str, request: Any, outcome: Outcome) -> Entry:
    """Return the record of what was asked for, and how it was refused if it was."""
    named: dict[str, Any] = {name: _cut(value) for name in NAMES if (value := getattr(request, name, None))}
    for name, many in (("channel", "channels"), ("queue", "jobs")):
        items = [getattr(item, name, item) for item in getattr(request, many, None) or ()]
        if items:
            named[name] = _cut(", ".join(dict.fromkeys(map(str, items[:NAMED_MAX]))))
            named[many] = len(items)
    first = next((name for name in NAMES if name in named), "")
    subject = named.pop(first, "")
    refused = {"error": outcome.code} if isinstance(outcome, GaplessError) else {}
    return record(method, held.who, subject, **named, **refused)


def _cut(value: Any) -> str:
    return str(value)[:NAME_CHARACTERS_MAX]
