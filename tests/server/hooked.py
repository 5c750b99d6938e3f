"""Hooks in a test's hand: what each was asked, and when it answers."""

import asyncio
from collections.abc import Callable
from typing import Any

from gapless.core.errors import Unavailable
from gapless.protocol.hooks import Catalogue, Decision, Ending, HookAsked, Refusal
from gapless.protocol.messages import payload
from gapless.server.hooks import Hooks, Known
from tests.conversation import Stage

__all__ = ["ENDING", "NO", "UNAVAILABLE", "YES", "Desk", "yes"]

YES = Decision(decided=True)
NO = Decision(refusal=Refusal(message="not you"))

Says = Decision | Exception | Callable[[HookAsked], Decision]


def yes(**fields: Any) -> Decision:
    """A yes; `info`, `data`, `meta` are given as bytes of JSON."""
    for name in ("info", "data", "meta"):
        if name in fields:
            fields[name] = payload(fields[name])
    return Decision(decided=True, **fields)


class Desk:
    """Answers what `says` says by the kind of hook; what is `held` waits until it is let go."""

    def __init__(self, stage: Stage, says: dict[str, Says] | None = None, **catalogue: Any) -> None:
        self.says = says or {}
        self.asked: list[Any] = []
        self.held: list[asyncio.Future[None]] = []
        self.holds = False
        self.cancelled = 0
        self.hooks = Hooks(stage.clock, most=catalogue.pop("most", 1_000))
        self.hooks.serve([(Known(Catalogue(**catalogue)), self)])
        stage.sessions.hooks = self.hooks

    async def run(self, asked: HookAsked) -> Decision:
        self.asked.append(asked)
        if self.holds:
            held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.held.append(held)
            try:
                await held
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        said = self.says.get(asked.place()[0], Decision())
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Decision) else said(asked)

    def let_go(self) -> None:
        """Let the first that is held answer."""
        self.held.pop(0).set_result(None)


UNAVAILABLE = Unavailable("the hook failed")
ENDING = Decision(ending=Ending(code=4501, reason="banned"))
