"""Texts without the secrets in them, as they may be shown and logged."""

import re
from typing import Final

__all__ = ["HIDDEN", "masked_url"]

HIDDEN: Final = "***"
_LOGIN: Final = re.compile(r"(://[^:/@]*:).*@")
_QUERY: Final = re.compile(r"([?&][^=&]*(?:key|password|secret)=)[^&]*", re.IGNORECASE)


def masked_url(text: str) -> str:
    """Return a text without the passwords and keys of the URLs in it."""
    return _QUERY.sub(rf"\1{HIDDEN}", _LOGIN.sub(rf"\1{HIDDEN}@", text))
