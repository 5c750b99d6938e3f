"""The promises of `gapless.ports.Groups`, one test each, on whatever place a backend keeps its data."""

from gapless.testing.conformance.groups.assigning import Assigning
from gapless.testing.conformance.groups.committing import Committing
from gapless.testing.conformance.groups.declaring import Declaring
from gapless.testing.conformance.groups.emitting import Emitting
from gapless.testing.conformance.groups.lasting import Lasting
from gapless.testing.conformance.groups.looking import Looking
from gapless.testing.conformance.groups.refusing import Refusing
from gapless.testing.conformance.groups.seeking import Seeking

__all__ = ["GroupsConformance"]


class GroupsConformance(Declaring, Assigning, Committing, Emitting, Seeking, Looking, Lasting, Refusing):
    """Every promise of `gapless.ports.Groups`."""
