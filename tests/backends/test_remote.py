"""URLs of stores that are joined: what they name, and what is said of those that name nothing."""

from pathlib import Path

import pytest

from gapless import backends
from gapless.backends import Held
from gapless.backends.remote import place_of
from gapless.core.errors import ConfigError
from gapless.ports import Durability
from tests.certificates import certificate


def test_a_socket_is_named_by_its_path() -> None:
    whole = place_of("gapless+unix:///srv/app.db.sock")
    assert whole.path == Path("/srv/app.db.sock")
    assert place_of("gapless+unix:app.db.sock").path == Path("app.db.sock").absolute()


def test_a_place_over_tcp_has_a_key_which_is_in_no_name() -> None:
    place = place_of("gapless+tcp://:s%2Fcret@[::1]:7800")
    assert (place.host, place.port, place.key, place.tls) == ("::1", 7800, b"s/cret", None)
    assert place.name == "gapless+tcp://[::1]:7800"


def test_over_tls_files_are_named_beside_it(tmp_path: Path) -> None:
    pair = certificate().write(tmp_path)
    cert, key = pair.cert_file(tmp_path), pair.key_file(tmp_path)
    place = place_of(f"gapless+tls://:k@host:1?ca_file={cert}&cert_file={cert}&key_file={key}")
    assert place.tls is not None
    with pytest.raises(ConfigError, match=r"gapless\+tls://host:1: a file of it cannot be used"):
        place_of("gapless+tls://:k@host:1?ca_file=/nowhere.pem")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gapless+unix:", "names no socket"),
        ("gapless+tcp:host", "a store is joined at gapless+tcp://:KEY@host:7800"),
        ("gapless+tcp://:secret@host", "a store is joined at"),
        ("gapless+tcp://:secret@host:99999", "gapless+tcp: Port out of range"),
        ("gapless+tcp://user:secret@host:1", "a store is joined at"),
        ("gapless+tcp://:secret@host:1/path", "a store is joined at"),
        ("gapless+tcp://host:7800", "needs the key (store.listen_key there)"),
        ("gapless+tcp://:secret@host:1?ca_file=x", "has no option 'ca_file'"),
        ("gapless+tls://:secret@host:1?ca=x", "has no option 'ca'"),
        ("remote:x", "no store for the scheme 'remote'"),
    ],
)
def test_what_names_no_place_is_refused_without_telling_the_key(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        backends.strongest(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_its_class_and_its_care_are_the_owners() -> None:
    url = "gapless+tcp://:secret@host:7800"
    assert backends.strongest(url) is Durability.QUORUM
    offline = backends.offline(url)
    for begin in (offline.check, offline.compact, lambda: offline.backup("x")):
        with pytest.raises(Held, match="host:7800 is open in another process"):
            next(begin())
    with pytest.raises(Held):
        offline.adopt()
