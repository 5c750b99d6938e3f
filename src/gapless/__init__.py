"""gapless: messages that must not get lost. Channels, queues and streams, on one durable log."""

TYPE_CHECKING = False  # as type checkers know it; `typing` alone takes longer to import than all of this
if TYPE_CHECKING:
    from gapless.core import errors
    from gapless.core.stream import Position
    from gapless.library import hooks
    from gapless.library.delivery import Job, Message
    from gapless.library.depends import Depends
    from gapless.library.gapless import Gapless
    from gapless.library.hooks import Refuse
    from gapless.library.outcomes import Backoff, Reject, Release, Retry
    from gapless.library.router import Router
    from gapless.library.running import Middleware

__version__ = "0.1.0"
__all__ = [
    "Backoff",
    "Depends",
    "Gapless",
    "Job",
    "Message",
    "Middleware",
    "Position",
    "Refuse",
    "Reject",
    "Release",
    "Retry",
    "Router",
    "__version__",
    "errors",
    "hooks",
]

# Imported when first asked for: `import gapless` alone costs next to nothing.
_FOUND_IN = {
    "Backoff": "library.outcomes",
    "Depends": "library.depends",
    "Gapless": "library.gapless",
    "Job": "library.delivery",
    "Message": "library.delivery",
    "Middleware": "library.running",
    "Position": "core.stream",
    "Refuse": "library.hooks",
    "Reject": "library.outcomes",
    "Release": "library.outcomes",
    "Retry": "library.outcomes",
    "Router": "library.router",
}
_MODULES = {"errors": "core.errors", "hooks": "library.hooks"}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    if name not in _FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_FOUND_IN[name]}"), name)
    globals()[name] = found
    return found
