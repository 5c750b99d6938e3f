"""Makes the arguments of one delivery: dependencies once each, and puts them away at the end."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import lru_cache, partial
from inspect import isawaitable
from typing import Any, Final

from gapless.library.binding import Binding, Given, Kind, Need, Source, bind

__all__ = ["InThread", "Overrides", "Scope"]

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Calls what may block where it holds nobody up."""
Overrides = Mapping[Callable[..., Any], Callable[..., Any]]
"""What stands in for dependencies, in tests."""

_OVERRIDES_REMEMBERED_MAX: Final = 1_024
_bind: Final = lru_cache(_OVERRIDES_REMEMBERED_MAX)(bind)


class Scope:
    """One delivery. `stack` puts away what was made, last first."""

    def __init__(
        self,
        payload: object,
        delivery: object,
        stack: AsyncExitStack,
        in_thread: InThread,
        overrides: Overrides,
    ) -> None:
        self._payload = payload
        self._delivery = delivery
        self._stack = stack
        self._in_thread = in_thread
        self._overrides = overrides
        self._made: dict[Callable[..., Any], Any] = {}

    async def call(self, binding: Binding, run: InThread | None = None) -> Any:
        """Call what is bound, with its arguments; return what it returns, or its first `yield`.

        `run` calls it if it is a plain function; without, a thread does.
        """
        if binding.needs:
            args = [await self._value(source) for source in binding.positional]
            kwargs = {name: await self._value(source) for name, source in binding.arguments.items()}
        else:
            args = [self._given(source) for source in binding.positional]
            kwargs = {name: self._given(source) for name, source in binding.arguments.items()}
        return await self._called(binding, args, kwargs, run or self._in_thread)

    def _given(self, source: Source) -> Any:
        return self._payload if source is Given.PAYLOAD else self._delivery

    async def _value(self, source: Source) -> Any:
        if not isinstance(source, Need):
            return self._given(source)
        binding = source.binding
        override = self._overrides.get(binding.call)
        if override is not None:
            delivery_class: Any = type(self._delivery)
            binding = _bind(override, delivery_class)
        if not source.use_cache:
            return await self.call(binding)
        if binding.call not in self._made:
            self._made[binding.call] = await self.call(binding)
        return self._made[binding.call]

    async def _called(self, binding: Binding, args: list[Any], kwargs: dict[str, Any], run: InThread) -> Any:
        match binding.kind:
            case Kind.AWAITABLE:
                return await binding.call(*args, **kwargs)
            case Kind.ASYNC_GENERATOR:
                entered = asynccontextmanager(binding.call)(*args, **kwargs)
                return await self._stack.enter_async_context(entered)
            case Kind.GENERATOR:
                return await self._stack.enter_async_context(self._threaded(binding.call, args, kwargs))
        value = await run(partial(binding.call, *args, **kwargs))
        return await value if isawaitable(value) else value

    @asynccontextmanager
    async def _threaded(
        self, generator: Callable[..., Iterator[Any]], args: list[Any], kwargs: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """Run both halves of a plain generator in a thread: it may block."""
        within = contextmanager(generator)(*args, **kwargs)
        value = await self._in_thread(within.__enter__)
        try:
            yield value
        except BaseException as error:
            failed = error  # the name in `except` ends with it
            if not await self._in_thread(lambda: within.__exit__(type(failed), failed, failed.__traceback__)):
                raise
        else:
            await self._in_thread(lambda: within.__exit__(None, None, None))
