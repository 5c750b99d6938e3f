"""Which files of a program have changed: its modules that are not installed, and what lies around them."""

import os
import sys
import sysconfig
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["Files"]

FOLDERS_MAX: Final = 500  # of the working directory; the nearest ones
_INSTALLED: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_OURS: Final = str(Path(__file__).parents[1])
_NOT_THEIRS: Final = {"__pycache__", "node_modules"}
_ENVIRONMENT: Final = "pyvenv.cfg"  # in the folder of a virtual environment


class Files:
    """The files of a program, as they are when this is made: before the program is imported.

    They are those of the imported modules, and those in the working directory, imported or not: what cannot
    be imported is no module, and a handler may import another only when it runs.
    """

    def __init__(self) -> None:
        self._before = {path: _time_ns(path) for path in _around()}

    def changed(self) -> list[str]:
        """Return the paths of the files that are not as they were, or were not there."""
        for path in _imported():
            self._before.setdefault(path, _time_ns(path))
        paths = {*self._before, *_around()}
        return sorted(path for path in paths if self._before.get(path, 0) != _time_ns(path))


def _imported() -> list[str]:
    paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return [path for path in paths if path and not path.startswith((*_INSTALLED, _OURS))]


def _around() -> Iterator[str]:
    """Yield the files of Python in the working directory and below it, the nearest ones first."""
    folders, seen = deque([str(Path.cwd())]), 0
    while folders and seen < FOLDERS_MAX:
        seen += 1
        entries = _entries(folders.popleft())
        if any(entry.name == _ENVIRONMENT for entry in entries):
            continue
        yield from (entry.path for entry in entries if entry.name.endswith(".py"))
        folders.extend(entry.path for entry in entries if _is_theirs(entry))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _is_theirs(entry: os.DirEntry[str]) -> bool:
    hidden = entry.name.startswith(".") or entry.name in _NOT_THEIRS
    return not hidden and entry.is_dir(follow_symlinks=False)


def _time_ns(path: str) -> int:
    """Return when a file was changed; 0: it is not there."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0
