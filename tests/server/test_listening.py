"""Where other machines may join: what is refused before anything is opened."""

import ssl
from pathlib import Path

import pytest

from gapless.core.errors import ConfigError
from gapless.server.config.model import Store, Tls
from gapless.server.listening import listen_of, mistakes
from tests.certificates import certificate

KEY = "a-key-of-thirty-two-characters-or-more"
NOW_MS = 1_800_000_000_000


def test_nowhere_is_the_default() -> None:
    assert listen_of(Store(), NOW_MS) is None
    assert not list(mistakes(Store(), NOW_MS))


@pytest.mark.parametrize(
    ("url", "host", "port"), [("tcp://127.0.0.1:7800", "127.0.0.1", 7800), ("tcp://[::1]:0", "::1", 0)]
)
def test_a_place_has_a_host_and_a_port(url: str, host: str, port: int) -> None:
    found = listen_of(Store(listen=url, listen_key=KEY), NOW_MS)
    assert found is not None
    assert (found.host, found.port, found.key, found.tls) == (host, port, KEY.encode(), None)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:7800", "tcp://127.0.0.1", "tcp://:7800", "tcp://a:99999", "udp://a:1", "tcp://k@a:1"]
)
def test_what_is_no_place_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.listen: .* write tcp://127\.0\.0\.1:7800"):
        listen_of(Store(listen=url, listen_key=KEY), NOW_MS)


@pytest.mark.parametrize("key", ["", "x" * 31])
def test_without_a_key_that_cannot_be_guessed_nobody_is_let_in(key: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.listen_key: has to be 32 random characters"):
        listen_of(Store(listen="tcp://127.0.0.1:7800", listen_key=key), NOW_MS)


def test_only_a_file_is_shared() -> None:
    store = Store(url="redis://localhost", listen="tcp://127.0.0.1:7800", listen_key=KEY)
    assert [mistake.partition(":")[0] for mistake in mistakes(store, NOW_MS)] == ["store.listen"]


def test_tls_is_read_from_its_own_section(tmp_path: Path) -> None:
    pair = certificate()

    def store(**given: str) -> Store:
        tls = Tls(enabled=True, **given)
        return Store(listen="tcp://127.0.0.1:7800", listen_key=KEY, listen_tls=tls)

    now_ms = int(tmp_path.stat().st_mtime * 1000)
    found = listen_of(store(cert_pem=pair.cert, key_pem=pair.key), now_ms)
    assert found is not None
    assert isinstance(found.tls, ssl.SSLContext)
    with pytest.raises(ConfigError, match=r"store\.listen_tls\.cert_pem: is missing"):
        listen_of(store(key_pem=pair.key), now_ms)
