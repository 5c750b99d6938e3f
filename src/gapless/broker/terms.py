"""What one subscription is like: its namespace's options, its grant, and what was asked for."""

from typing import Final, NamedTuple, Self

from gapless.broker.namespaces import Namespace
from gapless.broker.tokens import Grant

__all__ = ["NOTHING_ASKED", "NO_TERMS", "Asked", "Terms"]


class Asked(NamedTuple):
    """What a client asks for on top of what its namespace forces, as far as its rights go."""

    recoverable: bool = False
    positioned: bool = False
    join_leave: bool = False


NOTHING_ASKED: Final = Asked()


class Terms(NamedTuple):
    """What a subscription has. `ends_ms` is when it is over unless it is prolonged; 0: never.

    `presence`: others see that it is there. `join_leave`: they are told of its coming and going;
    `push_join_leave`: it is told of theirs. `server_side`: the client did not ask for it. `watches`: it takes
    nobody's place.
    """

    recoverable: bool = False
    positioned: bool = False
    presence: bool = False
    join_leave: bool = False
    push_join_leave: bool = False
    server_side: bool = False
    grant: Grant | None = None
    ends_ms: int = 0
    watches: bool = False

    @classmethod
    def of(
        cls,
        namespace: Namespace,
        grant: Grant | None = None,
        *,
        asked: Asked = NOTHING_ASKED,
        server_side: bool = False,
        ends_ms: int = 0,
    ) -> Self:
        """Return what the namespace gives, or the grant in its place, and what was asked for besides."""
        forced_recovery, forced_positioning = namespace.force_recovery, namespace.force_positioning
        presence, join_leave = namespace.presence, namespace.join_leave
        push = namespace.force_push_join_leave
        if grant is not None:
            override = grant.override
            forced_recovery = _either(override.force_recovery, forced_recovery)
            forced_positioning = _either(override.force_positioning, forced_positioning)
            presence = _either(override.presence, presence)
            join_leave = _either(override.join_leave, join_leave)
            push = _either(override.force_push_join_leave, push)
        recoverable = namespace.history and (forced_recovery or asked.recoverable)
        positioned = recoverable or (namespace.history and (forced_positioning or asked.positioned))
        return cls(
            recoverable,
            positioned,
            presence,
            join_leave,
            push or asked.join_leave,
            server_side,
            grant,
            ends_ms,
        )


def _either(override: bool | None, option: bool) -> bool:
    return option if override is None else override


NO_TERMS: Final = Terms()
