"""Which path means which channel: the API's own, and those that the user mapped onto channels."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from gapless.broker.namespaces import Grammar, Namespaces
from gapless.core.errors import BadRequest, ConfigError

__all__ = ["Paths"]

_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LITERAL: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")
_OWN: Final = "{channel}"


class _Alias(NamedTuple):
    """A path's segments, and the channel that it means; both with placeholders."""

    segments: tuple[str, ...]
    channel: str

    @property
    def path(self) -> str:
        return "/" + "/".join(self.segments)


class Paths:
    """Finds channels by paths. `aliases` map paths with placeholders onto channels with the same ones.

    What stands for a placeholder is percent-decoded. It may hold nothing that has a meaning in the name of a
    channel, so that no path reaches another namespace or another user's channel than its alias says.

    Raises:
        ConfigError: an alias is none, or its path belongs to another alias or to something else (`taken`).
    """

    def __init__(
        self, prefix: str, aliases: Mapping[str, str], namespaces: Namespaces, taken: Iterable[str] = ()
    ) -> None:
        own = _Alias((*prefix.strip("/").split("/"), "channels", _OWN, "messages"), _OWN)
        self._aliases = [own, *(_alias(path, channel) for path, channel in aliases.items())]
        for index, alias in enumerate(self._aliases[1:], start=1):
            _check_namespace(alias, namespaces)
            _check_free(alias, [other.path for other in self._aliases[:index]] + list(taken))
        self._meaningful = _meaningful(namespaces.grammar)
        self.pattern = re.compile(
            "|".join(map(_expression, range(len(self._aliases)), self._aliases)).encode()
        )

    def channel(self, path: bytes) -> str:
        """Return the channel that a path means; one of those that `pattern` matches whole.

        Raises:
            BadRequest: it is not UTF-8, or smuggles a boundary into the channel's name.
        """
        match = self.pattern.fullmatch(path)
        assert match is not None
        assert match.lastgroup is not None
        number = int(match.lastgroup[1:])
        alias = self._aliases[number]
        values = [
            _decoded(value) for value in match.groups()[match.re.groupindex[match.lastgroup] :] if value
        ]
        if not number:
            return values[0]
        named = dict(zip(_PLACEHOLDER.findall(alias.path), values, strict=True))
        for name, value in named.items():
            if self._meaningful.search(value):
                raise BadRequest(f"{{{name}}} of the path holds what has a meaning in the name of a channel")
        return _PLACEHOLDER.sub(lambda placeholder: named[placeholder[1]], alias.channel)


def _alias(path: str, channel: str) -> _Alias:
    where = f"messages.aliases: {path!r}"
    segments = tuple(path[1:].split("/"))
    if not path.startswith("/") or not all(
        _PLACEHOLDER.fullmatch(part) or _LITERAL.fullmatch(part) for part in segments
    ):
        raise ConfigError(f"{where}: a path is /of/segments, each plain or a {{placeholder}}")
    names, used = _PLACEHOLDER.findall(path), _PLACEHOLDER.findall(channel)
    if len(set(names)) < len(names) or sorted(names) != sorted(used):
        raise ConfigError(
            f"{where}: the path and the channel {channel!r} need the same placeholders, once each"
        )
    rest = _PLACEHOLDER.sub("", channel)
    if not channel or "{" in rest or "}" in rest or "}{" in channel:
        raise ConfigError(f"{where}: {channel!r} is no channel with placeholders apart from each other")
    return _Alias(segments, channel)


def _check_namespace(alias: _Alias, namespaces: Namespaces) -> None:
    grammar = namespaces.grammar
    name, boundary, _ = alias.channel.removeprefix(grammar.private_prefix).partition(
        grammar.namespace_boundary
    )
    if boundary and not _PLACEHOLDER.search(name) and name not in namespaces.rules:
        raise ConfigError(f"messages.aliases: {alias.path!r}: there is no namespace {name!r}")


def _check_free(alias: _Alias, taken: Iterable[str]) -> None:
    for path in taken:
        segments = path.strip("/").split("/")
        if len(segments) == len(alias.segments) and all(map(_meet, segments, alias.segments)):
            raise ConfigError(f"messages.aliases: {alias.path!r} is taken: {path} is something else")


def _meet(one: str, other: str) -> bool:
    return one == other or bool(_PLACEHOLDER.fullmatch(one) or _PLACEHOLDER.fullmatch(other))


def _meaningful(grammar: Grammar) -> re.Pattern[str]:
    meaningful = (
        grammar.private_prefix,
        grammar.namespace_boundary,
        grammar.user_boundary,
        grammar.user_separator,
    )
    return re.compile("|".join(re.escape(text) for text in meaningful if text))


def _expression(number: int, alias: _Alias) -> str:
    segments = (
        _PLACEHOLDER.sub("([^/]+)", part) if part[0] == "{" else re.escape(part) for part in alias.segments
    )
    return f"(?P<a{number}>/{'/'.join(segments)})"


def _decoded(segment: bytes) -> str:
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise BadRequest("the path is not UTF-8") from error
