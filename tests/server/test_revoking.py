"""Decisions about users and tokens: stored, followed, and held against connections."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gapless import backends
from gapless.backends import Options
from gapless.broker.broker import Broker
from gapless.broker.namespaces import Namespace, Namespaces
from gapless.broker.revocations import OVER_MS, Kind, Revocation
from gapless.broker.tokens import Grant
from gapless.core.errors import GaplessError, LimitExceeded, PositionLost, StoreDamaged, StoreFailed
from gapless.core.limits import REVOCATIONS_LOOK_MS
from gapless.core.stream import Entry, Retention
from gapless.ports import Care, Streams
from gapless.server import revoking
from gapless.server.revoking import STREAM, Revoking
from gapless.server.sessions import SessionOptions, Sessions
from tests.conversation import HandClock, Peer, PlainTokens, Stage, play, rest, token

CLOSED = Namespace(name="closed")
KEPT = Namespace(name="kept", history_size=10, history_ttl_ms=60_000)

Scene = Callable[[Stage, Revoking], Coroutine[Any, Any, None]]


def revoke(scene: Scene) -> None:
    async def run(stage: Stage) -> None:
        following = Revoking(stage.broker.store, stage.sessions, stage.clock)
        await following.start()
        try:
            await scene(stage, following)
        finally:
            await following.stop()

    play(run, CLOSED, KEPT, ping_interval_ms=10_000_000, pong_timeout_ms=0, stale_close_delay_ms=10_000_000)


async def user(stage: Stage, name: str, **claims: Any) -> Peer:
    peer = stage.peer()
    await peer.ask({"connect": {"token": token(name, **claims)}})
    peer.heard()
    return peer


def block(id: str, ends_ms: int = 0) -> Revocation:
    return Revocation(Kind.BLOCK, id, ends_ms=ends_ms)


async def look(stage: Stage) -> None:
    stage.clock.pass_ms(REVOCATIONS_LOOK_MS)
    await rest()


async def stored(stage: Stage) -> int:
    head = (await stage.broker.store.heads([STREAM])).heads[STREAM]
    return head.last - head.floor


def test_a_blocked_user_is_parted_with_and_stays_out_until_it_is_unblocked() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        ann, bob = await user(stage, "ann"), await user(stage, "bob")
        await revoking.decide(block("ann"))
        await rest()
        assert ann.socket.closed_with == (3507, "permission denied")
        assert bob.session.open
        again = await user(stage, "ann")
        assert again.socket.closed_with == (3507, "permission denied")
        await revoking.decide(block("ann", OVER_MS))
        assert (await user(stage, "ann")).session.open

    revoke(scene)


def test_a_block_ends_by_itself() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        await revoking.decide(block("ann", stage.clock.now_ms() + 1_000))
        assert not (await user(stage, "ann")).session.open
        stage.clock.pass_ms(1_000)
        assert (await user(stage, "ann")).session.open

    revoke(scene)


def test_connections_of_revoked_tokens_end_and_those_of_newer_ones_stay() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        old, new = await user(stage, "ann", iat_ms=999), await user(stage, "ann", iat_ms=1_000)
        undated = await user(stage, "ann")
        await revoking.decide(Revocation(Kind.USER, "ann", issued_before_ms=1_000))
        await rest()
        assert [peer.session.open for peer in (old, new, undated)] == [False, True, False]
        assert old.socket.closed_with == undated.socket.closed_with == (3500, "invalid token")
        assert (await user(stage, "ann", iat_ms=999)).socket.closed_with == (3500, "invalid token")

    revoke(scene)


def test_one_token_is_revoked_by_its_id() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        one, other = await user(stage, "ann", jti="1"), await user(stage, "ann", jti="2")
        await revoking.decide(Revocation(Kind.TOKEN, "1"))
        await rest()
        assert [peer.session.open for peer in (one, other)] == [False, True]
        await other.ask({"refresh": {"token": token("ann", jti="1")}})
        assert other.socket.closed_with == (3500, "invalid token")

    revoke(scene)


def test_a_blocked_user_cannot_prolong_its_connection() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        ann = await user(stage, "ann")
        revoking.held.take([block("ann")])  # as if the pass over all connections had not come by yet
        await ann.ask({"refresh": {"token": token("ann")}})
        assert ann.socket.closed_with == (3507, "permission denied")

    revoke(scene)


def test_a_subscription_ends_with_its_token() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        ann = await user(stage, "ann", iat_ms=2_000)
        for name in ("1", "2"):
            of = token("ann", f"closed:{name}", jti=name, iat_ms=2_000)
            assert "recoverable" not in await ann.follow(f"closed:{name}", token=of)
        await revoking.decide(Revocation(Kind.TOKEN, "1"))
        await rest()
        assert ann.heard() == [
            {"push": {"channel": "closed:1", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}}
        ]
        assert list(ann.session.subscriptions) == ["closed:2"]
        refused = await ann.follow("closed:1", token=token("ann", "closed:1", jti="1", iat_ms=2_000))
        assert refused["error"]["code"] == 103

    revoke(scene)


def test_what_the_api_subscribed_to_is_no_tokens_and_stays() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        ann = await user(stage, "ann", iat_ms=2_000)
        await ann.follow("closed:1", token=token("ann", "closed:1", iat_ms=1_000))
        await ann.follow("closed:2", token=token("ann", "closed:2", iat_ms=2_000))
        ann.session.subscribe_by_server("closed:3", Grant())
        await revoking.decide(Revocation(Kind.USER, "ann", issued_before_ms=2_000))
        await rest()
        assert list(ann.session.subscriptions) == ["closed:2", "closed:3"]

    revoke(scene)


def test_a_subscription_that_waited_for_the_store_does_not_outlive_its_token() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        ann = await user(stage, "ann")
        ann.say({"subscribe": {"channel": "kept:1", "token": token("ann", "kept:1", jti="1")}})
        assert ann.session.subscribing
        revoking.held.take([Revocation(Kind.TOKEN, "1")])
        await rest()
        assert [heard["error"]["code"] for heard in ann.heard()] == [103]
        assert not ann.session.subscriptions

    revoke(scene)


def test_another_node_follows_within_a_second() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        ann = await user(stage, "ann")
        elsewhere = Revoking(stage.broker.store, apart(stage), stage.clock)
        await elsewhere.start()
        await elsewhere.decide(block("ann"))
        ends = [ann.socket.closed_with]
        await look(stage)
        assert [*ends, ann.socket.closed_with] == [None, (3507, "permission denied")]
        await elsewhere.stop()

    assert REVOCATIONS_LOOK_MS < 1_000
    revoke(scene)


def apart(stage: Stage) -> Sessions:
    """Return the connections of another node over the same store: none."""
    return Sessions(
        stage.broker, stage.clock, stage.sessions.options, tokens=stage.sessions.tokens, random=Random(2)
    )


def test_a_node_that_starts_knows_what_was_decided_before_however_long_ago() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        await revoking.decide(block("ann"))
        await revoking.decide(Revocation(Kind.TOKEN, "1"))
        stage.clock.pass_ms(10 * 365 * 86_400_000)
        later = apart(stage)
        following = Revoking(stage.broker.store, later, stage.clock)
        await following.start()
        assert list(later.revocations) == list(revoking.held)
        await following.stop()

    revoke(scene)


def test_many_superseded_decisions_are_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoking, "SUPERSEDED_MAX", 10)

    async def scene(stage: Stage, following: Revoking) -> None:
        for number in range(30):
            await following.decide(block(f"user-{number % 3}", 0 if number % 2 else OVER_MS))
        held = sorted(each.name for each in following.held if not each.over(stage.clock.now_ms()))
        await look(stage)
        await look(stage)
        assert await stored(stage) == 1
        again = apart(stage)
        reader = Revoking(stage.broker.store, again, stage.clock)
        await reader.start()
        assert sorted(each.name for each in again.revocations) == held
        await following.decide(block("last"))
        stage.clock.pass_ms(REVOCATIONS_LOOK_MS)
        await rest()
        assert again.revocations.has(block("last"))
        await reader.stop()

    revoke(scene)


def test_a_stream_is_written_anew_once_however_many_nodes_follow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoking, "SUPERSEDED_MAX", 10)

    async def scene(stage: Stage, following: Revoking) -> None:
        others = [Revoking(stage.broker.store, apart(stage), stage.clock) for _ in range(2)]
        for other in others:
            await other.start()
        for number in range(30):
            await following.decide(block("ann", 0 if number % 2 else OVER_MS))
        for _ in range(3):
            await look(stage)
        before = await stage.broker.store.heads([STREAM])
        for _ in range(3):
            await look(stage)
        assert await stage.broker.store.heads([STREAM]) == before
        for other in others:
            await other.stop()

    revoke(scene)


def test_what_the_store_has_lost_it_gets_back() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        await revoking.decide(block("ann"))
        await rest()
        store = stage.broker.store
        await look(stage)
        store.append((Entry(STREAM, b'{"decisions":[]}', Retention()),), lambda entries, outcomes: None)
        await store.trim(STREAM, 2)  # the node's position is lost, as when a backup is restored
        for _ in range(3):
            await look(stage)
        later = apart(stage)
        following = Revoking(store, later, stage.clock)
        await following.start()
        assert later.revocations.has(block("ann"))
        await following.stop()

    revoke(scene)


def test_what_cannot_be_given_back_to_the_store_at_once_is_given_back_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(stage: Stage, following: Revoking) -> None:
        await following.decide(block("ann"))
        await look(stage)
        store = stage.broker.store
        store.append((Entry(STREAM, b'{"decisions":[]}', Retention()),), lambda entries, outcomes: None)
        await store.trim(STREAM, 2)
        with monkeypatch.context() as down:
            down.setattr(store, "append", _down)
            await look(stage)
        await look(stage)
        later = Revoking(store, apart(stage), stage.clock)
        await later.start()
        assert later.held.has(block("ann"))
        await later.stop()

    revoke(scene)


def _down(entries: object, done: object) -> None:
    raise StoreFailed("down")


def test_so_many_hold_and_a_user_can_be_unblocked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoking, "REVOCATIONS_MAX", 2)

    async def scene(stage: Stage, following: Revoking) -> None:
        await following.decide(block("ann"))
        await following.decide(block("bob"))
        with pytest.raises(LimitExceeded):
            await following.decide(block("eve"))
        await following.decide(block("ann", 9**15))
        await following.decide(block("bob", OVER_MS))
        await following.decide(block("eve"))

    revoke(scene)


def test_what_cannot_be_read_lets_nobody_in() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        entry = Entry(STREAM, b"damaged", Retention())
        stage.broker.store.append((entry,), lambda entries, outcomes: None)
        await rest()
        with pytest.raises(StoreDamaged):
            await Revoking(stage.broker.store, apart(stage), stage.clock).start()

    revoke(scene)


def test_a_store_that_fails_for_a_while_is_followed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        store, failures = stage.broker.store, iter([StoreFailed("down"), PositionLost("gone")])
        real = store.heads

        async def heads(streams: Any) -> Any:
            error: GaplessError | None = next(failures, None)
            if error is not None:
                raise error
            return await real(streams)

        monkeypatch.setattr(store, "heads", heads)
        elsewhere = Revoking(store, apart(stage), stage.clock)
        await elsewhere.start()
        await elsewhere.decide(block("ann"))
        for _ in range(3):
            await look(stage)
        assert revoking.held.has(block("ann"))
        await elsewhere.stop()

    revoke(scene)


def test_more_connections_than_fit_a_turn_are_all_held_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoking, "REVOKED_PER_TURN_MAX", 2)

    async def scene(stage: Stage, following: Revoking) -> None:
        peers = [await user(stage, "ann") for _ in range(5)]
        await following.decide(block("ann"))
        for _ in range(4):
            await rest()
            stage.clock.pass_ms(0)
        assert not any(peer.session.open for peer in peers)

    revoke(scene)


def test_a_decision_that_is_given_up_is_stored_or_not_and_harms_nothing() -> None:
    async def scene(stage: Stage, revoking: Revoking) -> None:
        deciding = asyncio.get_running_loop().create_task(revoking.decide(block("ann")))
        await asyncio.sleep(0)
        deciding.cancel()
        await rest()
        await look(stage)
        assert revoking.held.has(block("ann"))

    revoke(scene)


# On a file --------------------------------------------------------------------------------


def on_a_file(path: Path, scene: Callable[[Streams, HandClock], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        clock = HandClock()
        store = await backends.open(f"sqlite:{path / 'a.db'}", Options(now_ms=clock.now_ms))
        try:
            await scene(store, clock)
        finally:
            await store.close()

    asyncio.run(run())


async def follower(store: Streams, clock: HandClock) -> Revoking:
    broker = Broker(store, clock, Namespaces(), soon=asyncio.get_running_loop().call_soon)
    sessions = Sessions(broker, clock, SessionOptions(), tokens=PlainTokens(), random=Random(3))
    following = Revoking(store, sessions, clock)
    await following.start()
    return following


async def until(done: Callable[[], Coroutine[Any, Any, bool]], clock: HandClock) -> None:
    """Let a node look again until it has done what it was to do; the time limit of tests ends the wait."""
    while not await done():
        clock.pass_ms(REVOCATIONS_LOOK_MS)


def test_a_stream_that_is_written_anew_outlasts_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoking, "SUPERSEDED_MAX", 10)

    async def before(store: Streams, clock: HandClock) -> None:
        async def is_short() -> bool:
            head = (await store.heads([STREAM])).heads[STREAM]
            return head.last - head.floor <= 2

        following = await follower(store, clock)
        for number in range(200):
            await following.decide(block(f"user-{number % 40}"))
        await until(is_short, clock)
        await following.stop()

    async def after(store: Streams, clock: HandClock) -> None:
        following = await follower(store, clock)
        assert {each.id for each in following.held} == {f"user-{number}" for number in range(40)}
        await following.stop()

    on_a_file(tmp_path, before)
    on_a_file(tmp_path, after)


def test_a_restored_backup_forgets_no_decision_that_the_node_knows(tmp_path: Path) -> None:
    async def scene(store: Streams, clock: HandClock) -> None:
        async def gives_back() -> bool:
            again = await follower(store, clock)
            known = {each.id for each in again.held if not each.over(clock.now_ms())}
            await again.stop()
            return known == {"ann", "bob", "eve"}  # bob's block was lifted, and is restored

        assert isinstance(store, Care)
        following = await follower(store, clock)
        for decision in (block("bob"), block("eve")):
            await following.decide(decision)
        copy = await store.aside("backup")
        await store.backup(copy, lambda done, of: None)
        clock.pass_ms(1_000)
        await following.decide(block("ann"))
        await following.decide(block("bob", OVER_MS))
        await store.restore(copy, keep=False, told=lambda done, of: None)
        assert not await gives_back()
        await until(gives_back, clock)
        await following.stop()

    on_a_file(tmp_path, scene)
