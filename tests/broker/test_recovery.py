import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from gapless.broker.namespaces import RecoveryMode
from gapless.core.errors import PositionLost
from gapless.core.stream import Page, Position
from tests.conversation import OPEN, Peer, Stage, play, rest

KEPT = replace(OPEN, history_size=50, history_ttl_ms=600_000, force_recovery=True)
CACHE = replace(KEPT, force_recovery_mode=RecoveryMode.CACHE)


def test_a_fresh_subscriber_starts_at_the_end() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", 1, 2, 3)
        peer = stage.peer()
        await peer.connect()
        reply = await peer.follow("a")
        assert reply == {
            "recoverable": True,
            "positioned": True,
            "epoch": stage.broker.placing.epoch,
            "offset": 3,
        }

    play(scene, without=KEPT)


@pytest.mark.parametrize("warm", [True, False])
def test_a_returning_one_gets_what_it_missed_and_its_own_offset_back(warm: bool) -> None:
    async def scene(stage: Stage) -> None:
        epoch = stage.broker.placing.epoch
        if warm:  # somebody follows, so the node holds the tail
            await stage.reader("a")
        await stage.publish("a", *range(1, 6))
        peer = stage.peer()
        await peer.connect()
        reply = await peer.follow("a", recover=True, epoch=epoch, offset=2)
        assert reply["recovered"] is True
        assert reply["was_recovering"] is True
        assert reply["offset"] == 2
        assert [p["offset"] for p in reply["publications"]] == [3, 4, 5]
        await stage.publish("a", 6)
        assert peer.offsets() == [6]

    play(scene, without=KEPT)


def test_a_long_gap_is_paged_beyond_the_reply() -> None:
    async def scene(stage: Stage) -> None:
        epoch = stage.broker.placing.epoch
        await stage.publish("a", *(["x" * 1000] * 2000))
        peer = stage.peer()
        await peer.connect()
        reply = await peer.follow("a", recover=True, epoch=epoch, offset=1)
        first = [p["offset"] for p in reply["publications"]]
        assert reply["recovered"] is True
        await rest()
        later = peer.offsets()
        assert len(first) < 1999
        assert first + later == list(range(2, 2001))

    play(scene, without=replace(KEPT, history_size=3000))


@pytest.mark.parametrize(
    ("epoch", "offset"),
    [
        (None, 6),  # beyond the end
        (None, 2**62),
        ("other", 3),  # of a timeline that was never ours
        ("", 3),  # an offset without an epoch
    ],
)
def test_a_position_that_does_not_hold_gets_the_head_and_nothing_else(epoch: str | None, offset: int) -> None:
    async def scene(stage: Stage) -> None:
        ours = stage.broker.placing.epoch
        await stage.publish("a", *range(1, 6))
        peer = stage.peer()
        await peer.connect()
        reply = await peer.follow("a", recover=True, epoch=ours if epoch is None else epoch, offset=offset)
        assert "recovered" not in reply
        assert "publications" not in reply
        assert (reply["was_recovering"], reply["offset"], reply["epoch"]) == (True, 5, ours)
        await stage.publish("a", 6)
        assert peer.offsets() == [6]

    play(scene, without=KEPT)


def test_what_retention_took_is_told() -> None:
    async def scene(stage: Stage) -> None:
        epoch = stage.broker.placing.epoch
        await stage.reader("a")
        await stage.publish("a", *range(1, 61))
        peer = stage.peer()
        await peer.connect()
        assert "recovered" not in await peer.follow("a", recover=True, epoch=epoch, offset=9)
        other = stage.peer()
        await other.connect()
        reply = await other.follow("a", recover=True, epoch=epoch, offset=10)
        assert [p["offset"] for p in reply["publications"]] == list(range(11, 61))

    play(scene, without=KEPT)


def test_after_the_streams_time_to_live_only_the_end_holds() -> None:
    async def scene(stage: Stage) -> None:
        epoch = stage.broker.placing.epoch
        await stage.reader("a")
        await stage.publish("a", 1, 2, 3)
        stage.clock.pass_ms(600_000)
        behind, level = stage.peer(), stage.peer()
        await behind.connect()
        await level.connect()
        assert "recovered" not in await behind.follow("a", recover=True, epoch=epoch, offset=2)
        assert (await level.follow("a", recover=True, epoch=epoch, offset=3))["recovered"] is True

    play(scene, without=KEPT)


def test_an_empty_stream_recovers_from_nothing() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        reply = await peer.follow("a", recover=True, epoch=stage.broker.placing.epoch, offset=0)
        assert reply["recovered"] is True

    play(scene, without=KEPT)


def test_a_client_that_rather_fails_than_reloads_gets_error_112() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        reply = await peer.follow("a", recover=True, epoch="other", offset=3, flag=2)
        assert reply["error"]["code"] == 112
        await stage.publish("a", 1)
        assert peer.heard() == []
        assert "error" not in await peer.follow("a")

    play(scene, without=KEPT)


