"""Streams over every engine."""

from tests.broker.streaming import with_streams

__all__ = ["with_streams"]
