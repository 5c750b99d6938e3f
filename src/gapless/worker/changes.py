"""Which files of a program have changed: those of its modules that are not installed."""

import sys
import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

__all__ = ["changed", "files_of"]

Times = dict[str, int]
"""Modification times in nanoseconds, by path; 0: it is not there."""

_INSTALLED: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_OURS: Final = str(Path(__file__).parents[1])


def files_of(target: str) -> Times:
    """Return the files of the modules that were imported, and that of `target`, imported or not."""
    paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    parts = target.partition(":")[0].split(".")
    found = PathFinder.find_spec(parts[0], [str(Path.cwd())])
    if found is not None and found.origin is not None:
        paths |= {found.origin, str(Path(found.origin).parent.joinpath(*parts[1:])) + ".py"}
    watched = (path for path in paths if path and not path.startswith((*_INSTALLED, _OURS)))
    return {path: _time_ns(path) for path in watched}


def changed(before: Times) -> list[str]:
    """Return the paths of the files that are not as they were."""
    return sorted(path for path, time_ns in before.items() if _time_ns(path) != time_ns)


def _time_ns(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0
