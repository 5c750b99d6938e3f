"""Every backend in the folder keeps every promise of the ports."""

from pathlib import Path

import pytest

from gapless import backends
from gapless.ports import Queues
from gapless.testing.conformance import GroupsConformance, Place, QueuesConformance, StreamsConformance
from tests.backends.conftest import PLACES


class TestStreams(StreamsConformance):
    """`place` comes from the conftest, once per backend."""


class TestQueues(QueuesConformance):
    """Of those that have queues."""

    @pytest.fixture(params=[name for name in backends.names() if issubclass(backends.load(name), Queues)])
    def place(self, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
        return PLACES[request.param](tmp_path)


class TestGroups(GroupsConformance):
    """`place` comes from the conftest, once per backend."""
