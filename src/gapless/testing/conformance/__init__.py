"""The promises of `gapless.ports`, one test each. Every backend must keep them all.

To test a backend, subclass the suite and give it a fixture `place`:

    class TestMine(StreamsConformance):
        @pytest.fixture
        def place(self, tmp_path: Path) -> Place:
            return UrlPlace(f"mine:{tmp_path}/store")
"""

from gapless.testing.conformance.appending import Appending
from gapless.testing.conformance.conditions import Conditions
from gapless.testing.conformance.incarnations import Incarnations
from gapless.testing.conformance.keeping import Keeping
from gapless.testing.conformance.places import Place, UrlPlace
from gapless.testing.conformance.reading import Reading

__all__ = ["Place", "StreamsConformance", "UrlPlace"]


class StreamsConformance(Appending, Conditions, Reading, Keeping, Incarnations):
    """Every promise of `gapless.ports.Streams`."""
