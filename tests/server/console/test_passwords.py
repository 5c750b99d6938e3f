"""Hashes hold for their password alone; a text that is no hash is a password, and a wrong hash is told."""

import pytest

from gapless.core.errors import ConfigError
from gapless.core.limits import PASSWORD_HASH_BYTES_MAX
from gapless.server.console.passwords import COST, Cost, Hash, hash_of, same

CHEAP = Cost(16, 1, 1)
SALT = b"0123456789abcdef"
DIGEST = "A" * 43 + "="


def test_a_hash_is_found_again_in_what_was_written() -> None:
    made = hash_of("correct horse", SALT, CHEAP)
    read = Hash.read(str(made))
    assert read == made
    assert str(made).startswith("scrypt:16:1:1:MDEyMzQ1Njc4OWFiY2RlZg==:")
    assert "horse" not in str(made)


@pytest.mark.parametrize(
    ("password", "salt"), [("Correct horse", SALT), ("", SALT), ("correct horse", b"other")]
)
def test_another_password_or_salt_has_another_hash(password: str, salt: bytes) -> None:
    assert hash_of(password, salt, CHEAP).digest != hash_of("correct horse", SALT, CHEAP).digest


def test_a_password_of_any_text_has_a_hash() -> None:
    assert hash_of("pässwört 🔑", SALT, CHEAP) == hash_of("pässwört 🔑", SALT, CHEAP)


def test_what_does_not_begin_as_a_hash_is_a_password() -> None:
    assert Hash.read("correct horse") is None
    assert Hash.read("bcrypt:1:2") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scrypt:", "looks like scrypt:<n>:<r>:<p>:<salt>:<hash>"),
        ("scrypt:16:1:1:MDE=", "looks like"),
        ("scrypt:x:1:1:MDE=:AA==", "looks like"),
        ("scrypt:16:1:1:M!E=:AA==", "looks like"),
        ("scrypt:16:1:1:MDE=:AA==", "a hash of 32 bytes"),
        (f"scrypt:16:1:1::{DIGEST}", "a hash of 32 bytes"),
        (f"scrypt:15:1:1:MDE=:{DIGEST}", "power of two"),
        (f"scrypt:0:1:1:MDE=:{DIGEST}", "power of two"),
        (f"scrypt:16:0:1:MDE=:{DIGEST}", "r at least 1"),
        (f"scrypt:16:1:17:MDE=:{DIGEST}", "p from 1 to 16"),
        (f"scrypt:1048576:8:1:MDE=:{DIGEST}", "128 × n × r is up to"),
    ],
)
def test_a_hash_that_cannot_be_is_told(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        Hash.read(text)


def test_what_is_made_by_default_may_be_read() -> None:
    assert 128 * COST.n * COST.r < PASSWORD_HASH_BYTES_MAX
    assert Hash.read(str(Hash(COST, SALT, bytes(32)))) is not None


def test_secrets_are_compared_whole() -> None:
    assert same("a", "a")
    assert not same("a", "ab")
    assert not same("", "a")
