"""Channels held against the store: who is told of a lost position, and which channels are let go of."""

from unittest.mock import AsyncMock, patch

import pytest
from msgspec.structs import replace

from gapless.broker import placing
from gapless.core.limits import LOST_PER_TURN_MAX, LOST_TURN_MS
from gapless.core.lineage import Fate, Generation
from tests.conversation import OPEN, Peer, Stage, play, rest

KEPT = replace(OPEN, history_size=100, history_ttl_ms=600_000, force_recovery=True)


def told(peers: list[Peer]) -> int:
    return sum("unsubscribe" in reply.get("push", {}) for peer in peers for reply in peer.heard())


@pytest.mark.parametrize("channels", [1, 2 * LOST_PER_TURN_MAX + 1])
def test_those_who_lost_their_position_are_told_so_in_turns(channels: int) -> None:
    async def scene(stage: Stage) -> None:
        count = 2 * LOST_PER_TURN_MAX + 1
        peers = [await stage.reader(f"c{number % channels}") for number in range(count)]
        for channel in stage.broker.hub.channels.values():
            stage.broker.placing.lose(channel.subscriptions)
        most = 0
        left = count
        for _ in range(count):
            await rest()
            now = told(peers)
            most, left = max(most, now), left - now
            stage.clock.pass_ms(LOST_TURN_MS)
            if not left:
                break
        assert (most, left) == (LOST_PER_TURN_MAX, 0)

    play(scene, without=KEPT)


def test_who_asks_first_in_a_new_generation_is_answered() -> None:
    """A node on which nobody follows a channel hears of a generation by nothing else."""

    async def scene(stage: Stage) -> None:
        store = stage.broker.store
        await stage.publish("a", 1, 2)
        heads, generations = await store.heads(["a"]), await store.generations()
        later = Generation("later", 2, Fate.CLEAN)
        peer = stage.peer()
        await peer.connect()
        with (
            patch.object(store, "heads", AsyncMock(return_value=heads._replace(epoch="later"))),
            patch.object(store, "generations", AsyncMock(return_value=[*generations, later])),
        ):
            reply = await peer.follow("a")
        assert (reply["epoch"], reply["offset"]) == ("later", 2)

    play(scene, without=KEPT)


def test_channels_that_nobody_follows_are_kept_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "CHANNELS_IDLE_MAX", 3)

    async def scene(stage: Stage) -> None:
        peer = await stage.reader("followed")
        for number in range(5):
            await peer.ask(
                {"subscribe": {"channel": f"c{number}"}}, {"unsubscribe": {"channel": f"c{number}"}}
            )
        stage.clock.pass_ms(1_000)
        await rest()
        assert list(stage.broker.hub.channels) == ["followed", "c2", "c3", "c4"]
        await stage.publish("followed", 1)
        assert peer.offsets() == [1]

    play(scene, without=KEPT)
