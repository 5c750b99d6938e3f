"""Which web pages may connect: a browser names the page's origin, and a foreign one must be allowed."""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from gapless.core.errors import ConfigError

__all__ = ["Origins", "check", "is_local"]

# Names that nobody can have on the internet: RFC 6761, 6762 and 8375, what is reserved, and what routers use.
LOCAL: Final = (".localhost", ".local", ".test", ".home.arpa", ".internal", ".lan")
_EITHER: Final = re.compile(r"\\\{([^{}]*)\\\}")


class Origins:
    """The allow-list of origins, matched without regard to case.

    A pattern is an origin such as `https://example.com` in which `*` stands for any characters and `?` for
    one, but not for a slash, and `{a,b}` for either; `*` alone allows every origin. The server's own origin
    is always allowed, whatever the scheme (TLS may end before us), and so is a request without one: it does
    not come from a web page (OWASP ASVS 4.4.2).
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self.replace(patterns)

    def replace(self, patterns: Iterable[str]) -> None:
        """Allow these from now on."""
        lower = [pattern.lower() for pattern in patterns]
        self._any = "*" in lower
        self._allowed = re.compile("|".join(map(_expression, lower))) if lower else None

    def allow(self, origin: str | None, host: str) -> bool:
        """Tell whether a request with these Origin and Host fields may go on."""
        if origin is None or self._any:
            return True
        origin = origin.lower()
        scheme, separator, rest = origin.partition("://")
        if separator and scheme in ("http", "https") and rest == host.lower():
            return True
        return self._allowed is not None and self._allowed.fullmatch(origin) is not None


def is_local(host: str) -> bool:
    """Tell whether a Host field is an address, or a name that nobody has on the internet.

    Whoever has one there can lead it here for a moment, and his page is of this origin then: DNS rebinding.
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ip_address(name)
    except ValueError:
        return "." not in name or name.lower().rstrip(".").endswith(LOCAL)
    return True


def check(pattern: str) -> None:
    """Refuse (`ConfigError`) a pattern that is no origin: no browser would ever name one that it matches."""
    if pattern in ("*", "null"):  # a page without an origin of its own names null
        return
    scheme, separator, rest = pattern.partition("://")
    if not separator or not scheme:
        origin = f"https://{rest or scheme}"
        raise ConfigError(
            f"client.allowed_origins: {pattern!r} never matches: write the scheme too, as in {origin!r}"
        )
    if "/" in rest:
        origin = f"{scheme}://{rest.partition('/')[0]}"
        raise ConfigError(
            f"client.allowed_origins: {pattern!r} never matches: an origin has no path, write {origin!r}"
        )


def _expression(pattern: str) -> str:
    expression = re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return _EITHER.sub(lambda found: f"(?:{found[1].replace(',', '|')})", expression)
