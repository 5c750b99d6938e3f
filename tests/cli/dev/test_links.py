"""Links to a server for development, for this machine and for a phone beside it."""

import ipaddress

import pytest

from gapless.cli.dev.links import reached_at


@pytest.mark.parametrize(
    ("address", "link"), [("127.0.0.1", "127.0.0.1"), ("10.0.0.7", "10.0.0.7"), ("::1", "[::1]")]
)
def test_a_server_that_listens_on_one_address_is_reached_there(address: str, link: str) -> None:
    assert reached_at(address) == link


@pytest.mark.parametrize("address", ["0.0.0.0", "::", ""])
def test_a_server_that_listens_on_all_is_reached_by_one_of_them(address: str) -> None:
    assert not ipaddress.ip_address(reached_at(address)).is_unspecified
