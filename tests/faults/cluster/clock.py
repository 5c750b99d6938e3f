"""A wall clock that jumps, for one program: a shim of ours goes before its C library."""

import shutil
import subprocess
from pathlib import Path

__all__ = ["Shim"]

SOURCE = Path(__file__).with_name("clock_jump.c")
OFFSET_BYTES = 8


def _compiled(folder: Path) -> Path:
    """Compile the shim into a folder, unless it is there."""
    to = folder / "clock_jump.so"
    if not to.exists():
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", str(to), str(SOURCE)], check=True)
    return to


class Shim:
    """What starts a program with a clock of its own. Without a C compiler the clock stays right."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._file.write_bytes(bytes(OFFSET_BYTES))
        self.before: list[str] = []
        if shutil.which("cc") is not None:
            self.before = ["env", f"LD_PRELOAD={_compiled(folder.parent)}", f"CLOCK_JUMP={self._file}"]

    def jump(self, by_ms: int) -> None:
        """Put the clock so far from the right time."""
        with self._file.open("r+b") as file:
            file.write((by_ms * 1_000_000).to_bytes(OFFSET_BYTES, "little", signed=True))
