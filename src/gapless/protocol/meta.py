"""What travels beside a payload, in the form in which stores keep it: a JSON object."""

from typing import Final

import msgspec
from msgspec import Struct

from gapless.protocol.messages import ClientInfo

__all__ = ["CHANNEL_TAG", "KEY_TAG", "OWN_TAGS", "Meta", "is_json", "read_meta", "with_tag"]

OWN_TAGS: Final = "gapless-"  # how tags begin that are no headers
KEY_TAG: Final = "gapless-key"
CHANNEL_TAG: Final = "gapless-channel"


class Meta(Struct, gc=False, omit_defaults=True):
    """The publisher, tags, and whether the payload is something else than JSON.

    Tags are what a job, or a message of a declared stream, has as headers. A message's key in its stream, and
    the channel that it is a copy from, are tags too: so whoever follows a partition as a channel is told.
    """

    info: ClientInfo | None = None
    tags: dict[str, str] = {}
    binary: bool = False

    def encoded(self) -> bytes:
        """Return the stored form, empty when there is nothing to keep."""
        encoded = msgspec.json.encode(self)
        return b"" if encoded == b"{}" else encoded


read_meta: Final = msgspec.json.Decoder(Meta).decode
"""Read the stored form, which is not empty."""


def with_tag(meta: bytes, name: str, value: str) -> bytes:
    """Return the stored form with one tag more."""
    held = read_meta(meta) if meta else Meta()
    return msgspec.structs.replace(held, tags={**held.tags, name: value}).encoded()


def is_json(data: bytes) -> bool:
    """Tell whether a payload is one JSON text, so that JSON connections can be told it."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
