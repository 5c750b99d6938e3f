"""The promises of `gapless.ports.Queues`, one test each, on whatever place a backend keeps its data."""

from gapless.testing.conformance.queues.claiming import Claiming
from gapless.testing.conformance.queues.declaring import Declaring
from gapless.testing.conformance.queues.dying import Dying
from gapless.testing.conformance.queues.emitting import Emitting
from gapless.testing.conformance.queues.enqueuing import Enqueuing
from gapless.testing.conformance.queues.failing import Failing
from gapless.testing.conformance.queues.lasting import Lasting
from gapless.testing.conformance.queues.leasing import Leasing
from gapless.testing.conformance.queues.lining import Lining
from gapless.testing.conformance.queues.looking import Looking
from gapless.testing.conformance.queues.repeating import Repeating
from gapless.testing.conformance.queues.scheduling import Scheduling
from gapless.testing.conformance.queues.settling import Settling
from gapless.testing.conformance.queues.sharing import Sharing
from gapless.testing.conformance.queues.waiting import Waiting

__all__ = ["QueuesConformance"]


class QueuesConformance(
    Declaring,
    Enqueuing,
    Repeating,
    Lining,
    Claiming,
    Sharing,
    Leasing,
    Failing,
    Settling,
    Emitting,
    Dying,
    Looking,
    Waiting,
    Scheduling,
    Lasting,
):
    """Every promise of `gapless.ports.Queues`."""
