"""Dependencies: what a handler needs besides its message, made for each delivery and put away afterwards.

As FastAPI's `Depends`, whose own objects are taken as well: anything that has a `dependency` and `use_cache`.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

__all__ = ["Dependency", "Depends", "dependency_in"]


class Dependency(Struct, frozen=True):
    """What `Depends` leaves in a signature; without a `dependency` it is the class of the annotation."""

    dependency: Callable[..., Any] | None = None
    use_cache: bool = True


def Depends(dependency: Callable[..., Any] | None = None, *, use_cache: bool = True) -> Any:  # noqa: N802
    """Say that a parameter is what `dependency` returns, or yields: a function, async or plain, or a class.

    What follows the `yield` of a generator is done when the handler has ended, before the message is
    acknowledged; an error there fails the delivery. Dependencies may have dependencies, and take the
    delivery object by its annotation. One that is used in several places is made once for each delivery,
    unless `use_cache` is False.
    """
    return Dependency(dependency, use_cache)


def dependency_in(value: object) -> Dependency | None:
    """Return the dependency that a default value, or an annotation's extra, stands for, if it is one."""
    if isinstance(value, Dependency):
        return value
    if hasattr(value, "dependency") and hasattr(value, "use_cache"):
        return Dependency(value.dependency, bool(value.use_cache))
    return None
