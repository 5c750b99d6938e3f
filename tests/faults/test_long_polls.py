"""A server that goes away while somebody waits for its answer."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gapless import Gapless
from gapless.core.errors import OutcomeUnknown, Unavailable
from tests.program import API_KEY, Program

PATIENCE_SECONDS = 1
Scene = Callable[[Program], Coroutine[Any, Any, None]]


def gapless(program: Program, patience: str) -> Gapless:
    return Gapless(program.api_url.removesuffix("/api"), api_key=API_KEY, patience=patience)


async def claimers(program: Program, count: int) -> None:
    """Wait until so many claims wait for jobs."""
    there = -1
    while there != count:
        answer = await asyncio.to_thread(program.api, "queue/stats", queue="mail")
        there = answer["result"]["queues"][0]["claimers"]


@pytest.mark.timeout(60)
def test_a_claim_that_waits_outlives_the_server_and_burns_no_attempt(tmp_path: Path) -> None:
    async def scene(program: Program) -> None:
        async with gapless(program, "30s") as gl:
            await gl.queues.declare("mail")
            claim = asyncio.ensure_future(gl.claim("mail", wait="20s"))
            await claimers(program, 1)
            program.kill()
            await asyncio.to_thread(program.start)
            enqueued = await gl.enqueue("mail", 1)
            [job] = await claim
            assert (job.id, job.attempt) == (enqueued.id, 1)

    _run(scene, tmp_path)


@pytest.mark.timeout(60)
def test_who_waits_for_a_server_that_does_not_come_back_is_told(tmp_path: Path) -> None:
    async def scene(program: Program) -> None:
        async with gapless(program, f"{PATIENCE_SECONDS}s") as gl:
            await gl.queues.declare("mail")
            claim = asyncio.ensure_future(gl.claim("mail", wait="20s"))
            await claimers(program, 1)
            program.kill()
            gone = time.monotonic()
            with pytest.raises((Unavailable, OutcomeUnknown)) as told:
                await claim
            assert time.monotonic() - gone < 20, "it was told soon, not when the claim would have ended"
            assert str(told.value)
            with pytest.raises(Unavailable):
                await gl.enqueue("mail", 1)

    _run(scene, tmp_path)


def _run(scene: Scene, folder: Path) -> None:
    program = Program(folder, {"log": {"level": "warn"}})
    program.start()
    try:
        asyncio.run(scene(program))
    finally:
        program.close()
