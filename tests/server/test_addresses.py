"""Whom a proxy is believed to speak for."""

import pytest

from gapless.core.errors import ConfigError
from gapless.server.addresses import Addresses, neighbourhood

PROXIES = ["10.0.0.0/8", "192.0.2.1", "fd00::/8"]


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", [("x-forwarded-for", "198.51.100.7")], "203.0.113.9"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", [("x-forwarded-for", "198.51.100.7")], "198.51.100.7"),
        ("10.1.2.3", [("x-forwarded-for", " 198.51.100.7 , 10.9.9.9")], "198.51.100.7"),
        ("10.1.2.3", [("x-forwarded-for", "6.6.6.6, 198.51.100.7")], "198.51.100.7"),
        ("10.1.2.3", [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "198.51.100.7")], "198.51.100.7"),
        ("10.1.2.3", [("x-forwarded-for", "10.4.4.4, 10.9.9.9")], "10.4.4.4"),
        ("10.1.2.3", [("x-forwarded-for", "198.51.100.7:4711")], "198.51.100.7"),
        ("10.1.2.3", [("x-forwarded-for", "2001:db8::7")], "2001:db8::7"),
        ("10.1.2.3", [("x-forwarded-for", "[2001:db8::7]:4711")], "2001:db8::7"),
        ("10.1.2.3", [("x-forwarded-for", "::ffff:198.51.100.7")], "198.51.100.7"),
        ("10.1.2.3", [("x-forwarded-for", "nonsense")], "10.1.2.3"),
        ("10.1.2.3", [("x-forwarded-for", "6.6.6.6, unknown, 10.9.9.9")], "10.9.9.9"),
        ("10.1.2.3", [("x-forwarded-for", "")], "10.1.2.3"),
        ("fd00::1", [("x-forwarded-for", "198.51.100.7")], "198.51.100.7"),
        ("192.0.2.1", [("forwarded", "for=198.51.100.7;proto=https")], "198.51.100.7"),
        ("192.0.2.1", [("forwarded", 'for=6.6.6.6, For="[2001:db8::7]:80";by=10.0.0.1')], "2001:db8::7"),
        ("192.0.2.1", [("forwarded", "by=198.51.100.7")], "192.0.2.1"),
        ("192.0.2.1", [("forwarded", "for=_hidden")], "192.0.2.1"),
        ("192.0.2.2", [("forwarded", "for=198.51.100.7")], "192.0.2.2"),
        ("10.1.2.3", [("forwarded", "for=7.7.7.7"), ("x-forwarded-for", "7.7.7.7")], "7.7.7.7"),
        ("10.1.2.3", [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "7.7.7.7")], "10.1.2.3"),
        ("", [("x-forwarded-for", "198.51.100.7")], ""),
    ],
)
def test_only_listed_proxies_are_believed(peer: str, headers: list[tuple[str, str]], client: str) -> None:
    fields = [(name.encode(), value.encode()) for name, value in headers]
    assert Addresses(PROXIES).of(peer, fields) == client


def test_nobody_is_believed_unless_listed() -> None:
    assert Addresses().of("10.1.2.3", [(b"x-forwarded-for", b"198.51.100.7")]) == "10.1.2.3"


@pytest.mark.parametrize("proxy", ["nonsense", "10.0.0.0/33", "", "proxy.example"])
def test_what_is_no_network_is_refused(proxy: str) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        Addresses([proxy])


@pytest.mark.parametrize(
    ("address", "shared"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.7", "::ffff:198.51.100.7"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_network_of_ipv6_is_one_neighbourhood(address: str, shared: str) -> None:
    assert neighbourhood(address) == shared
