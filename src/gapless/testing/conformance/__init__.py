"""The promises of `gapless.ports`, one test each. Every backend must keep them all.

To test a backend, subclass the suite and give it a fixture `place`:

    class TestMine(StreamsConformance):
        @pytest.fixture
        def place(self, tmp_path: Path) -> Place:
            return UrlPlace(f"mine:{tmp_path}/store")
"""

from gapless.testing.conformance.also import Also
from gapless.testing.conformance.appending import Appending
from gapless.testing.conformance.compacting import Compacting
from gapless.testing.conformance.conditions import Conditions
from gapless.testing.conformance.erasing import Erasing
from gapless.testing.conformance.grouping import Grouping
from gapless.testing.conformance.groups import GroupsConformance
from gapless.testing.conformance.incarnations import Incarnations
from gapless.testing.conformance.keeping import Keeping
from gapless.testing.conformance.keyed import Keyed
from gapless.testing.conformance.places import Place, UrlPlace
from gapless.testing.conformance.presence import PresenceConformance
from gapless.testing.conformance.queues import QueuesConformance
from gapless.testing.conformance.reading import Reading
from gapless.testing.conformance.versions import Versions

__all__ = [
    "GroupsConformance",
    "Place",
    "PresenceConformance",
    "QueuesConformance",
    "StreamsConformance",
    "UrlPlace",
]


class StreamsConformance(
    Appending,
    Conditions,
    Versions,
    Also,
    Reading,
    Keyed,
    Keeping,
    Erasing,
    Compacting,
    Grouping,
    Incarnations,
):
    """Every promise of `gapless.ports.Streams`."""
