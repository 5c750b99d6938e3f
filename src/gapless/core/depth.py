"""How deep a JSON text is nested, found without parsing it."""

import re
from typing import Final

__all__ = ["too_deep"]

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_REST: Final = bytes(set(range(256)) - set(b"[]{}"))


def too_deep(text: bytes, depth_max: int) -> bool:
    """Tell whether a sound JSON text is nested deeper than `depth_max`."""
    if text.count(b"[") + text.count(b"{") <= depth_max:
        return False
    brackets = _STRING.sub(b"", text).translate(None, _REST)
    for _ in range(depth_max):
        if not brackets:
            return False
        # Each round takes away at least the innermost level everywhere.
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)
