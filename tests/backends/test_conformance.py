"""Every backend in the folder keeps every promise of the ports."""

from gapless.testing.conformance import StreamsConformance


class TestStreams(StreamsConformance):
    """`place` comes from the conftest, once per backend."""
