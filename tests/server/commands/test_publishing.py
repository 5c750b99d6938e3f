from typing import Any

import pytest
from msgspec.structs import replace

from tests.conversation import OPEN, Peer, Stage, play, token

KEPT = replace(OPEN, history_size=100, history_ttl_ms=600_000, force_recovery=True)


async def call(peer: Peer, **data: Any) -> dict[str, Any]:
    """Call rpc gapless.publish; return what it returned, or the error."""
    replies = await peer.ask({"rpc": {"method": "gapless.publish", "data": data}})
    [reply] = [reply for reply in replies if "id" in reply]
    answer: dict[str, Any] = reply.get("error") or reply["rpc"]["data"]
    return answer


def test_a_keyed_publication_is_stored_once_and_its_position_told() -> None:
    async def scene(stage: Stage) -> None:
        reader = await stage.reader("a")
        peer = stage.peer()
        await peer.connect(token="ann")
        at = {"offset": 1, "epoch": stage.broker.placing.epoch}
        assert await call(peer, channel="a", data={"n": 1}, idempotency_key="k") == at
        assert await call(peer, channel="a", data={"n": 1}, idempotency_key="k") == at
        assert (await call(peer, channel="a", data={"n": 2}, idempotency_key="k"))["code"] == 1002
        [push] = reader.heard()
        publication = push["push"]["pub"]
        assert publication["data"] == {"n": 1}
        assert publication["info"]["user"] == "ann"

    play(scene, without=KEPT)


def test_a_key_of_one_user_takes_no_message_of_another() -> None:
    """Two users whose pages count "m-1", "m-2" may well say the same; nor may one take a key of the API."""

    async def scene(stage: Stage) -> None:
        ann, bob = stage.peer(), stage.peer()
        await ann.connect(token="ann")
        await bob.connect(token="bob")
        offsets = [
            (await call(peer, channel="a", data="hi", idempotency_key="m-1"))["offset"] for peer in (ann, bob)
        ]
        assert offsets == [1, 2]
        assert (await call(ann, channel="a", data="hi", idempotency_key="m-1"))["offset"] == 1
        own = stage.broker.entry("a", b"1", key="m-1")
        users = [stage.broker.entry("a", b"1", key="m-1", owner=user).key for user in ("ann", "bob", "")]
        split = [
            stage.broker.entry("a", b"1", key=key, owner=user).key
            for user, key in (("a b", "c"), ("a", "b c"))
        ]
        assert len({own.key, *users, *split}) == 6

    play(scene, without=KEPT)


def test_without_history_there_is_no_position_to_tell() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        assert await call(peer, channel="a", data=1) == {"offset": 0, "epoch": ""}

    play(scene)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, 107),
        ({"channel": "a"}, 107),
        ({"channel": "a", "data": None}, 107),
        ({"channel": "a", "data": 1, "idempotency_key": ""}, 107),
        ({"channel": "a", "data": 1, "idempotency_key": "k" * 129}, 107),
        ({"channel": "a", "data": 1, "idempotency_keys": "k"}, 107),
        ({"channel": "a", "data": 1, "tags": {"a": 1}}, 107),
        ({"channel": "a", "data": 1, "tags": {"gapless-dropped": "1"}}, 107),  # only backends set tags
        ({"channel": "a", "data": "x" * 70_000}, 107),
        ({"channel": "gone:a", "data": 1}, 102),
        ({"channel": "closed:a", "data": 1}, 103),
    ],
)
def test_the_rpc_takes_what_publish_would(data: dict[str, Any], expected: int) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        assert (await call(peer, **data))["code"] == expected

    play(scene, replace(KEPT, name="closed", allow_publish_for_client=False), without=KEPT)


def test_no_other_method_is_there() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        for method in ("", "gapless", "gapless.publishs"):
            [reply] = await peer.ask({"rpc": {"method": method, "data": {}}})
            assert reply["error"]["code"] == 104

    play(scene)


@pytest.mark.parametrize("publish", [{"channel": "a"}, {"channel": "a", "data": None}])
def test_nothing_is_no_publication(publish: dict[str, Any]) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect()
        [reply] = await peer.ask({"publish": publish})
        assert reply["error"]["code"] == 107

    play(scene)


def test_a_grant_without_info_leaves_publications_as_they_are() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token="ann")
        await peer.follow("a", token=token("ann", "a"))
        publication, _ = await peer.ask({"publish": {"channel": "a", "data": 1}})
        assert publication["push"]["pub"]["info"] == {"user": "ann", "client": peer.session.info.client}

    play(scene)


def test_a_publish_may_carry_a_key_too_and_its_repeat_is_the_same_message() -> None:
    async def scene(stage: Stage) -> None:
        ann, bob = [stage.peer() for _ in range(2)]
        await ann.connect(token="ann")
        await bob.connect(token="bob")
        for peer, data, code in ((ann, 1, 0), (ann, 1, 0), (ann, 2, 1002), (bob, 1, 0)):
            publish = {"channel": "a", "data": data, "idempotency_key": "k"}
            [reply] = await peer.ask({"publish": publish})
            assert reply.get("error", {}).get("code", 0) == code
        held = await stage.broker.history("a", limit=10)
        assert [message.data for message in held.messages] == [b"1", b"1"], "a key is its user's own"

    play(scene, without=KEPT)
