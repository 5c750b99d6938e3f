"""Hooks that workers of other nodes serve: a node that has no worker for one asks a node that has."""

from collections.abc import Awaitable
from random import Random
from typing import Final

import msgspec

from gapless.core.errors import MethodNotFound, Unavailable
from gapless.protocol.hooks import AnswerRequest, Decision, HookAsked
from gapless.server.hook_workers import HookWorkers
from gapless.server.nodes.asking import Asking
from gapless.server.nodes.registry import Registry

__all__ = ["HooksElsewhere"]

HOOK: Final = "hook"
ANSWER: Final = "hook_answer"
LEAVE: Final = "hook_leave"

_encode: Final = msgspec.json.Encoder().encode
_decode_asked: Final = msgspec.json.Decoder(HookAsked).decode
_decode_answer: Final = msgspec.json.Decoder(AnswerRequest).decode
_decode_decision: Final = msgspec.json.Decoder(Decision).decode


class HooksElsewhere:
    """Brings the hook workers of all nodes together: each node tells the others what its own serve."""

    def __init__(self, workers: HookWorkers, registry: Registry, asking: Asking, random: Random) -> None:
        self._workers = workers
        self._registry = registry
        self._asking = asking
        self._random = random
        registry.hooks = workers.places
        workers.changed = registry.announce
        workers.elsewhere = self._elsewhere
        workers.places_elsewhere = registry.hooks_elsewhere
        workers.answer_elsewhere = self._answer_elsewhere
        asking.serve(HOOK, self._run)
        asking.serve(ANSWER, self._answer)
        workers.leave_elsewhere = self._leave_elsewhere
        asking.serve(LEAVE, self._leave)

    def _elsewhere(self, asked: HookAsked) -> Awaitable[Decision] | None:
        nodes = self._registry.serving(*asked.place())
        return self._ask(self._random.choice(nodes), asked) if nodes else None

    async def _ask(self, node: str, asked: HookAsked) -> Decision:
        return _decode_decision(await self._asking.at(node, HOOK, _encode(asked)))

    async def _run(self, body: bytes) -> bytes:
        try:
            return _encode(await self._workers.run_here(_decode_asked(body)))
        except MethodNotFound as error:  # it was there a moment ago, and another node may have it
            raise Unavailable(str(error)) from error

    async def _leave_elsewhere(self, worker: str) -> None:
        await self._asking.everywhere(LEAVE, worker.encode())

    async def _leave(self, body: bytes) -> bytes:
        self._workers.leave(body.decode(errors="replace"))
        return b""

    async def _answer_elsewhere(self, node: str, request: AnswerRequest) -> None:
        if self._registry.is_alive(node):
            await self._asking.at(node, ANSWER, _encode(request))

    async def _answer(self, body: bytes) -> bytes:
        return _encode(await self._workers.answer(_decode_answer(body)))
