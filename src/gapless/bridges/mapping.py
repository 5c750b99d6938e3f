"""How a message of Redis Pub/Sub becomes a publication: the name of its channel, and its payload."""

from base64 import b64encode
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct

from gapless.core.errors import BadRequest, ConfigError
from gapless.protocol.meta import is_json

__all__ = ["NAME", "Mapping", "channel_of"]

NAME: Final = "{channel}"
NAMES_REMEMBERED_MAX: Final = 1_024
_encode: Final = msgspec.json.Encoder().encode


class Mapping(Struct, frozen=True):
    """The rules: `strip` is taken off the beginning of a name, which then stands for NAME in `to`.

    A payload that is JSON is published as it is. Any other is a text, or with `binary` bytes.

    Raises:
        ConfigError: `to` is empty, or something else than NAME stands in braces in it.
    """

    strip: str = ""
    to: str = NAME
    binary: bool = False

    def __post_init__(self) -> None:
        if not self.to:
            raise ConfigError("--to names no channel")
        if set("{}") & set(self.to.replace(NAME, "")):
            raise ConfigError(f"--to {self.to!r}: only {NAME} stands in braces")

    def command(self, name: bytes, payload: bytes, key: str) -> bytes:
        """Return what publishes a message with an idempotency key: one command of a batch, in JSON.

        Raises:
            BadRequest: its name or payload is neither JSON nor UTF-8.
        """
        field, data = self._data(payload)
        channel = _place(self, name)
        return b'{"publish":{"channel":%b,"%b":%b,"idempotency_key":"%b"}}' % (
            channel,
            field,
            data,
            key.encode(),
        )

    def _data(self, payload: bytes) -> tuple[bytes, bytes]:
        if is_json(payload):
            return b"data", payload
        if self.binary and payload:
            return b"b64data", b'"%b"' % b64encode(payload)
        try:
            return b"data", _encode(payload.decode())
        except UnicodeDecodeError as error:
            raise BadRequest(
                "it is neither JSON nor UTF-8; --binary publishes such bytes as they are"
            ) from error


@lru_cache(NAMES_REMEMBERED_MAX)
def _place(mapping: Mapping, name: bytes) -> bytes:
    try:
        return _encode(mapping.to.replace(NAME, name.decode().removeprefix(mapping.strip)))
    except UnicodeDecodeError as error:
        raise BadRequest("its channel's name is not UTF-8") from error


class _Publication(Struct):
    channel: str


class _Command(Struct):
    publish: _Publication


def channel_of(command: bytes) -> str:
    """Return the channel that a command publishes to."""
    return msgspec.json.decode(command, type=_Command).publish.channel