def test_a_cache_gives_the_newest_alone() -> None:
    async def scene(stage: Stage) -> None:
        epoch = stage.broker.placing.epoch
        await stage.publish("a", 1, 2, 3)
        for offset, missed in ((1, [3]), (3, []), (0, [3])):
            peer = stage.peer()
            await peer.connect()
            reply = await peer.follow("a", recover=True, epoch=epoch, offset=offset)
            assert reply["recovered"] is True
            assert [p["offset"] for p in reply.get("publications", [])] == missed
            await stage.publish("b", 1)
            assert peer.offsets() == []

    play(scene, without=CACHE)


def test_an_empty_cache_has_nothing_to_recover() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        assert "recovered" not in await peer.follow("a", recover=True, epoch="other", offset=7)

    play(scene, without=CACHE)


def test_recovery_is_on_request_where_it_is_only_allowed() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        assert "recoverable" not in await peer.follow("allowed:a")
        assert (await peer.follow("allowed:b", recoverable=True))["recoverable"] is True
        assert "positioned" not in await peer.follow("plain:a", recoverable=True, positioned=True)
        assert (await peer.follow("readable:a", positioned=True))["positioned"] is True
        assert (await peer.follow("readable:b", recoverable=True))["recoverable"] is True

    plain = replace(KEPT, name="plain", force_recovery=False, allow_history_for_client=False)
    allowed = replace(plain, name="allowed", allow_recovery=True)
    readable = replace(plain, name="readable", allow_history_for_subscriber=True)
    play(scene, allowed, plain, readable)


@pytest.mark.parametrize(("offset", "told"), [(0, [2]), (1, [2]), (2, []), (3, []), (4, [])])
def test_a_cache_gives_the_newest_that_was_not_erased(offset: int, told: list[int]) -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", 1, 2, 3, 4)
        assert await stage.broker.removing.erase("a", 4)
        assert await stage.broker.removing.erase("a", 3)
        peer = stage.peer()
        await peer.connect()
        reply = await peer.follow("a", recover=True, epoch=stage.broker.placing.epoch, offset=offset)
        assert reply["recovered"] is True
        assert [publication["offset"] for publication in reply.get("publications", [])] == told
        await stage.publish("a", 5)
        assert peer.offsets() == [5]

    play(scene, without=CACHE)


def test_erasing_leaves_every_position_true() -> None:
    async def scene(stage: Stage) -> None:
        epoch = stage.broker.placing.epoch
        live = await stage.reader("a")
        await stage.publish("a", *range(1, 8))
        for offset in (1, 4, 5, 7):
            assert await stage.broker.removing.erase("a", offset)
        for offset, told in ((0, [2, 3, 6]), (3, [6]), (4, [6]), (5, [6]), (6, []), (7, [])):
            for _ in range(2):  # from the store, then from whatever is held by then
                peer = stage.peer()
                await peer.connect()
                reply = await peer.follow("a", recover=True, epoch=epoch, offset=offset)
                assert reply["recovered"] is True
                assert [publication["offset"] for publication in reply.get("publications", [])] == told
        await stage.publish("a", 8)
        assert live.offsets() == [1, 2, 3, 4, 5, 6, 7, 8]

    play(scene, without=KEPT)


def test_history_passes_over_what_was_erased_however_much_it_is() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", *range(1, 1_101))
        for offset in range(2, 1_099):
            assert await stage.broker.removing.erase("a", offset)
        for reverse, offsets in ((False, [1, 1_099, 1_100]), (True, [1_100, 1_099, 1])):
            for limit in (1, 2, 3, 10):
                history = await stage.broker.history("a", limit=limit, reverse=reverse)
                assert [message.offset for message in history.messages] == offsets[:limit]
                assert history.offset == 1_100

    play(scene, without=replace(KEPT, history_size=2_000))


def test_what_waits_for_the_end_of_the_tick_goes_out_and_is_not_held() -> None:
    async def scene(stage: Stage) -> None:
        live = await stage.reader("a")
        outcomes: list[object] = []
        stage.broker.publish("a", b"1", outcomes.append)
        assert await stage.broker.removing.erase("a", 1)
        await rest()
        assert live.offsets() == [1]
        peer = stage.peer()
        await peer.connect()
        reply = await peer.follow("a", recover=True, epoch=stage.broker.placing.epoch, offset=0)
        assert reply.get("publications", []) == []

    play(scene, without=KEPT)


STORM = 1_000


async def storm(stage: Stage, *, first: int, offset: int = 0) -> list[tuple[Peer, list[int]]]:
    """Let many come back at the same moment, and as many while the first read is under way."""
    peers = []
    for _ in range(STORM):
        peer = stage.peer()
        peer.say({"connect": {}})
        peers.append(peer)
    request = {"channel": "a", "recover": True, "epoch": stage.broker.placing.epoch, "offset": offset}
    for peer in peers[: first or STORM]:
        peer.say({"subscribe": request})
    for _ in range(3):
        await asyncio.sleep(0)
    for peer in peers[first or STORM :]:
        peer.say({"subscribe": request})
    await rest()
    return [(peer, received(peer)) for peer in peers]


