"""Running declared hooks: from a question to the decision, whatever the function does."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from gapless.core.errors import BadRequest, ConfigError, GaplessError, PermissionDenied, Unavailable
from gapless.library.hooks import (
    Connected,
    Disconnect,
    Hook,
    Published,
    Refreshed,
    Refuse,
    Subscribed,
    catalogue_of,
)
from gapless.library.payloads import Undecodable, encode
from gapless.library.resolving import Scope
from gapless.library.router import STATE, Router
from gapless.library.running import Context
from gapless.library.times import duration_ms
from gapless.protocol.hooks import Decision, Ending, Granted, HookAsked, HookName, OverrideName, Refusal
from gapless.protocol.messages import NO_PAYLOAD, Payload, payload

__all__ = ["Hooking"]

log: Final = logging.getLogger("gapless.library")

BAD_REQUEST: Final = BadRequest.number
_ANSWERS: Final[dict[HookName, type]] = {
    "connect": Connected,
    "subscribe": Subscribed,
    "publish": Published,
    "refresh": Refreshed,
    "sub_refresh": Refreshed,
}
_OVERRIDES: Final[tuple[OverrideName, ...]] = (
    "presence",
    "join_leave",
    "force_push_join_leave",
    "force_positioning",
    "force_recovery",
)


class Hooking:
    """The hooks of a router, as a server asks them."""

    def __init__(self, router: Router, context: Context) -> None:
        self._hooks = list(router.hooks())
        self._context = context
        self.catalogue = catalogue_of(self._hooks)

    async def run(self, asked: HookAsked) -> Decision:
        """Have a hook decide.

        Raises:
            Unavailable: it failed, which is logged; or what it asked was not available.
        """
        hook = next((hook for hook in self._hooks if hook.matches(*asked.place())), None)
        if hook is None:
            raise Unavailable(f"there is no hook {' '.join(asked.place()).rstrip()} here")
        state = STATE.set(self._context.state)
        try:
            return _decision(hook, await self._called(hook, asked))
        except (Refuse, Disconnect, Undecodable, PermissionDenied) as error:
            return _no(error)
        except GaplessError as error:
            if error.temporary:
                raise
            raise _failed(hook, error) from error
        except (Exception, SystemExit) as error:
            raise _failed(hook, error) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise _failed(hook, error) from error  # something that it waited for was cancelled, not this
        finally:
            STATE.reset(state)

    async def _called(self, hook: Hook, asked: HookAsked) -> Any:
        shape = hook.binding.shape
        data = shape.decode(asked.body()) if shape is not None else None
        async with AsyncExitStack() as stack:
            scope = Scope(data, asked, stack, self._context.in_thread, self._context.overrides)
            return await scope.call(hook.binding)


def _failed(hook: Hook, error: BaseException) -> Unavailable:
    log.error("%r failed: %s: %s", hook, type(error).__name__, error, exc_info=error)
    return Unavailable("the hook failed")


def _no(error: Exception) -> Decision:
    match error:
        case Disconnect():
            return Decision(ending=Ending(code=error.code, reason=str(error)))
        case Refuse():
            return Decision(refusal=Refusal(code=error.code, message=str(error), temporary=error.temporary))
        case Undecodable():
            return Decision(refusal=Refusal(code=BAD_REQUEST, message=str(error)))
    return Decision(refusal=Refusal(message=str(error)))


def _decision(hook: Hook, answer: Any) -> Decision:
    """Return what an answer means.

    Raises:
        ConfigError: a hook of this kind does not answer so.
        BadRequest: there is no JSON for a part of it.
    """
    if hook.kind == "disconnect":
        return Decision()
    if hook.kind == "rpc":
        encoded = encode(answer)
        if encoded.binary:
            return Decision(decided=True, b64data=encoded.data)
        return Decision(decided=True, data=payload(encoded.data))
    if answer is None:
        return Decision()
    if isinstance(answer, bool):
        return Decision(decided=True) if answer else Decision(refusal=Refusal())
    takes = _ANSWERS[hook.kind]
    if not isinstance(answer, takes):
        raise ConfigError(
            f"it answers {type(answer).__name__}, and may answer {takes.__name__}, True, False or None"
        )
    return _yes(answer)


def _yes(answer: Any) -> Decision:
    match answer:
        case Connected():
            return Decision(
                decided=True,
                user=answer.user,
                info=_json(answer.info),
                meta=_json(answer.meta),
                data=_json(answer.data),
                subscriptions=_subscriptions(answer.subscriptions),
                queues={name: list(rights) for name, rights in answer.queues.items()},
                streams={name: list(rights) for name, rights in answer.streams.items()},
                expires_in_ms=duration_ms(answer.expires_in),
            )
        case Subscribed():
            return Decision(decided=True, **_granted(answer))
        case Refreshed():
            return Decision(
                decided=True,
                info=_json(answer.info),
                meta=_json(answer.meta),
                expires_in_ms=duration_ms(answer.expires_in),
            )
    decision = Decision(decided=True, tags=dict(answer.tags), skip_history=answer.skip_history)
    if isinstance(answer.data, bytes):
        decision.b64data = answer.data
    else:
        decision.data = _json(answer.data)
    return decision


def _subscriptions(said: Any) -> dict[str, Granted]:
    if isinstance(said, Mapping):
        return {channel: Granted(**_granted(each)) for channel, each in said.items()}
    return {channel: Granted() for channel in said}


def _granted(answer: Subscribed) -> dict[str, Any]:
    said = {name: getattr(answer, name) for name in _OVERRIDES}
    return {
        "info": _json(answer.info),
        "data": _json(answer.data),
        "override": {name: value for name, value in said.items() if value is not None},
        "expires_in_ms": duration_ms(answer.expires_in),
    }


def _json(value: Any) -> Payload:
    return NO_PAYLOAD if value is None else payload(encode(value).data)
