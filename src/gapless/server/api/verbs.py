"""The verbs of queues and streams as methods of the server API."""

from collections.abc import Callable
from typing import Any, Final

from gapless.broker.verbs import Verbs
from gapless.server.api.calls import Answering, encode

__all__ = ["verb_methods"]

WHO: Final = "api"  # whoever holds the key, for the audit stream


def verb_methods(verbs: Verbs) -> dict[str, tuple[type[Any], Answering]]:
    """Return each verb with the type of its request."""
    return {verb: (request, _answering(verbs, verb)) for verb, (request, _) in verbs.catalogue.items()}


def _answering(verbs: Verbs, verb: str) -> Callable[[Any], Any]:
    async def answer(request: Any) -> bytes:
        return encode(await verbs.call(verb, request, WHO))

    return answer
