"""What the parameters of a handler, or of a dependency, are given; found out when it is declared.

The first parameter of a handler is its payload. Any other is the delivery object, by its annotation (`Job`,
`Message`), or a dependency (`Depends`), or it has a default.
"""

import inspect
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin, get_type_hints

from gapless.core.errors import ConfigError
from gapless.library.depends import Dependency, dependency_in
from gapless.library.payloads import Shape

__all__ = ["Binding", "Given", "Kind", "Need", "Source", "bind", "named"]


class Kind(Enum):
    """How a callable gives what it gives."""

    VALUE = "value"
    AWAITABLE = "awaitable"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"


class Given(Enum):
    """What a delivery brings along."""

    PAYLOAD = "payload"
    DELIVERY = "delivery"


class Need(NamedTuple):
    """A dependency, with what it needs itself."""

    binding: "Binding"
    use_cache: bool


Source = Given | Need


class Binding:
    """A callable and where its arguments come from. `shape` is its payload's type, None if it takes none."""

    __slots__ = ("arguments", "call", "kind", "needs", "positional", "shape")

    def __init__(
        self,
        call: Callable[..., Any],
        positional: list[Source],
        arguments: dict[str, Source],
        shape: Shape | None,
    ) -> None:
        self.call = call
        self.kind = _kind(call)
        self.positional = positional
        self.arguments = arguments
        self.shape = shape
        self.needs = any(isinstance(source, Need) for source in (*positional, *arguments.values()))


def named(call: Callable[..., Any]) -> str:
    """Return how a callable is called in messages."""
    module, name = getattr(call, "__module__", ""), getattr(call, "__qualname__", "") or repr(call)
    return f"{module}.{name}" if module else name


def bind(call: Callable[..., Any], delivery: type | None, *, takes_payload: bool = False) -> Binding:
    """Find out what `call` is to be given, and what its dependencies are, all the way down.

    `delivery` is the class of the delivery object. Subclasses of it are no use to anybody: it is made here.

    Raises:
        ConfigError: a parameter cannot be given anything; names the function, the parameter and what can be.
    """
    return _Reader(delivery).read(call, takes_payload=takes_payload)


_OPEN: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Reader:
    """Reads signatures, of dependencies within dependencies too."""

    def __init__(self, delivery: type | None) -> None:
        self._delivery = delivery
        self._within: list[Callable[..., Any]] = []

    def read(self, call: Callable[..., Any], *, takes_payload: bool) -> Binding:
        parameters, hints = _signature(call)
        positional: list[Source] = []
        arguments: dict[str, Source] = {}
        shape: Shape | None = None
        for number, parameter in enumerate(parameters):
            annotation = hints.get(parameter.name, inspect.Parameter.empty)
            if number == 0 and takes_payload:
                shape = self._shape(call, parameter, annotation)
                source: Source | None = Given.PAYLOAD
            else:
                source = self._source(call, parameter, annotation)
            if source is None:
                continue
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                positional.append(source)
            else:
                arguments[parameter.name] = source
        if takes_payload and shape is None:
            raise ConfigError(f"{named(call)}: its first parameter has to take the payload; it has none")
        return Binding(call, positional, arguments, shape)

    def _shape(self, call: Callable[..., Any], parameter: inspect.Parameter, annotation: Any) -> Shape:
        where = f"{named(call)}: parameter {parameter.name!r}"
        if parameter.kind in _OPEN or self._is_given(parameter, annotation):
            raise ConfigError(f"{where} is the first, which takes the payload; put it behind that")
        if annotation is inspect.Parameter.empty:
            raise ConfigError(
                f"{where} takes the payload and says not of which type: annotate it (Any may be anything)"
            )
        try:
            return Shape(annotation)
        except TypeError as error:
            raise ConfigError(
                f"{where} takes the payload, which cannot be {annotation!r}: {error}. It can be a msgspec"
                " Struct, a dataclass, a pydantic model, a TypedDict, bytes, or what JSON has (dict, Any)"
            ) from error

    def _is_given(self, parameter: inspect.Parameter, annotation: Any) -> bool:
        return self._is_delivery(annotation) or _dependency(parameter, annotation) is not None

    def _is_delivery(self, annotation: Any) -> bool:
        """Tell whether it is the delivery's class, or that or None."""
        bare = _bare(annotation)
        return self._delivery is not None and (bare is self._delivery or self._delivery in get_args(bare))

    def _source(
        self, call: Callable[..., Any], parameter: inspect.Parameter, annotation: Any
    ) -> Source | None:
        wanted = _dependency(parameter, annotation)
        if wanted is not None:
            return self._need(call, parameter, annotation, wanted)
        if self._is_delivery(annotation):
            return Given.DELIVERY
        if parameter.default is not inspect.Parameter.empty or parameter.kind in _OPEN:
            return None
        allowed = ([self._delivery.__name__] if self._delivery is not None else []) + ["Depends(...)"]
        raise ConfigError(
            f"{named(call)}: nothing can be given to parameter {parameter.name!r}"
            + ("" if annotation is inspect.Parameter.empty else f" of type {annotation!r}")
            + f"; annotate it with {' or give it '.join(allowed)}, or a default"
        )

    def _need(
        self, call: Callable[..., Any], parameter: inspect.Parameter, annotation: Any, wanted: Dependency
    ) -> Need:
        needed = wanted.dependency if wanted.dependency is not None else _bare(annotation)
        if not callable(needed):
            raise ConfigError(f"{named(call)}: parameter {parameter.name!r} depends on what cannot be called")
        if needed in self._within:
            raise ConfigError(f"{named(needed)} depends on itself, by way of {named(call)}")
        self._within.append(needed)
        binding = self.read(needed, takes_payload=False)
        self._within.pop()
        return Need(binding, wanted.use_cache)


def _dependency(parameter: inspect.Parameter, annotation: Any) -> Dependency | None:
    if get_origin(annotation) is Annotated:
        for extra in get_args(annotation)[1:]:
            found = dependency_in(extra)
            if found is not None:
                return found
    return dependency_in(parameter.default)


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _signature(call: Callable[..., Any]) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{named(call)}: its parameters cannot be told: {error}") from error
    typed = _function(call.__init__ if isinstance(call, type) else call)  # type: ignore[misc]
    try:
        return parameters, get_type_hints(typed, include_extras=True)
    except NameError as error:
        raise ConfigError(
            f"{named(call)}: an annotation is not known where it is declared: {error}"
        ) from error
    except TypeError:
        return parameters, {}


def _kind(call: Callable[..., Any]) -> Kind:
    function = _function(call)
    if inspect.isasyncgenfunction(function):
        return Kind.ASYNC_GENERATOR
    if inspect.isgeneratorfunction(function):
        return Kind.GENERATOR
    return Kind.AWAITABLE if inspect.iscoroutinefunction(function) else Kind.VALUE


def _function(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function behind a partial one, or behind an object that can be called."""
    while isinstance(call, partial):
        call = call.func
    if inspect.isroutine(call) or isinstance(call, type):
        return call
    called: Callable[..., Any] = type(call).__call__
    return called
