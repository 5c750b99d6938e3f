"""The key that tokens are made with while one develops: without one, the console could not make any."""

from random import Random
from typing import Final

from msgspec.structs import replace

from gapless.server.config import Config
from gapless.server.signing import has_key

__all__ = ["with_secret"]

SECRET_BYTES: Final = 32


def with_secret(config: Config, random: Random) -> Config:
    """Return a configuration that has a key for tokens: one of this run, if none was configured."""
    client = config.client
    if has_key(client.token):
        return config
    token = replace(client.token, hmac_secret_key=random.randbytes(SECRET_BYTES).hex())
    return replace(config, client=replace(client, token=token))
