"""What handlers and workers write down, line by line, in a file that outlives them."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gapless import Gapless
from gapless.core.jobs import Deed
from gapless.protocol.groups import CommitRequest
from gapless.protocol.queues import SettleRequest

__all__ = ["FILE", "Line", "Recorded", "Records", "line"]

FILE = "GAPLESS_RECORDS"  # the variable of the environment that names the file


class Line(Struct, frozen=True, omit_defaults=True):
    """Something that happened, in the order of the file.

    `what`: a handler began (`start`), ended well (`end`) or was about to raise (`failed`); a settlement was
    `accepted` or `refused`; of a stream, a message was `handled`, a commit was `committed` or `refused`.
    `fence` is the number of a fence. `subject` is a job's id, or a partition.
    """

    what: str
    subject: str
    fence: int
    task: str = ""
    attempt: int = 0
    alone: bool = False
    deed: str = ""
    offset: int = 0
    who: int = 0


def line(what: str, subject: str, fence: int, **more: Any) -> None:
    """Write a line down, in one call that appends."""
    encoded = msgspec.json.encode(Line(what, subject, fence, who=os.getpid(), **more)) + b"\n"
    descriptor = os.open(os.environ[FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, encoded)
    finally:
        os.close(descriptor)


class Recorded(Gapless):
    """A Gapless that writes down what it was told of settlements and commits."""

    async def ask(self, verb: str, request: Any) -> Any:
        answer = await super().ask(verb, request)
        if isinstance(request, SettleRequest):
            for asked, item in zip(request.settlements, answer.settlements, strict=True):
                if asked.deed is not Deed.RELEASE:
                    line(_told(item.error), asked.id, _number(asked.fence), deed=asked.deed)
        elif isinstance(request, CommitRequest):
            for commit, told in zip(request.commits, answer.commits, strict=True):
                what = "committed" if told.error is None else "refused"
                line(what, str(commit.partition), _number(commit.fence), offset=commit.offset)
        return answer


def _told(error: object) -> str:
    return "accepted" if error is None else "refused"


def _number(fence: str) -> int:
    return int(fence.rpartition(":")[2])


class Records:
    """The file, read as it grows; `counts` are of what happened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Line] = []
        self.counts: Counter[str] = Counter()
        self._read_bytes = 0
        self._decode = msgspec.json.Decoder(Line).decode
        path.touch()

    def environment(self, **more: str) -> Mapping[str, str]:
        """Return the environment of those who write there."""
        return {**os.environ, FILE: str(self.path), **more}

    def read(self) -> list[Line]:
        """Return all lines by now."""
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        lines = list(map(self._decode, whole.splitlines()))
        self.lines += lines
        self.counts.update(line.what for line in lines)
        return self.lines
