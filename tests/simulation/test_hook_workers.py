"""Workers that decide about publications, and are slow, die, answer twice or badly: from a seed.

No publication is stored without the yes of its hook, and each is answered once; what was acknowledged is what
history has, and what followers saw.
"""

import asyncio
import json
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gapless.core.limits import HOOK_MS
from gapless.protocol.hooks import AnsweredCall, AnswerRequest, Catalogue, Decision, Refusal, TakeRequest
from gapless.server import hook_workers
from gapless.server.hooks import Hooks, Known
from tests.conversation import OPEN, Peer, Stage, play, rest

SEEDS = range(60)
STEPS = 150
QUIET_MS = 86_400_000  # no pings
CHANNEL = "a"
KEPT = replace(OPEN, history_size=10_000, history_ttl_ms=3_600_000, force_recovery=True)
HOOKS = Catalogue(publish=["*"])
encode = msgspec.json.encode
YES, NO = Decision(decided=True), Decision(refusal=Refusal())


class Worker:
    """Takes calls and answers them when it likes, if at all; another one has its place when it dies."""

    def __init__(self, world: "World", name: str) -> None:
        self._world = world
        self.name = name
        self.held: list[tuple[str, int]] = []  # calls, and what was published
        self._take: Any = None

    async def listen(self) -> None:
        """Take over what was handed out, and wait for more."""
        if self._take is not None and self._take.done():
            self.held += [(call.id, json.loads(call.asked.body())) for call in self._take.result().calls]
            self._take = None
        if self._take is None:
            dice = self._world.dice
            request = TakeRequest(
                worker=self.name, hooks=HOOKS, limit=dice.randrange(1, 5), wait_ms=dice.choice((0, 20_000))
            )
            self._take = self._world.loop.create_task(self._world.workers.take(request))
            await rest()

    async def answer(self) -> None:
        """Answer some call: well, badly, twice, or that of somebody else."""
        dice, world = self._world.dice, self._world
        if not self.held:
            return
        id, number = self.held.pop(dice.randrange(len(self.held)))
        how = dice.random()
        if how < 0.1:
            await self._say(id, msgspec.Raw(dice.choice((b"null", b"7", b'{"decided":"yes"}'))))
        elif how < 0.2:  # whose call it is not may say nothing
            await world.answer(dice.choice(world.everybody).name + "?", id, msgspec.Raw(encode(YES)))
            self.held.append((id, number))
            return
        decision = dice.choice((YES, YES, NO))
        if how >= 0.1 and decision is YES:
            world.allowed.add(number)
        await self._say(id, msgspec.Raw(encode(decision)))
        if how > 0.8:
            await self._say(id, msgspec.Raw(encode(YES if decision is NO else NO)))

    async def _say(self, id: str, decision: msgspec.Raw) -> None:
        await self._world.answer(self.name, id, decision)

    async def die(self) -> None:
        """Go away amid everything."""
        if self._take is not None:
            self._take.cancel()
        self._take = None
        self.held.clear()
        await rest()


class World:
    """A node with clients that publish and workers that decide."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.dice = Random(seed)
        self.stage = stage
        self.loop = asyncio.get_running_loop()
        self.workers = stage.sessions.workers
        hooks = stage.sessions.hooks = Hooks(stage.clock)
        hooks.serve([(Known(HOOKS), self.workers)])
        self.everybody = [Worker(self, f"w{number}") for number in range(3)]
        self.allowed: set[int] = set()
        self.sent: dict[tuple[Peer, int], int] = {}
        self.replies: dict[int, list[dict[str, Any]]] = {}
        self.seen: list[int] = []

    async def answer(self, name: str, id: str, decision: msgspec.Raw) -> None:
        answers = [AnsweredCall(id=id, decision=decision)]
        await self.workers.answer(AnswerRequest(worker=name, answers=answers))
        await rest()

    async def run(self) -> None:
        self.peers = [await self.stage.reader(CHANNEL) for _ in range(3)]
        for _ in range(STEPS):
            await self.step()
            self.hear()
        for _ in range(STEPS):  # those of one connection are asked one after the other
            for worker in self.everybody:
                await worker.listen()
                await worker.answer()
            self.stage.clock.pass_ms(HOOK_MS)
            await rest()
            self.hear()
        for worker in self.everybody:
            await worker.die()

    async def step(self) -> None:
        worker, dice = self.dice.choice(self.everybody), self.dice.random()
        if dice < 0.4:
            self.publish()
        elif dice < 0.65:
            await worker.listen()
        elif dice < 0.9:
            await worker.answer()
        elif dice < 0.95:
            self.stage.clock.pass_ms(self.dice.randrange(HOOK_MS // 2))
        else:
            await worker.die()
        await rest()

    def publish(self) -> None:
        number = len(self.replies)
        self.replies[number] = []
        peer = self.dice.choice(self.peers)
        peer.say({"publish": {"channel": CHANNEL, "data": number}})
        self.sent[peer, peer._id] = number

    def hear(self) -> None:
        for peer in self.peers:
            for said in peer.heard():
                if "id" in said:
                    self.replies[self.sent[peer, said["id"]]].append(said)
                elif peer is self.peers[0] and "pub" in said.get("push", {}):
                    self.seen.append(said["push"]["pub"]["data"])

    async def check(self) -> None:
        assert {len(replies) for replies in self.replies.values()} == {1}, "each is answered once"
        acknowledged = {number for number, [reply] in self.replies.items() if "publish" in reply}
        held = await self.stage.broker.history(CHANNEL, limit=10_000)
        kept = [json.loads(message.data) for message in held.messages]
        assert len(set(kept)) == len(kept)
        assert set(kept) == acknowledged, "what was acknowledged is what is kept"
        assert acknowledged <= self.allowed, "nothing is taken without its yes"
        assert self.seen == kept, "who follows sees it in order"


def simulate(seed: int) -> None:
    async def scene(stage: Stage) -> None:
        world = World(stage, seed)
        await world.run()
        await world.check()

    play(scene, without=KEPT, ping_interval_ms=QUIET_MS)


def simulate_all() -> None:
    for seed in SEEDS:
        simulate(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_published_without_its_yes_and_each_is_answered(seed: int) -> None:
    simulate(seed)


def test_a_worker_that_is_lost_and_counts_as_a_yes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(call: Any, why: str) -> None:
        if not call.told.done():
            call.told.set_result(YES)

    monkeypatch.setattr(hook_workers._Call, "fail", fail)
    with pytest.raises(AssertionError, match="without its yes"):
        simulate_all()


def test_a_worker_that_is_late_and_counts_as_a_yes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(hooks: Hooks, asked: Any, told: Any) -> None:
        if not told.done():
            told.set_result(YES)

    monkeypatch.setattr(Hooks, "_late", late)
    with pytest.raises(AssertionError, match="without its yes"):
        simulate_all()
