"""The verbs of queues and streams as methods of the server API."""

from typing import Any, Final

from gapless.broker.verbs import Verbs
from gapless.server.api.calls import Answering, encode

__all__ = ["Verb", "verb_methods"]

WHO: Final = "api"  # whoever holds the key, for the audit stream


def verb_methods(verbs: Verbs) -> dict[str, tuple[type[Any], Answering]]:
    """Return each verb with the type of its request."""
    return {verb: (request, Verb(verbs, verb)) for verb, (request, _) in verbs.catalogue.items()}


class Verb:
    """A verb as a method; who calls it stands in the audit stream."""

    __slots__ = ("_name", "_verbs")

    def __init__(self, verbs: Verbs, name: str) -> None:
        self._verbs = verbs
        self._name = name

    async def __call__(self, request: Any, who: str = WHO) -> bytes:
        """Carry it out."""
        return encode(await self._verbs.call(self._name, request, who))
