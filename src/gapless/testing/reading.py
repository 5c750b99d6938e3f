"""Readers of channels in tests, and the check that they missed nothing."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

from gapless.core.limits import SCROLL_READS_MAX
from gapless.core.stream import Position
from gapless.library.channels import Publication, position_of
from gapless.library.gapless import Gapless
from gapless.testing.quiet import Quiet

__all__ = ["Read", "Reader", "gaps"]


class Reader:
    """Follows a channel while it is entered; `publications` is what arrived, over all of its connections."""

    def __init__(self, gl: Gapless, channel: str, after: str | None, quiet: Quiet) -> None:
        self.channel = channel
        self.publications: list[Publication] = []
        self.start: Position | None = position_of(channel, after)
        self._gl = gl
        self._quiet = quiet
        self._task: asyncio.Task[None] | None = None

    @property
    def payloads(self) -> list[object]:
        """The payloads of what arrived."""
        return [each.data for each in self.publications]

    async def __aenter__(self) -> Self:
        if self.start is None:
            page = await self._gl.history(self.channel, size=1)
            self.start = Position(page.epoch, page.head)
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    async def connect(self) -> None:
        """Follow on from where it has read to.

        Raises:
            PositionLost: what followed cannot be told any more.
        """
        self._task = asyncio.get_running_loop().create_task(self._follow())
        await self._quiet.wait()
        if self._task.done():
            self._task.result()

    async def disconnect(self) -> None:
        """Go away, as a client in a tunnel does; it reads what is published meanwhile when it comes back."""
        await self._quiet.wait()
        task, self._task = self._task, None
        if task is not None:
            ended = task.done()
            task.cancel()
            await asyncio.wait([task])
            if ended:
                task.result()

    async def _follow(self) -> None:
        after = self.publications[-1].position if self.publications else self.start
        async with aclosing(self._gl.subscribe(self.channel, after=after)) as arriving:
            async for publication in arriving:
                self.publications.append(publication)


TOLD_MAX: Final = 10
Read = Reader | Sequence[Publication]
"""What was read: by a reader, or in some other way."""


async def gaps(gl: Gapless, read: Read) -> str:
    """Tell what is wrong with what was read, held against the store; "" if nothing is."""
    publications = read.publications if isinstance(read, Reader) else read
    if not isinstance(read, Reader) and not publications:
        return ""
    channel = read.channel if isinstance(read, Reader) else publications[0].channel
    got = [each.position for each in publications if each.position is not None]
    if len(got) < len(publications):
        return f"channel {channel!r} keeps no history: whether something is missing cannot be told"
    stored = [each.position for each in await _everything(gl, channel) if each.position is not None]
    return _compared(channel, got, _between(read, got, stored))


def _between(read: Read, got: list[Position], stored: list[Position]) -> list[Position]:
    if not isinstance(read, Reader):
        return [each for each in stored if got[0].offset <= each.offset <= got[-1].offset]
    first = read.start.offset if read.start is not None else 0
    return [each for each in stored if each.offset > first]


async def _everything(gl: Gapless, channel: str) -> list[Publication]:
    """Return what the store has of a channel, from its oldest message on."""
    found: list[Publication] = []
    page = await gl.history(channel, size=SCROLL_READS_MAX)
    while True:
        found = [*reversed(page.publications), *found]
        if not page.has_before:
            return found
        page = await gl.history(channel, before=page.before, size=SCROLL_READS_MAX)


def _compared(channel: str, got: list[Position], stored: list[Position]) -> str:
    seen: set[Position] = set()
    last = 0
    for each in got:
        if each in seen:
            return f"channel {channel!r}: offset {each.offset} was read twice"
        if each.offset < last:
            return f"channel {channel!r}: offset {each.offset} was read after {last}"
        seen.add(each)
        last = each.offset
    missing = [each.offset for each in stored if each not in seen]
    if missing:
        told = f"{len(missing)} of {len(stored)} messages were not read"
        return f"channel {channel!r}: {told}: offsets {missing[:TOLD_MAX]}"
    return ""