def received(peer: Peer) -> list[int]:
    """Return the offsets that a peer was given, in the reply to its subscribing and after it."""
    offsets: list[int] = []
    for reply in peer.heard():
        offsets += [each["offset"] for each in reply.get("subscribe", {}).get("publications", [])]
        offsets += [reply["push"]["pub"]["offset"]] if "pub" in reply.get("push", {}) else []
    return offsets


@pytest.mark.parametrize("first", [0, STORM // 2])
def test_a_storm_reads_the_store_once(first: int) -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", *range(1, 101))
        before = stage.broker.store.statistics().reads
        for _, offsets in await storm(stage, first=first):
            assert offsets == list(range(1, 101))
        assert stage.broker.store.statistics().reads == before + 1

    play(scene, without=replace(KEPT, history_size=1_000))


def test_those_who_had_read_less_and_more_share_the_read() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", *range(1, 101))
        before = stage.broker.store.statistics().reads
        peers = []
        for number in range(100):
            peer = stage.peer()
            peer.say({"connect": {}})
            epoch = stage.broker.placing.epoch
            peer.say({"subscribe": {"channel": "a", "recover": True, "epoch": epoch, "offset": number}})
            peers.append(peer)
        await rest()
        assert [received(peer) for peer in peers] == [list(range(n + 1, 101)) for n in range(100)]
        assert stage.broker.store.statistics().reads == before + 1

    play(scene, without=replace(KEPT, history_size=1_000))


def test_a_storm_over_several_pages_reads_each_once() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", *(["x" * 1_000] * 600))
        before = stage.broker.store.statistics().reads
        for _, offsets in await storm(stage, first=STORM // 2):
            assert offsets == list(range(1, 601))
        assert stage.broker.store.statistics().reads - before <= 4

    play(scene, without=replace(KEPT, history_size=1_000))


def test_a_lost_position_of_one_is_not_another_ones() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", *range(1, 201))  # of which 50 are kept
        peers = [stage.peer(), stage.peer()]
        for peer, offset in zip(peers, (10, 190), strict=True):
            peer.say({"connect": {}})
            epoch = stage.broker.placing.epoch
            peer.say({"subscribe": {"channel": "a", "recover": True, "epoch": epoch, "offset": offset}})
        await rest()
        replies = [[each["subscribe"] for each in peer.heard() if "subscribe" in each] for peer in peers]
        assert [reply[0].get("recovered", False) for reply in replies] == [False, True]

    play(scene, without=KEPT)


def test_a_page_of_another_generation_than_it_was_asked_in_is_not_shared() -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", *range(1, 11))
        store, channel_of = stage.broker.store, stage.broker.hub.channels
        epoch, read = stage.broker.placing.epoch, store.read

        async def read_later(stream: str, *, after: Position, **limits: Any) -> Page:
            """Answer as a store that went on elsewhere after offset 5, once the node knows of that."""
            channel_of["a"].stand("later", 10)
            if after.offset > 5:
                raise PositionLost("it does not hold")
            page = await read(stream, after=after, **limits)
            return replace(page, epoch="later")

        store.read = read_later  # type: ignore[assignment,method-assign]
        peers = [stage.peer(), stage.peer()]
        for peer, offset in zip(peers, (2, 8), strict=True):
            peer.say({"connect": {}})
            peer.say({"subscribe": {"channel": "a", "recover": True, "epoch": epoch, "offset": offset}})
        await rest()
        replies = [[each["subscribe"] for each in peer.heard() if "subscribe" in each] for peer in peers]
        assert [reply[0].get("recovered", False) for reply in replies] == [True, False]

    play(scene, without=KEPT)


def test_what_is_erased_while_a_page_is_read_is_not_kept_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish("a", 1, 2, 3)
        store, epoch, go_on = stage.broker.store, stage.broker.placing.epoch, asyncio.Event()
        read = store.read

        async def read_slowly(stream: str, **options: Any) -> Page:
            page = await read(stream, **options)
            await go_on.wait()
            return page

        monkeypatch.setattr(store, "read", read_slowly)
        first, second, third = stage.peer(), stage.peer(), stage.peer()
        for peer in (first, second, third):
            await peer.connect()
        first.say({"subscribe": {"channel": "a", "recover": True, "epoch": epoch, "offset": 0}})
        await rest()
        assert await stage.broker.removing.erase("a", 2)
        second.say({"subscribe": {"channel": "a", "recover": True, "epoch": epoch, "offset": 0}})
        await rest()
        go_on.set()
        await rest()
        told = [peer.heard()[0]["subscribe"]["publications"] for peer in (first, second)]
        assert [[each["offset"] for each in publications] for publications in told] == [[1, 2, 3], [1, 3]]
        reply = await third.follow("a", recover=True, epoch=epoch, offset=0)
        assert [each["offset"] for each in reply["publications"]] == [1, 3]

    play(scene, without=KEPT)
