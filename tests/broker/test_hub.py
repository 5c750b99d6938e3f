import pytest
from msgspec.structs import replace

from gapless.broker import hub
from gapless.broker.namespaces import RecoveryMode, SlowConsumer
from gapless.core.limits import PAGE_BYTES_MAX
from tests.conversation import OPEN, Stage, play, rest

KEPT = replace(OPEN, history_size=5_000, history_ttl_ms=600_000, force_recovery=True)
HIGH = 64 * 1024


def test_what_comes_within_a_tick_is_one_write() -> None:
    async def scene(stage: Stage) -> None:
        readers = [await stage.reader("a") for _ in range(3)]
        await stage.publish("a", 1, 2, 3)
        frames = [reader.socket.frames for reader in readers]
        assert [len(written) for written in frames] == [1, 1, 1]
        assert frames[0][0] is frames[1][0] is frames[2][0], "encoded once for all"
        assert readers[0].offsets() == [1, 2, 3]

    play(scene, without=KEPT)


def test_ones_own_publication_comes_before_the_answer() -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.reader("a")
        replies = await peer.ask({"publish": {"channel": "a", "data": {"n": 1}}})
        assert ["push" in reply for reply in replies] == [True, False]
        assert replies[1]["publish"] == {}

    play(scene, without=KEPT)


def test_a_subscribe_reply_comes_before_what_follows_it() -> None:
    async def scene(stage: Stage) -> None:
        await stage.reader("a")
        peer = stage.peer()
        await peer.connect()
        replies = await peer.ask(
            {"publish": {"channel": "a", "data": 1}},
            {"subscribe": {"channel": "a"}},
            {"publish": {"channel": "a", "data": 2}},
        )
        at = next(i for i, r in enumerate(replies) if "subscribe" in r)
        head = replies[at]["subscribe"].get("offset", 0)
        pushed = [r["push"]["pub"]["offset"] for r in replies if "push" in r]
        assert all("push" not in reply for reply in replies[:at])
        assert pushed == list(range(head + 1, 3))

    play(scene, without=KEPT)


def test_the_first_publication_of_a_stream_names_its_epoch() -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.reader("a")
        await stage.publish("a", 1, 2)
        pubs = [reply["push"]["pub"] for reply in peer.heard()]
        assert [pub.get("epoch") for pub in pubs] == [stage.broker.placing.epoch, None]

    play(scene, without=KEPT)


def test_a_slow_reader_leaves_the_cohort_and_reads_on() -> None:
    async def scene(stage: Stage) -> None:
        slow, quick = await stage.reader("a"), await stage.reader("a")
        slow.socket.full_bytes = HIGH
        got: list[int] = []
        for _ in range(20):
            await stage.publish("a", *(["x" * 500] * 100))
            got += quick.offsets()
        assert slow.socket.buffered_bytes() <= HIGH + PAGE_BYTES_MAX
        assert not slow.socket.reading, "its commands wait too"
        assert slow.socket.closed_with is None
        assert got == list(range(1, 2001))
        seen = slow.offsets()
        slow.socket.drain()
        await rest()
        seen += slow.offsets()
        await stage.publish("a", 0)
        assert seen + slow.offsets() == list(range(1, 2002))

    play(scene, without=KEPT)


def test_one_tick_costs_a_slow_reader_a_page_at_most() -> None:
    async def scene(stage: Stage) -> None:
        slow = await stage.reader("a")
        slow.socket.full_bytes = HIGH
        await stage.publish("a", *(["x" * 60_000] * 40))
        assert slow.socket.buffered_bytes() <= HIGH + PAGE_BYTES_MAX + 60_000
        seen = slow.offsets()
        slow.socket.drain()
        await rest()
        assert seen + slow.offsets() == list(range(1, 41))

    play(scene, without=KEPT)


def test_a_dropping_namespace_tells_how_many() -> None:
    async def scene(stage: Stage) -> None:
        slow = await stage.reader("a")
        slow.socket.full_bytes = 100
        await stage.publish("a", "x" * 200)
        await stage.publish("a", 2)
        await stage.publish("a", 3, 4)
        assert len(slow.heard()) == 1
        slow.socket.drain()
        await stage.publish("a", 5, 6)
        pubs = [reply["push"]["pub"] for reply in slow.heard()]
        assert [pub["data"] for pub in pubs] == [5, 6]
        assert [pub.get("tags") for pub in pubs] == [{"gapless-dropped": "3"}, None]
        assert stage.broker.hub.dropped == 3
        await stage.publish("a", 7)
        assert [r["push"]["pub"] for r in slow.heard()] == [{"data": 7}]

    play(scene, without=OPEN)


def test_what_is_dropped_while_the_news_waits_adds_up() -> None:
    async def scene(stage: Stage) -> None:
        slow = await stage.reader("a")
        for _ in range(2):
            slow.socket.full_bytes = 0
            slow.session.writing_paused()
            await stage.publish("a", 1)
            slow.socket.drain()
        await stage.publish("a", 2)
        [push] = slow.heard()
        assert push["push"]["pub"]["tags"] == {"gapless-dropped": "2"}

    play(scene, without=OPEN)


