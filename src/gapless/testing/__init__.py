"""Tests: `TestGapless` runs handlers on a virtual clock, `serving` a node, `conformance` is for stores."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gapless.testing.recording import Delivered
    from gapless.testing.running import TestGapless, harness
    from gapless.testing.serving import Server, serving

__all__ = ["Delivered", "Server", "TestGapless", "harness", "serving"]

_FOUND_IN = {
    "Delivered": ("recording", "Delivered"),
    "Server": ("serving", "Server"),
    "TestGapless": ("running", "TestGapless"),
    "harness": ("running", "harness"),
    "serving": ("serving", "serving"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, there = _FOUND_IN[name]
    return getattr(import_module(f"{__name__}.{module}"), there)
