"""Streams in one SQLite file: the embedded default."""

from gapless.backends.sqlite.backend import Backend
from gapless.backends.sqlite.disk import strongest
from gapless.backends.sqlite.offline import Offline
from gapless.backends.sqlite.sharing import open_shared

__all__ = ["Backend", "Offline", "open_shared", "strongest"]
