"""Streams in one SQLite file: the embedded default."""

from gapless.backends.sqlite.backend import Backend

__all__ = ["Backend"]
