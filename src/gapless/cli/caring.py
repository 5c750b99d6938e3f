"""Care of a store from the command line: by a server, or here: by who has the file open, if anybody has."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import click

from gapless import backends
from gapless.backends import Held, Slices
from gapless.cli.calling import Server
from gapless.cli.progress import progress
from gapless.core.errors import GaplessError, NotAvailable, StoreError
from gapless.core.masking import masked_url
from gapless.ports import Care, Told

__all__ = ["at", "done_at", "done_here", "done_with", "store_option", "watched"]

Answer = TypeVar("Answer")

store_option = click.option("--store", metavar="URL", help="Do it here, without a server: sqlite:gapless.db.")


def done_here(slices: Slices[Answer], verb: str, unit: str) -> Answer:
    """Do all of it, showing progress; an interruption leaves nothing half done."""
    with progress(verb, unit) as tell:
        try:
            while True:
                tell(*next(slices))
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        finally:
            slices.close()


def done_with(
    store: str, slices: Slices[Answer], work: Callable[[Care, Told], Awaitable[Answer]], verb: str, unit: str
) -> Answer:
    """Do it here, or `work` through the process that has the store open.

    Raises:
        StoreRefused: that process cannot be joined, or the store may not be opened as it is.
    """
    try:
        return done_here(slices, verb, unit)
    except Held:
        return asyncio.run(_joined(store, work, verb, unit))


async def _joined(url: str, work: Callable[[Care, Told], Awaitable[Answer]], verb: str, unit: str) -> Answer:
    store = await backends.open(url)
    try:
        if not isinstance(store, Care):
            raise NotAvailable(f"{masked_url(url)} is no file")
        with progress(verb, unit) as tell:
            return await work(store, tell)
    finally:
        await store.close()


def done_at(server: Server, kind: str, verb: str, unit: str) -> dict[str, Any]:
    """Have the server do it; return the job that is done.

    Raises:
        GaplessError: the server cannot be reached, or refuses, or it failed there.
    """
    return watched(server, server.call(f"store/{kind}", {}), verb, unit)


def watched(server: Server, job: dict[str, Any], verb: str, unit: str) -> dict[str, Any]:
    """Show the progress of a job of the server until it is done; an interruption ends the job.

    Raises:
        GaplessError: the server cannot be reached, or it failed there.
    """
    asked = {"id": job["id"]}
    with progress(verb, unit) as tell:
        try:
            while job["state"] == "running":
                if job["total"]:
                    tell(job["done"], job["total"])
                job = server.call("store/job", asked)
        except KeyboardInterrupt:
            with suppress(GaplessError):
                server.call("store/cancel", asked)
            raise
    if job["state"] == "failed":
        raise StoreError(job["error"])
    return job


def at(server: Server, store: str | None) -> str:
    """Say which store it is about."""
    return store or f"the store of {server.url}"
