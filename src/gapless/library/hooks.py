"""Hooks in Python, where a token is not enough: who connects, subscribes, publishes, what calls answer.

A hook has the last word on what the rules, or a token, say. It answers with one of the types here, or `True`:
that is a yes, whatever the rules say. `False`, `Refuse` and `Disconnect` are a no. `None` leaves it to the
rules. One that fails is a temporary error for the client, and never a yes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar, overload

from msgspec import Struct

from gapless.core.errors import ConfigError
from gapless.library.binding import Binding, Kind, bind, named
from gapless.library.times import Duration
from gapless.protocol.hooks import (
    Asked,
    Calling,
    Catalogue,
    Connecting,
    Disconnecting,
    HookName,
    Publishing,
    Refreshing,
    Subscribing,
)

__all__ = [
    "Calling",
    "Connected",
    "Connecting",
    "Declaring",
    "Disconnect",
    "Disconnecting",
    "Hook",
    "Published",
    "Publishing",
    "Refreshed",
    "Refreshing",
    "Refuse",
    "Subscribed",
    "Subscribing",
    "catalogue_of",
]

Function = TypeVar("Function", bound=Callable[..., Any])

DENIED: Final = 103
OWN_ERRORS: Final = range(400, 2000)  # what Centrifugo leaves to applications
OWN_DISCONNECTS: Final = range(4000, 5000)
RESERVED: Final = "gapless."


class Refuse(Exception):
    """Raised by a hook: no. The client is told the error: 103, or a code of your own from 400 to 1999."""

    def __init__(self, message: str = "", *, code: int = DENIED, temporary: bool = False) -> None:
        if code != DENIED and code not in OWN_ERRORS:
            raise ValueError(f"an error of a hook has a code from 400 to 1999, or 103, not {code}")
        super().__init__(message)
        self.code = code
        self.temporary = temporary


class Disconnect(Exception):
    """Raised by a hook: end the connection. From 4500 to 4999 the client does not come back."""

    def __init__(self, reason: str = "", *, code: int = 4500) -> None:
        if code not in OWN_DISCONNECTS:
            raise ValueError(f"a hook disconnects with a code from 4000 to 4999, not {code}")
        super().__init__(reason)
        self.code = code


class Subscribed(Struct, frozen=True, kw_only=True):
    """Yes to a subscription. What is None stays as the token, or the namespace, says.

    Others see `info` beside the user's publications; `data` is told to the client. After `expires_in` the
    hook `on_refresh` of the channel is asked for more, or the client subscribes anew.
    """

    info: Any = None
    data: Any = None
    expires_in: Duration = 0
    presence: bool | None = None
    join_leave: bool | None = None
    force_push_join_leave: bool | None = None
    force_positioning: bool | None = None
    force_recovery: bool | None = None


class Connected(Struct, frozen=True, kw_only=True):
    """Yes to a connection. What is None stays as the token says; without one, the user is anonymous.

    Others see `info`, only hooks see `meta`, `data` is told to the client. It is subscribed to
    `subscriptions`. `queues` and `streams` are rights by name or pattern, as in a token. After `expires_in`
    the hook `on_refresh` is asked for more, or the client connects anew. The user of a token stays.
    """

    user: str | None = None
    info: Any = None
    meta: Any = None
    data: Any = None
    subscriptions: Mapping[str, Subscribed] | Sequence[str] = ()
    queues: Mapping[str, Sequence[str]] = {}
    streams: Mapping[str, Sequence[str]] = {}
    expires_in: Duration = 0


class Published(Struct, frozen=True, kw_only=True):
    """Yes to a publication; with other `data` unless that is None. A retry is the same only if `data` is."""

    data: Any = None
    tags: Mapping[str, str] = {}
    skip_history: bool = False


class Refreshed(Struct, frozen=True, kw_only=True):
    """Yes to more time: `expires_in` from now, 0 for ever. What is None stays as it was."""

    expires_in: Duration = 0
    info: Any = None
    meta: Any = None


_ASKED: Final[dict[HookName, type[Asked]]] = {
    "connect": Connecting,
    "subscribe": Subscribing,
    "publish": Publishing,
    "refresh": Refreshing,
    "sub_refresh": Refreshing,
    "disconnect": Disconnecting,
    "rpc": Calling,
}
_WITH_DATA: Final = frozenset(("connect", "subscribe", "publish", "rpc"))


class Hook:
    """A declared function; `pattern` tells the channels or methods that it is for."""

    def __init__(self, kind: HookName, pattern: str, function: Callable[..., Any]) -> None:
        self.kind = kind
        self.pattern = pattern
        self.function = function
        self.binding = _bound(function, kind)
        if self.binding.kind in (Kind.GENERATOR, Kind.ASYNC_GENERATOR):
            raise ConfigError(f"{named(function)}: a hook returns once, and yields nothing")

    def matches(self, kind: HookName, name: str) -> bool:
        """Tell whether it is to be asked."""
        return kind == self.kind and (not self.pattern or fnmatchcase(name, self.pattern))

    def __str__(self) -> str:
        return f"hook {self.kind} {self.pattern}".rstrip()

    def __repr__(self) -> str:
        return f"<{self}: {named(self.function)}>"


def _bound(function: Callable[..., Any], kind: HookName) -> Binding:
    """Bind a function that takes what was asked, or first of all the data that was sent along."""
    try:
        return bind(function, _ASKED[kind])
    except ConfigError:
        if kind not in _WITH_DATA:
            raise
    return bind(function, _ASKED[kind], takes_payload=True)


def catalogue_of(hooks: Sequence[Hook]) -> Catalogue:
    """Return which hooks there are, as a server is told."""
    kinds = {hook.kind for hook in hooks}

    def patterns(kind: HookName) -> list[str]:
        return [hook.pattern for hook in hooks if hook.kind == kind]

    return Catalogue(
        connect="connect" in kinds,
        disconnect="disconnect" in kinds,
        refresh="refresh" in kinds,
        subscribe=patterns("subscribe"),
        publish=patterns("publish"),
        sub_refresh=patterns("sub_refresh"),
        rpc=patterns("rpc"),
    )


class Declaring:
    """The decorators. A function stays what it was; the first one declared that matches is asked.

    Its parameters are what is asked, by its annotation (`Connecting`, `Subscribing`, …), dependencies
    (`Depends`), and first of all, if it likes, the data that was sent along, by its type.
    """

    def __init__(self) -> None:
        self._hooks: list[Hook] = []
        self._included: list[Any] = []

    def hooks(self) -> Iterator[Hook]:
        """Return all hooks, those of included routers too."""
        yield from self._hooks
        for router in self._included:
            yield from router.hooks()

    def on_connect(self, function: Function) -> Function:
        """Decide about connections, with a valid token or without: `Connected`, or see this module.

        Raises:
            ConfigError: a parameter of the function cannot be given anything, or there is such a hook.
        """
        return self._declare_hook("connect", "", function)

    def on_disconnect(self, function: Function) -> Function:
        """Hear of connections that ended; nothing waits for it, and it may miss some. Raises as others."""
        return self._declare_hook("disconnect", "", function)

    def on_subscribe(self, pattern: str) -> Callable[[Function], Function]:
        """Decide who subscribes to channels (`chat:*`), and reads them: `Subscribed`. Raises as others."""
        return lambda function: self._declare_hook("subscribe", _checked(pattern), function)

    def on_publish(self, pattern: str) -> Callable[[Function], Function]:
        """Decide what clients publish to channels: `Published`. Raises as others."""
        return lambda function: self._declare_hook("publish", _checked(pattern), function)

    @overload
    def on_refresh(self, pattern: Function) -> Function: ...
    @overload
    def on_refresh(self, pattern: str) -> Callable[[Function], Function]: ...
    def on_refresh(self, pattern: Any) -> Any:
        """Decide whether connections get more time when that is over which a hook gave them: `Refreshed`.

        With a pattern, whether subscriptions to such channels do. Raises as others.
        """
        if not isinstance(pattern, str):
            return self._declare_hook("refresh", "", pattern)
        return lambda function: self._declare_hook("sub_refresh", _checked(pattern), function)

    def rpc(self, method: str) -> Callable[[Function], Function]:
        """Answer calls of a method, or of all that match (`admin.*`), with what it returns.

        Raises:
            ConfigError: as others do; or the method is gapless's own.
        """
        if method.startswith(RESERVED):
            raise ConfigError(f"rpc {method!r}: methods that begin with {RESERVED!r} are gapless's own")
        return lambda function: self._declare_hook("rpc", _checked(method), function)

    def _declare_hook(self, kind: HookName, pattern: str, function: Function) -> Function:
        hook = Hook(kind, pattern, function)
        self._check_free_hook(hook)
        self._hooks.append(hook)
        return function

    def _check_free_hook(self, hook: Hook) -> None:
        for other in self._whole().hooks():
            if (other.kind, other.pattern) == (hook.kind, hook.pattern):
                raise ConfigError(f"{hook!r}: that is decided already, by {named(other.function)}")

    def _whole(self) -> "Declaring":
        """Return the outermost router that this is included in."""
        return self


def _checked(pattern: str) -> str:
    if not pattern:
        raise ConfigError("a hook needs a pattern; '*' is for all")
    return pattern
