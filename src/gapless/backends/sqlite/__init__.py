"""Streams in one SQLite file: the embedded default."""

from gapless.backends.sqlite.backend import Backend
from gapless.backends.sqlite.offline import Offline

__all__ = ["Backend", "Offline"]
