"""A store's URL names a Redis, its Sentinels or some of a Cluster, and nothing by mistake."""

import pytest

from gapless.backends.redis.address import Address
from gapless.core.errors import ConfigError


def test_a_url_names_host_port_user_and_database() -> None:
    address = Address.read("redis://app:s%40cret@cache.example:6380/3?prefix=chat")
    assert (address.hosts, address.user, address.password) == ((("cache.example", 6380),), "app", "s@cret")
    assert (address.db, address.prefix, address.tag, address.tls) == (3, "chat", "{chat}", False)


def test_what_a_url_leaves_out_is_the_usual() -> None:
    assert Address.read("redis://:secret@").hosts == (("127.0.0.1", 6379),)
    assert Address.read("redis://cache.example") == Address(hosts=(("cache.example", 6379),))
    assert Address.read("redis://[::1]:7000").hosts == (("::1", 7000),)


def test_a_password_may_stand_alone() -> None:
    address = Address.read("redis://:secret@h")
    assert (address.user, address.password) == ("", "secret")


def test_tls_has_files_of_its_own() -> None:
    address = Address.read("rediss://h?ca=/a.pem&cert=/b.pem&key=/b.key")
    assert (address.tls, address.ca, address.cert, address.key) == (True, "/a.pem", "/b.pem", "/b.key")
    assert Address.read("redis+sentinel://h/m?tls=true").tls


def test_sentinels_name_a_master() -> None:
    address = Address.read("redis+sentinel://a,b:26380/main/2?sentinel_user=watch&sentinel_password=out")
    assert (address.hosts, address.master, address.db) == ((("a", 26379), ("b", 26380)), "main", 2)
    assert (address.sentinel_user, address.sentinel_password) == ("watch", "out")
    assert address.may_fail_over


def test_a_cluster_is_named_by_some_of_it() -> None:
    address = Address.read("redis+cluster://a:7000,b:7001")
    assert (address.hosts, address.is_cluster, address.may_fail_over) == (
        (("a", 7000), ("b", 7001)),
        True,
        True,
    )
    assert not Address.read("redis://a").may_fail_over


@pytest.mark.parametrize(
    "url",
    [
        "redis:",
        "redis://",
        "memcached://h",
        "redis://h:port",
        "redis://h:70000",
        "redis://h/one",
        "redis://h/1/2",
        "redis://h?prefx=a",
        "redis://h?prefix=",
        "redis://h?prefix={a}",
        f"redis://h?prefix={'a' * 65}",
        "redis+sentinel://h",
        "redis+cluster://h/1",
    ],
)
def test_what_names_no_redis_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        Address.read(url)


def test_no_error_tells_a_password() -> None:
    for url in ("memcached://a:secret@h", "redis://a:secret@h:port", "redis://a:secret@h/one"):
        with pytest.raises(ConfigError) as refused:
            Address.read(url)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("told", "tls"), [("1", True), ("True", True), ("yes", True), ("no", False), ("0", False)]
)
def test_tls_is_switched_by_a_word(told: str, tls: bool) -> None:
    assert Address.read(f"redis+cluster://a?tls={told}").tls is tls


def test_a_word_that_is_neither_yes_nor_no_is_refused() -> None:
    with pytest.raises(ConfigError, match="tls is true or false, not 'maybe'"):
        Address.read("redis://a?tls=maybe")
