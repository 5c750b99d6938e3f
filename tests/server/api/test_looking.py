"""What a backend may see of channels, and the history that it may drop."""

from typing import Any

import msgspec
import pytest

from gapless.core.errors import NotAvailable
from gapless.server.api.looking import Looking
from gapless.server.api.requests import (
    ChannelsRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    PresenceRequest,
    PresenceStatsRequest,
)
from tests.conversation import OPEN, Stage, play, rest

CHAT = msgspec.structs.replace(
    OPEN,
    name="chat",
    presence=True,
    history_size=10,
    history_ttl_ms=60_000,
    force_recovery=True,
)


def looking(stage: Stage) -> Looking:
    return Looking(stage.broker, list)


def read(answer: bytes) -> Any:
    return msgspec.json.decode(answer)


def test_presence_tells_each_client_with_what_its_token_says() -> None:
    async def scene(stage: Stage) -> None:
        for name in ("ann", "ann", "bob"):
            peer = stage.peer()
            await peer.connect(token=name)
            await peer.follow("chat:1")
        held = read(await looking(stage).presence(PresenceRequest("chat:1")))["presence"]
        assert sorted(info["user"] for info in held.values()) == ["ann", "ann", "bob"]
        assert all(client == info["client"] for client, info in held.items())
        stats = read(await looking(stage).presence_stats(PresenceStatsRequest("chat:1")))
        assert stats == {"num_clients": 3, "num_users": 2}
        with pytest.raises(NotAvailable):
            await looking(stage).presence(PresenceRequest("open"))

    play(scene, CHAT)


def test_channels_are_found_by_a_glob_and_told_in_pages() -> None:
    async def scene(stage: Stage) -> None:
        names = [f"chat:{number}" for number in range(5)]
        for name in [*names, "other", names[0]]:
            await stage.reader(name)
        api = looking(stage)
        everything = read(await api.channels(ChannelsRequest()))
        assert everything["channels"] == {
            name: {"num_clients": 1 + (name == names[0])} for name in [*names, "other"]
        }
        assert list(read(await api.channels(ChannelsRequest(pattern="chat:[0-2]")))["channels"]) == names[:3]
        found, after = [], ""
        while True:
            page = read(await api.channels(ChannelsRequest(pattern="chat:*", limit=2, after=after)))
            found += page["channels"]
            if "next" not in page:
                break
            after = page["next"]
        assert found == names

    play(scene, CHAT)


def test_a_channel_that_nobody_follows_any_more_is_not_told() -> None:
    async def scene(stage: Stage) -> None:
        reader = await stage.reader("chat:1")
        await reader.ask({"unsubscribe": {"channel": "chat:1"}})
        assert read(await looking(stage).channels(ChannelsRequest())) == {"channels": {}}

    play(scene, CHAT)


def test_history_that_was_removed_is_gone_for_all_and_no_offset_is_given_again() -> None:
    async def scene(stage: Stage) -> None:
        reader = await stage.reader("chat:1")
        await stage.publish("chat:1", *range(5))
        api = looking(stage)
        await api.history_remove(HistoryRemoveRequest("chat:1"))
        held = read(await api.history(HistoryRequest("chat:1", limit=-1)))
        assert (held["publications"], held["offset"]) == ([], 5)
        await stage.publish("chat:1", "next")
        assert reader.offsets() == [1, 2, 3, 4, 5, 6]
        returning = stage.peer()
        await returning.connect()
        for offset, recovered in ((5, True), (3, False)):
            since = {"recover": True, "offset": offset, "epoch": held["epoch"]}
            result = await returning.follow("chat:1", **since)
            assert result.get("recovered", False) is recovered
            await returning.ask({"unsubscribe": {"channel": "chat:1"}})
        with pytest.raises(NotAvailable):
            await api.history_remove(HistoryRemoveRequest("open"))
        await rest()

    play(scene, CHAT)
