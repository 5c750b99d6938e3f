"""What the parameters of handlers are given, and what cannot be."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Annotated, Any

import pytest
from fastapi import Depends as FastDepends
from msgspec import Struct

from gapless.core.errors import ConfigError
from gapless.library.binding import bind
from gapless.library.delivery import Job, Message
from gapless.library.depends import Depends
from gapless.library.resolving import Overrides, Scope
from tests.library.deliveries import job
from tests.server.serving import on_a_loop


class Mail(Struct):
    to: str


class Opaque:
    pass


def given(call: Callable[..., Any], overrides: Overrides | None = None) -> Any:
    """Call a handler of `Mail("ada")`, as a delivery would."""

    async def run() -> Any:
        async with AsyncExitStack() as stack:
            scope = Scope(Mail("ada"), job(), stack, asyncio.to_thread, overrides or {})
            return await scope.call(bind(call, Job, takes_payload=True))

    return asyncio.run(run())


def test_the_first_parameter_is_the_payload_and_the_job_comes_by_its_annotation() -> None:
    async def handler(mail: Mail, *, job: Job, other: int = 5) -> tuple[str, str, int]:
        return mail.to, job.id, other

    assert given(handler) == ("ada", "7-g", 5)


def test_a_job_that_may_be_none_is_given_too() -> None:
    def handler(mail: Mail, job: Job | None = None) -> bool:
        return job is not None

    assert given(handler)


def test_parameters_by_position_only_are_given_by_position() -> None:
    def handler(mail: Mail, job: Job, /) -> str:
        return mail.to + job.id

    assert given(handler) == "ada7-g"


def test_dependencies_of_every_kind_are_made_and_put_away_in_reverse() -> None:
    told: list[str] = []

    async def first() -> AsyncIterator[str]:
        told.append("first begins")
        yield "1"
        told.append("first ends")

    def second(one: Annotated[str, Depends(first)]) -> Iterator[str]:
        told.append("second begins")
        yield one + "2"
        told.append("second ends")

    def third(two: str = Depends(second)) -> str:
        return two + "3"

    async def fourth(job: Job) -> str:
        return job.id

    class Fifth:
        def __init__(self, id: Annotated[str, Depends(fourth)]) -> None:
            self.id = id

    async def handler(
        mail: Mail, three: str = Depends(third), *, fifth: Annotated[Fifth, Depends()]
    ) -> tuple[str, str]:
        told.append("handler")
        return three, fifth.id

    assert given(handler) == ("123", "7-g")
    assert told == ["first begins", "second begins", "handler", "second ends", "first ends"]


def test_a_dependency_is_made_once_for_a_delivery_unless_it_asks_for_more() -> None:
    made: list[int] = []

    def count() -> int:
        made.append(1)
        return len(made)

    def twice(one: int = Depends(count)) -> int:
        return one

    def handler(
        mail: Mail,
        one: int = Depends(count),
        same: int = Depends(twice),
        fresh: int = Depends(count, use_cache=False),
    ) -> tuple[int, int, int]:
        return one, same, fresh

    assert given(handler) == (1, 1, 2)


def test_the_depends_of_fastapi_is_taken_as_ours() -> None:
    async def database() -> AsyncIterator[str]:
        yield "db"

    def handler(
        mail: Mail, db: Annotated[str, FastDepends(database)], again: str = FastDepends(database)
    ) -> str:
        return db + again

    assert given(handler) == "dbdb"


def test_what_stands_in_for_a_dependency_has_dependencies_of_its_own() -> None:
    def real() -> str:
        raise AssertionError("not in a test")

    def stub(job: Job) -> Iterator[str]:
        yield f"stub of {job.id}"

    def handler(mail: Mail, value: str = Depends(real)) -> str:
        return value

    assert given(handler, {real: stub}) == "stub of 7-g"


def test_what_can_be_called_is_a_dependency_whatever_it_is() -> None:
    class Settings:
        async def __call__(self) -> str:
            return "called"

        def method(self) -> str:
            return "method"

    async def greet(word: str, /) -> str:
        return word

    def handler(
        mail: Mail,
        one: str = Depends(Settings()),
        two: str = Depends(Settings().method),
        three: str = Depends(partial(greet, "hi")),
        four: str = Depends(lambda: "lambda"),
    ) -> list[str]:
        return [one, two, three, four]

    assert given(handler) == ["called", "method", "hi", "lambda"]


@on_a_loop
async def test_a_dependency_of_a_thread_hears_that_the_handler_failed() -> None:
    heard: list[type[BaseException]] = []

    def database() -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            heard.append(type(error))
            raise

    def handler(mail: Mail, db: None = Depends(database)) -> None:
        raise ValueError

    with suppress(ValueError):
        async with AsyncExitStack() as stack:
            scope = Scope(Mail("ada"), job(), stack, asyncio.to_thread, {})
            await scope.call(bind(handler, Job, takes_payload=True))
    assert heard == [ValueError]


def nothing() -> None:
    """Take no payload."""


def job_first(job: Job, mail: Mail) -> None:
    """Take the job first."""


def untyped(mail, job: Job) -> None:  # type: ignore[no-untyped-def]
    """Say no type."""


def opaque(payload: Opaque) -> None:
    """Take what has no JSON."""


def other(mail: Mail, message: Message) -> None:
    """Take a message of a stream, where jobs are handled."""


def unknown(mail: Mail, thing: int) -> None:
    """Take what nobody gives."""


def deep(mail: Mail, thing: None = Depends(unknown)) -> None:
    """Depend on what nobody can give something to."""


def hopeless(mail: Mail, thing: None = Depends(5)) -> None:  # type: ignore[arg-type]
    """Depend on a number."""


def missing(mail: "Nowhere") -> None:  # type: ignore[name-defined] # noqa: F821
    """Name a type that is not there."""


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (nothing, ["nothing", "first parameter", "payload"]),
        (job_first, ["job_first", "'job'", "first", "payload"]),
        (untyped, ["untyped", "'mail'", "annotate"]),
        (opaque, ["opaque", "'payload'", "Opaque", "msgspec Struct", "dataclass", "pydantic", "bytes"]),
        (other, ["other", "'message'", "Message", "annotate it with Job", "Depends"]),
        (unknown, ["unknown", "'thing'", "int", "Job", "Depends", "default"]),
        (deep, ["unknown", "'mail'"]),
        (hopeless, ["hopeless", "'thing'", "cannot be called"]),
        (missing, ["missing", "Nowhere", "not known"]),
    ],
)
def test_a_parameter_that_cannot_be_given_anything_is_named(
    handler: Callable[..., Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        bind(handler, Job, takes_payload=True)
    assert not [word for word in words if word not in str(refused.value)], str(refused.value)


def test_a_dependency_that_needs_itself_is_refused() -> None:
    def one(two: None) -> None: ...
    def two(one: None = Depends(one)) -> None: ...

    one.__defaults__ = (Depends(two),)
    with pytest.raises(ConfigError, match="depends on itself"):
        bind(one, None)
