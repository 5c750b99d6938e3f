"""From where a client really comes, when proxies stand in between."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from gapless.core.errors import ConfigError
from gapless.core.limits import ADDRESSES_REMEMBERED_MAX

__all__ = ["Addresses", "neighbourhood"]

IPV6_SITE_BITS: Final = 64  # what one subscriber of a provider has at least (RFC 6177)
_FOR: Final = re.compile(r'(?:^|[;,])\s*for\s*=\s*("[^"]*"|[^;,\s]*)', re.IGNORECASE)  # RFC 7239, 5.2


class Addresses:
    """Believes the listed proxies, networks (CIDR) or single addresses, what they say of who is behind them.

    Raises:
        ConfigError: one is neither a network nor an address.
    """

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        self.replace(trusted_proxies)

    def replace(self, trusted_proxies: Sequence[str]) -> None:
        """Believe others from now on; raises as at the start, and nothing has changed then."""
        self._trusted = [_network(proxy) for proxy in trusted_proxies]

    def of(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the address of the client that `peer` speaks for, or the peer's own.

        Each proxy appends whom it heard from: from the end of `X-Forwarded-For`, or `Forwarded` (RFC 7239),
        the first that is no trusted proxy is the client. A client may write either field itself, and
        a proxy that knows only the other leaves it alone: where they disagree, neither is believed.
        """
        if not self._trusted or not self._is_trusted(peer):
            return peer
        forwarded_for: list[str] = []
        forwarded: list[str] = []
        for name, value in headers:
            if name == b"x-forwarded-for":
                forwarded_for += value.decode("latin-1").split(",")
            elif name == b"forwarded":
                forwarded += _FOR.findall(value.decode("latin-1"))
        told = {self._first(hops, peer) for hops in (forwarded_for, forwarded) if hops}
        return told.pop() if len(told) == 1 else peer

    def _first(self, hops: Sequence[str], peer: str) -> str:
        client = peer
        for hop in reversed(hops):
            address = _parsed(_bare(hop))
            if (
                address is None
            ):  # `unknown`, a hidden name, or nonsense: who was heard from last speaks for it
                return client
            client = str(address)
            if not self._is_trusted(client):
                return client
        return client

    def _is_trusted(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(
            parsed.version == network.version and parsed in network for network in self._trusted
        )


@lru_cache(ADDRESSES_REMEMBERED_MAX)
def neighbourhood(address: str) -> str:
    """Return what an address shares its limits with: in IPv6 a client has as many addresses as it likes."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, IPV6_SITE_BITS), strict=False))
    return address


def _network(proxy: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(proxy, strict=False)
    except ValueError as error:
        raise ConfigError(
            f"http_server.trusted_proxies: {proxy!r} is neither an address nor a network as 10.0.0.0/8"
        ) from error


@lru_cache(ADDRESSES_REMEMBERED_MAX)
def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return (isinstance(parsed, IPv6Address) and parsed.ipv4_mapped) or parsed


def _bare(hop: str) -> str:
    """Return an address without quotes, brackets and port."""
    hop = hop.strip().strip('"')
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    host, colon, port = hop.rpartition(":")
    return host if colon and ":" not in host and port.isdigit() else hop
