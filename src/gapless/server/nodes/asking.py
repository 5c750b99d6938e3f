"""What one node has all the others do, or one of them: asked over the bus until each has answered or is gone.

The bus may lose what is told, or tell it twice: it is told again until it is answered, and a node knows by
its number what it has done.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gapless.broker.telling import Telling
from gapless.core.errors import BadRequest, GaplessError, LimitExceeded, MethodNotFound, Unavailable
from gapless.core.limits import ACTS_REMEMBERED_MAX, ASK_AGAIN_MS, TOLD_BYTES_MAX
from gapless.ports import Clock, Timer
from gapless.sharing.frames import Refusal

__all__ = ["Act", "Asking"]

Act = Callable[[bytes], Awaitable[bytes]]
"""Does what is asked, and returns the answer. What it cannot decode is told to who asked as a BadRequest."""

log: Final = logging.getLogger("gapless.nodes")


class _Ask(Struct, frozen=True):
    """Told to all nodes: carry this out, or one of them, `to`. `number` is the asker's own, and rises."""

    number: int
    method: str
    body: bytes
    to: str = ""


class _Answer(Struct, frozen=True):
    """Told to all nodes, for the one that asked."""

    asker: str
    number: int
    result: bytes = b""
    refusal: Refusal | None = None


class _Taken(Struct, frozen=True):
    """Told to all nodes, for the one that asked again: it is being done, and takes its time."""

    asker: str
    number: int


