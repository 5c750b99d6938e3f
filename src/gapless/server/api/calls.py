"""What a call is: a request in, an outcome told once."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, Final

import msgspec

from gapless.core.errors import GaplessError

__all__ = [
    "Answering",
    "Outcome",
    "Told",
    "Work",
    "encode",
    "error_body",
    "outcome_of",
    "refusal_body",
    "telling",
    "text",
]

Outcome = bytes | GaplessError
"""What became of a call: its result in JSON, or why there is none."""
Told = Callable[[Outcome], object]
Work = Coroutine[Any, Any, None]
Answering = Callable[[Any], bytes | Coroutine[Any, Any, bytes]]
"""A method that returns its result, now or later, or raises."""

encode: Final = msgspec.json.Encoder().encode


def telling(method: Answering) -> Callable[[Any, Told], Work | None]:
    """Return `method` as one that tells its outcome."""

    def run(request: Any, told: Told) -> Work | None:
        try:
            answer = method(request)
        except GaplessError as error:
            told(error)
            return None
        if isinstance(answer, bytes):
            told(answer)
            return None
        return _tell(answer, told)

    return run


async def _tell(answer: Coroutine[Any, Any, bytes], told: Told) -> None:
    try:
        outcome: Outcome = await answer
    except GaplessError as error:
        outcome = error
    told(outcome)


async def outcome_of(begin: Callable[[Told], Work | None]) -> Outcome:
    """Return what a call comes to that `begin` begins."""
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def told(outcome: Outcome) -> None:
        if not done.done():  # given up, when the node stops
            done.set_result(outcome)

    work = begin(told)
    if work is not None:
        await work
    return await done


@lru_cache(maxsize=4)
def text(epoch: str) -> bytes:
    """Encode an epoch, of which there are few."""
    return encode(epoch)


def error_body(error: GaplessError) -> bytes:
    """Encode an error as a backend is told it: our name for it and whether to retry, besides Centrifugo's."""
    return encode(
        {
            "code": error.number,
            "message": str(error) or error.code,
            "reason": error.code,
            "temporary": error.temporary,
        }
    )


def refusal_body(error: GaplessError) -> bytes:
    """Encode an error as the whole answer to what is no call."""
    return b'{"error":%b}' % error_body(error)
