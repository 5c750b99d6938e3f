"""What Redis refuses, as errors of the tree."""

from gapless.core import errors
from gapless.core.errors import (
    BadRequest,
    GaplessError,
    StoreDamaged,
    StoreFull,
    StoreRefused,
    Unavailable,
)

__all__ = ["by_code", "translated"]


def _by_code() -> dict[str, type[GaplessError]]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.code: kind for kind in kinds if issubclass(kind, GaplessError)}
    return codes | {BadRequest.code: BadRequest}  # which has its parent's


_KINDS = _by_code()


def by_code(code: str, message: str) -> GaplessError:
    """Return the error that a function told by its code."""
    return _KINDS.get(code, GaplessError)(message)


def translated(told: str) -> GaplessError:
    """Return what an error reply means. Nothing was stored, unless it is OutcomeUnknown."""
    told, _, _ = told.partition(" script: ")  # after which Redis names the function and its line
    kind, _, rest = told.partition(" ")
    match kind:
        case "GAPLESS":  # GAPLESS <code> <message>: of our own functions
            code, _, message = rest.partition(" ")
            return by_code(code, message)
        case "OOM":
            return StoreFull("Redis has no memory left (maxmemory): make room, or raise it")
        case "MISCONF":
            return StoreFull(f"Redis cannot write to its disk, and takes no more: {rest}")
        case "NOAUTH" | "WRONGPASS" | "NOPERM":
            return StoreRefused(f"Redis refuses the user or password ({rest})")
        case "WRONGTYPE":
            return StoreDamaged(
                "a key of the store holds something else: another program uses the same prefix"
            )
        case (
            "MOVED"
            | "ASK"
            | "READONLY"
            | "CLUSTERDOWN"
            | "LOADING"
            | "MASTERDOWN"
            | "BUSY"
            | "NOREPLICAS"
            | "TRYAGAIN"
            | "AGAIN"
        ):
            return Unavailable(f"Redis cannot take it now ({told}); nothing was stored")
    return GaplessError(f"Redis: {told}")
