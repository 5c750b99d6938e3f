"""Stores to break: opened, copied as kill -9 would leave them, and damaged."""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gapless.backends import Options, Slices
from gapless.backends.sqlite import Backend
from gapless.core.errors import (
    StoreRefused,
)
from gapless.core.lineage import Fate
from gapless.testing.conformance.places import fill

Answer = TypeVar("Answer")

SUFFIXES = ("", "-wal", ".witness")


async def open_store(path: Path, vfs: str | None = None, **options: Any) -> Backend:
    return await Backend.open(str(path), Options(**{"ballast_bytes": 0, "free_bytes_min": 0} | options), vfs)


def scenario(test: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """Turn a coroutine into a test."""

    def run(path: Path) -> None:
        asyncio.run(test(path))

    run.__name__ = test.__name__
    return run


def run(slices: Slices[Answer]) -> Answer:
    """Do all of it."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            answer: Answer = end.value
            return answer


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def copy(path: Path, to: Path) -> Path:
    """Copy a store that is open but quiet: what kill -9 would leave of it now."""
    to.parent.mkdir(exist_ok=True)
    for suffix in SUFFIXES:
        if beside(path, suffix).exists():
            shutil.copy(beside(path, suffix), beside(to, suffix))
    return to


def flip(path: Path, at: int) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


async def fate_of(path: Path) -> Fate:
    store = await open_store(path)
    fate = (await store.generations())[-1].fate
    await store.close()
    return fate


async def refusal_of(path: Path) -> str:
    with pytest.raises(StoreRefused) as refused:
        await open_store(path)
    return str(refused.value)


async def alive(path: Path, count: int) -> Backend:
    store = await open_store(path)
    await fill(store, "s", count)
    return store
