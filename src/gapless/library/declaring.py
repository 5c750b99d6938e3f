"""Queues as their handlers declare them, also by those who may only work on what others have declared."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from gapless.core.errors import PermissionDenied
from gapless.core.jobs import QueueOptions
from gapless.protocol.queues import DeclareQueueAnswer, DeclareQueueRequest
from gapless.protocol.settings import QueueSettings

__all__ = ["declared"]

log: Final = logging.getLogger("gapless.library")


async def declared(
    ask: Callable[[str, Any], Awaitable[Any]], queue: str, settings: QueueSettings
) -> QueueOptions:
    """Make a queue, or let it be as settings say; return how it behaves.

    One that is there is taken as it is by who may claim from it, and not declare it.

    Raises:
        PermissionDenied: it may not be declared, and is not there, or may not be claimed from either.
    """
    try:
        return await _told(ask, queue, settings)
    except PermissionDenied as error:
        if settings == QueueSettings():
            raise
        options = await _told(ask, queue, QueueSettings())
        log.debug("%s is taken as it is: %s", queue, error)
        return options


async def _told(
    ask: Callable[[str, Any], Awaitable[Any]], queue: str, settings: QueueSettings
) -> QueueOptions:
    request = DeclareQueueRequest(queue=queue, options=settings)
    answer: DeclareQueueAnswer = await ask("queue/declare", request)
    return answer.options
