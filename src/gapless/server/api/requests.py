"""What a backend may ask. Names are Centrifugo's; fields that are not listed are ignored, as there."""

import base64
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from gapless.core.errors import BadRequest, NotAvailable
from gapless.protocol.messages import StreamPosition
from gapless.protocol.meta import Meta as Beside
from gapless.protocol.meta import is_json

__all__ = [
    "BatchRequest",
    "BroadcastRequest",
    "Command",
    "Content",
    "HistoryRequest",
    "InfoRequest",
    "PublishRequest",
]


class Content(Struct, gc=False):
    """What is published: `data`, any JSON, or `b64data`, any bytes; and how.

    `idempotency_key` makes a retry within 24 hours the same publication. `skip_history` passes the message
    on without keeping it. `version` is not available yet, `delta` has no effect.
    """

    data: msgspec.Raw = msgspec.Raw()
    b64data: str | None = None
    tags: dict[str, str] | None = None
    idempotency_key: str | None = None
    skip_history: bool | None = None
    version: int | None = None

    def payload(self) -> tuple[bytes, bytes, bool]:
        """Return the data, what is stored beside it, and whether it is something else than JSON.

        Raises:
            BadRequest: there is no data, or what there is is not base64.
            NotAvailable: a version was asked for.
        """
        data = bytes(self.data)
        if data and self.b64data is None and self.tags is None and self.version is None:
            return data, b"", False
        return self._unusual(data)

    def _unusual(self, data: bytes) -> tuple[bytes, bytes, bool]:
        if self.version:
            raise NotAvailable("versions are not available")
        binary = False
        if self.b64data:
            data = _from_base64(self.b64data)
            binary = not is_json(data)
        if not data:
            raise BadRequest("a publication needs data or b64data")
        beside = Beside(tags=self.tags or {}, binary=binary).encoded() if self.tags or binary else b""
        return data, beside, binary


class PublishRequest(Content, gc=False):
    """Publish to one channel."""

    channel: str = ""


class BroadcastRequest(Content, gc=False):
    """Publish the same to several channels. The idempotency key holds for each of them."""

    channels: list[str] = []


class HistoryRequest(Struct, gc=False):
    """Read what a channel keeps: up to `limit` messages, all there is room for when negative, none when 0."""

    channel: str = ""
    limit: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    since: StreamPosition | None = None
    reverse: bool | None = None


class InfoRequest(Struct, gc=False):
    """Ask how the nodes are."""


class Command(Struct, gc=False):
    """One step of a batch: exactly one field is set."""

    publish: PublishRequest | None = None
    broadcast: BroadcastRequest | None = None
    history: HistoryRequest | None = None
    info: InfoRequest | None = None


class BatchRequest(Struct, gc=False):
    """Several commands, in order unless `parallel`. An error ends one command, not the others."""

    commands: list[Command] = []
    parallel: bool | None = None


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise BadRequest("b64data is not base64") from error
