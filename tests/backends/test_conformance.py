"""Every backend of the folder keeps every promise of the ports: `place` is of each in turn (conftest)."""

from gapless.testing.conformance import (
    GroupsConformance,
    PresenceConformance,
    QueuesConformance,
    StreamsConformance,
)


class TestStreams(StreamsConformance):
    """What `Streams` promises."""


class TestQueues(QueuesConformance):
    """What `Queues` promises."""


class TestGroups(GroupsConformance):
    """What `Groups` promises."""


class TestPresence(PresenceConformance):
    """What `Presence` promises."""