class _Question:
    """What is asked, and who has not answered yet. What was `taken` need not be said in full again."""

    def __init__(self, ask: _Ask, nodes: Iterable[str]) -> None:
        self.ask = ask
        self.waiting = set(nodes)
        self.answers: list[_Answer] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class Asking:
    """Asks the nodes that live, and answers them.

    `living` tells which others live, asking the store; `is_alive` what is known of one by now. `told_again`
    counts what had to be.
    """

    def __init__(
        self,
        telling: Telling,
        clock: Clock,
        *,
        living: Callable[[], Awaitable[Collection[str]]],
        is_alive: Callable[[str], bool],
        patience_ms: int,
    ) -> None:
        self.told_again = 0
        self._telling = telling
        self._clock = clock
        self._living = living
        self._is_alive = is_alive
        self._patience_ms = patience_ms
        self._acts: dict[str, Act] = {}
        self._looks: set[str] = set()
        self._number = 0
        self._questions: dict[int, _Question] = {}
        self._done: dict[tuple[str, int], _Answer | None] = {}  # None: not yet
        self._forgotten: dict[str, int] = {}  # by node: the highest number that is remembered no more
        self._tasks: set[asyncio.Task[None]] = set()
        telling.hear(_Ask, self._asked)
        telling.hear(_Answer, self._answered)
        telling.hear(_Taken, self._taken)

    @property
    def is_alone(self) -> bool:
        """Tell whether there is nobody to ask."""
        return self._telling.is_alone

    # Asking -------------------------------------------------------------------------------

    async def everywhere(self, method: str, body: bytes) -> list[bytes]:
        """Have all other nodes that live carry out a method; return their answers once all have.

        Raises:
            Unavailable: the store does not tell which nodes live, or one of them does not answer.
            GaplessError: one could not do it; all have tried.
        """
        nodes = () if self._telling.is_alone else await self._living()
        return await self._ask(nodes, _Ask(self._next(), method, body)) if nodes else []

    async def at(self, node: str, method: str, body: bytes) -> bytes:
        """Have one other node carry out a method; return its answer.

        Raises:
            Unavailable: it does not answer, or is gone.
            GaplessError: it could not do it.
        """
        for answer in await self._ask([node], _Ask(self._next(), method, body, node)):
            return answer
        raise Unavailable("the node that was asked is gone: try again")

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _ask(self, nodes: Collection[str], ask: _Ask) -> list[bytes]:
        question = self._questions[ask.number] = _Question(ask, nodes)
        self._telling.tell(ask)
        timers = {"again": self._again_later(question)}
        patience = self._clock.after(self._patience_ms, question.end)
        try:
            await question.over
        finally:
            patience.cancel()
            del self._questions[ask.number]
            timers["again"].cancel()
        if question.waiting:
            silent = ", ".join(sorted(question.waiting))
            raise Unavailable(
                f"not all who were asked have answered, so try again: nothing is heard of {silent}"
            )
        for answer in question.answers:
            if answer.refusal is not None:
                raise answer.refusal.error()
        return [answer.result for answer in question.answers]

    def _again_later(self, question: _Question) -> Timer:
        return self._clock.after(ASK_AGAIN_MS, lambda: self._tell_again(question))

    def _tell_again(self, question: _Question) -> None:
        if question.over.done():
            return
        question.waiting = {node for node in question.waiting if self._is_alive(node)}
        if not question.waiting:
            question.end()
            return
        self.told_again += 1
        self._telling.tell(question.ask)
        self._again_later(question)

    def _answered(self, node: str, answer: _Answer) -> None:
        question = self._questions.get(answer.number) if answer.asker == self._telling.node else None
        if question is not None and node in question.waiting:
            question.waiting.discard(node)
            question.answers.append(answer)
            if not question.waiting:
                question.end()

    def _taken(self, node: str, taken: _Taken) -> None:
        question = self._questions.get(taken.number) if taken.asker == self._telling.node else None
        if question is not None and question.ask.to == node:
            question.ask = replace(question.ask, body=b"")

    # Answering ----------------------------------------------------------------------------

    def serve(self, method: str, act: Act, *, looks: bool = False) -> None:
        """Carry a method out when others ask for it. What only `looks` may be done again."""
        self._acts[method] = act
        if looks:
            self._looks.add(method)

    def _asked(self, node: str, ask: _Ask) -> None:
        if ask.to not in ("", self._telling.node):
            return
        key = node, ask.number
        if key in self._done:
            self._telling.tell(self._done[key] or _Taken(node, ask.number))
            return
        if ask.number <= self._forgotten.get(node, 0):
            return
        if ask.method not in self._looks:
            self._remember(key, None)
        task = asyncio.get_running_loop().create_task(self._act(node, ask))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _act(self, node: str, ask: _Ask) -> None:
        act = self._acts.get(ask.method)
        try:
            if act is None:
                raise MethodNotFound(f"a node has no method {ask.method!r}: is it of an older version?")
            result = await act(ask.body)
            if len(result) > TOLD_BYTES_MAX:
                raise LimitExceeded(f"a node answers up to {TOLD_BYTES_MAX} bytes: ask for less at once")
            answer = _Answer(node, ask.number, result)
        except GaplessError as error:
            answer = _Answer(node, ask.number, refusal=Refusal.of(error))
        except msgspec.MsgspecError as error:
            unread = BadRequest(f"another node asks for what cannot be read: {error}")
            answer = _Answer(node, ask.number, refusal=Refusal.of(unread))
        except Exception as error:
            log.exception("what another node asked for failed: %s", ask.method)
            answer = _Answer(node, ask.number, refusal=Refusal.of(GaplessError(f"{ask.method}: {error}")))
        if ask.method not in self._looks:
            self._remember((node, ask.number), answer)
            self._clock.after(self._patience_ms, lambda: self._spare(node, ask.number))
        self._telling.tell(answer)

    def _spare(self, node: str, number: int) -> None:
        """Keep that it was done, and not the answer: nobody waits for that any more."""
        if (node, number) in self._done:
            self._done[node, number] = None

    def _remember(self, key: tuple[str, int], answer: _Answer | None) -> None:
        self._done[key] = answer
        if len(self._done) > ACTS_REMEMBERED_MAX:
            node, number = next(iter(self._done))
            del self._done[node, number]
            self._forgotten[node] = max(number, self._forgotten.get(node, 0))

    def forget(self, node: str) -> None:
        """Let go of what is remembered of a node that will never be heard of again."""
        self._forgotten.pop(node, None)

    async def stop(self) -> None:
        """Answer nobody any more."""
        for question in self._questions.values():
            question.end()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
