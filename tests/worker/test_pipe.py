"""Frames through a pipe: whole, in order, however the bytes come; and durations as people read them."""

import asyncio
from typing import Any

import pytest

from gapless.worker.frames import UP, Ended, Ready, Up
from gapless.worker.pipe import Pipe
from gapless.worker.runners import told_ms
from tests.server.serving import on_a_loop


class Bytes(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))


@on_a_loop
async def test_frames_of_a_turn_are_one_write_and_come_out_whole() -> None:
    heard: list[Up] = []
    one: Pipe[Up] = Pipe(UP, heard.append, lambda: None)
    other: Pipe[Up] = Pipe(UP, heard.append, lambda: None)
    wire = Bytes()
    one.send(Ready())
    one.connection_made(wire)
    one.send(Ended(1))
    one.send(Ended(2))
    await asyncio.sleep(0)
    assert len(wire.writes) == 2
    for byte in b"".join(wire.writes):
        other.data_received(bytes([byte]))
    assert heard == [Ready(), Ended(1), Ended(2)]


@pytest.mark.parametrize(
    ("ms", "told"), [(300_000, "5m"), (1_500, "1.5s"), (250, "250ms"), (3_600_000, "1h"), (1_234, "1234ms")]
)
def test_a_duration_is_told_as_people_write_it(ms: int, told: str) -> None:
    assert told_ms(ms) == told