def test_a_slow_reader_of_a_cache_gets_the_newest() -> None:
    async def scene(stage: Stage) -> None:
        slow = await stage.reader("a")
        slow.session.writing_paused()
        await stage.publish("a", 1, 2, 3)
        assert slow.heard() == []
        slow.session.writing_resumed()
        await rest()
        assert slow.offsets() == [3]
        await stage.publish("a", 4)
        assert slow.offsets() == [4]

    play(scene, without=replace(KEPT, force_recovery_mode=RecoveryMode.CACHE))


def test_a_namespace_may_part_with_slow_readers() -> None:
    async def scene(stage: Stage) -> None:
        slow, quick = await stage.reader("a"), await stage.reader("a")
        slow.socket.full_bytes = 100
        await stage.publish("a", "x" * 200, 2)
        await stage.publish("a", 3)
        assert slow.socket.closed_with == (3008, "slow")
        assert quick.offsets() == [1, 2, 3]

    play(scene, without=replace(KEPT, slow_consumer=SlowConsumer.DISCONNECT))


def test_a_message_that_skips_history_reaches_who_is_level_in_its_turn() -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.reader("a")
        for n in range(4):
            stage.broker.publish("a", b"%d" % n, lambda _: None, skip_history=n % 2 == 1)
        await rest()
        pubs = [reply["push"]["pub"] for reply in peer.heard()]
        assert [(pub["data"], pub.get("offset")) for pub in pubs] == [(0, 1), (1, None), (2, 2), (3, None)]
        late = stage.peer()
        await late.connect()
        reply = await late.follow("a", recover=True, epoch=stage.broker.placing.epoch, offset=0)
        assert [p["data"] for p in reply["publications"]] == [0, 2]

    play(scene, without=KEPT)


def test_without_history_nothing_is_numbered_or_kept() -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.reader("a")
        await stage.publish("a", 1)
        assert [r["push"]["pub"] for r in peer.heard()] == [{"data": 1}]
        [reply] = await peer.ask({"history": {"channel": "a", "limit": 5}})
        assert reply["error"]["code"] == 108

    play(scene, without=OPEN)


def test_binary_data_parts_json_readers_and_nobody_else() -> None:
    async def scene(stage: Stage) -> None:
        peer, other = await stage.reader("a"), await stage.reader("b")
        stage.broker.publish("a", b"\xff\x00", lambda _: None, meta=b'{"binary":true}', binary=True)
        await rest()
        assert peer.socket.closed_with == (3506, "inappropriate protocol")
        await stage.publish("b", 1)
        assert other.offsets() == [1]

    play(scene, without=KEPT)


def test_what_cannot_be_encoded_parts_readers_instead_of_being_skipped() -> None:
    async def scene(stage: Stage) -> None:
        peer, other = await stage.reader("a"), await stage.reader("b")
        stage.broker.publish("a", b"1", lambda _: None, meta=b"[")
        await stage.publish("b", 1)
        await stage.publish("a", 2)
        assert peer.socket.closed_with == (3506, "inappropriate protocol")
        assert peer.offsets() == []
        assert other.offsets() == [1]

    play(scene, without=KEPT)


def test_the_tails_hold_so_many_bytes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TAIL_BYTES_MAX", 10_000)

    async def scene(stage: Stage) -> None:
        position = {"recover": True, "epoch": stage.broker.placing.epoch}
        for number in range(10):
            await stage.publish(f"c{number}", *["x" * 500] * 4)
            peer = await stage.reader(f"c{number}", **position)  # whose page is kept
            assert held(stage) <= 10_000
            await stage.publish(f"c{number}", "x" * 500)
            assert held(stage) <= 10_000
            assert peer.offsets() == [5]

    play(scene, without=KEPT)


def test_what_tails_let_go_of_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TAIL_BYTES_MAX", 10_000)

    async def scene(stage: Stage) -> None:
        await stage.reader("a")
        await stage.reader("b")
        await stage.publish("a", *["x" * 500] * 8)
        before = held(stage)
        for _ in range(4):
            await stage.publish("b", *["x" * 500] * 8)
            stage.broker.hub.channels["b"].flushed()
            stage.broker.hub.channels["b"].stand(
                stage.broker.placing.epoch, stage.broker.hub.channels["b"].sent
            )
        assert held(stage) == before, "what is not there makes nobody give up anything"

    play(scene, without=KEPT)


def held(stage: Stage) -> int:
    cohorts = [c for channel in stage.broker.hub.channels.values() for c in channel.cohorts.values()]
    return sum(cohort.tail.bytes for cohort in cohorts if cohort.tail is not None)


def test_a_channel_is_forgotten_a_while_after_its_last_reader() -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.reader("a")
        await stage.publish("a", 1)
        peer.session.closed(1000, "")
        assert "a" in stage.broker.hub.channels
        for _ in range(62):
            stage.clock.pass_ms(1_000)
            await rest()
        assert "a" not in stage.broker.hub.channels
        assert stage.broker.hub.tail_bytes == 0

    play(scene, without=KEPT)
