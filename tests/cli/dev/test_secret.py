"""The key of tokens while one develops."""

from random import Random

import pytest

from gapless.cli.dev.secret import with_secret
from gapless.server.config import Config, Source, read

KEYS = (
    "hmac_secret_key", "rsa_public_key", "ecdsa_public_key", "ed25519_public_key", "jwks_public_endpoint"
)  # fmt: skip


def configured(**token: str) -> Config:
    return read([Source(name="test", tree={"client": {"token": token}})])


def test_without_a_key_there_is_one_of_this_run() -> None:
    made = with_secret(configured(audience="here"), Random(1)).client.token
    assert len(made.hmac_secret_key) == 64
    assert made.audience == "here"
    assert with_secret(configured(), Random(2)).client.token.hmac_secret_key != made.hmac_secret_key


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_is_configured_is_the_only_one(key: str) -> None:
    value = "https://there.example/keys" if key.startswith("jwks") else "x" * 32
    config = configured(**{key: value})
    assert with_secret(config, Random(1)) is config
