"""The verbs without a loop, each made of the one that awaits: for scripts, threads, Django views."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from functools import update_wrapper
from types import TracebackType
from typing import Any, Concatenate, Final, Generic, ParamSpec, Self, TypeVar

from gapless.library.gapless import Gapless
from gapless.library.streaming import Streams
from gapless.library.tending import Jobs, Queues, Schedules

__all__ = ["Blocking"]

Given = ParamSpec("Given")
Result = TypeVar("Result")

_END: Final = object()


class _Facade:
    """Something whose methods await, and the Gapless that waits for them."""

    def __init__(self, gl: Gapless, target: Any) -> None:
        self._gl = gl
        self._target = target


class _Waiting(Generic[Given, Result]):
    """A method that waits for the one that awaits."""

    def __init__(self, method: Callable[Concatenate[Any, Given], Coroutine[Any, Any, Result]]) -> None:
        self._method = method

    def __get__(self, facade: _Facade, kind: type[_Facade]) -> Callable[Given, Result]:
        def wait(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            return facade._gl.wait_for(self._method(facade._target, *args, **kwargs))

        return update_wrapper(wait, self._method)


class _Following(Generic[Given, Result]):
    """A generator made of an asynchronous one."""

    def __init__(self, method: Callable[Concatenate[Any, Given], AsyncGenerator[Result, None]]) -> None:
        self._method = method

    def __get__(self, facade: _Facade, kind: type[_Facade]) -> Callable[Given, Iterator[Result]]:
        def iterate(*args: Given.args, **kwargs: Given.kwargs) -> Iterator[Result]:
            items = self._method(facade._target, *args, **kwargs)
            try:
                while (item := facade._gl.wait_for(_next(items))) is not _END:
                    yield item
            finally:
                facade._gl.wait_for(items.aclose())

        return update_wrapper(iterate, self._method)


class _BlockingJobs(_Facade):
    look = _Waiting(Jobs.look)
    result = _Waiting(Jobs.result)
    browse = _Waiting(Jobs.browse)
    redrive = _Waiting(Jobs.redrive)
    purge = _Waiting(Jobs.purge)
    cancel = _Waiting(Jobs.cancel)


class _BlockingQueues(_Facade):
    declare = _Waiting(Queues.declare)
    drop = _Waiting(Queues.drop)
    list = _Waiting(Queues.list)
    stats = _Waiting(Queues.stats)
    pause = _Waiting(Queues.pause)
    resume = _Waiting(Queues.resume)


class _BlockingSchedules(_Facade):
    add = _Waiting(Schedules.add)
    remove = _Waiting(Schedules.remove)
    list = _Waiting(Schedules.list)


class _BlockingStreams(_Facade):
    declare = _Waiting(Streams.declare)
    drop = _Waiting(Streams.drop)
    list = _Waiting(Streams.list)
    page = _Waiting(Streams.page)
    find = _Waiting(Streams.find)
    trim = _Waiting(Streams.trim)
    compact = _Waiting(Streams.compact)
    audit = _Waiting(Streams.audit)
    groups = _Waiting(Streams.groups)
    lag = _Waiting(Streams.lag)
    seek = _Waiting(Streams.seek)
    drop_group = _Waiting(Streams.drop_group)
    heartbeat = _Waiting(Streams.heartbeat)
    leave = _Waiting(Streams.leave)
    fetch = _Waiting(Streams.fetch)
    commit = _Waiting(Streams.commit)
    follow = _Following(Streams.follow)
    replay = _Following(Streams.replay)


class Blocking(_Facade):
    """Each verb of `Gapless`, which waits instead of being awaited; safe in any thread without a loop.

    Each raises what it does there, and BadRequest where an event loop runs in this thread. As a context
    manager it closes the Gapless at the end.
    """

    def __init__(self, gl: Gapless) -> None:
        super().__init__(gl, gl)
        self.jobs = _BlockingJobs(gl, gl.jobs)
        self.queues = _BlockingQueues(gl, gl.queues)
        self.schedules = _BlockingSchedules(gl, gl.schedules)
        self.streams = _BlockingStreams(gl, gl.streams)

    publish = _Waiting(Gapless.publish)
    history = _Waiting(Gapless.history)
    subscribe = _Following(Gapless.subscribe)
    append = _Waiting(Gapless.append)
    append_many = _Waiting(Gapless.append_many)
    enqueue = _Waiting(Gapless.enqueue)
    enqueue_many = _Waiting(Gapless.enqueue_many)
    claim = _Waiting(Gapless.claim)
    extend = _Waiting(Gapless.extend)
    settle = _Waiting(Gapless.settle)
    declare = _Waiting(Gapless.declare)
    close = _Waiting(Gapless.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def _next(items: AsyncGenerator[Any, None]) -> Any:
    return await anext(items, _END)
