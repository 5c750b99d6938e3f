"""Partitions of streams followed as channels, and the verbs of streams by rpc."""

from collections.abc import Callable, Coroutine
from typing import Any, cast

from gapless.broker.emitting import Emitting
from gapless.broker.namespaces import STREAMS_NAMESPACE
from gapless.broker.queues import Queueing
from gapless.broker.rights import Access
from gapless.broker.rules import StreamRule
from gapless.broker.streams import Streaming
from gapless.broker.verbs import Verbs
from gapless.ports import Store
from tests.conversation import Peer, Stage, play, rest, token

ORDERS = StreamRule(name="orders", partitions=2)
OPEN = StreamRule(name="open", allow_read_for_client=True, allow_append_for_client=True)
ALL = ["append", "read", "consume", "manage"]


def with_streams(scene: Callable[[Stage], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def run(stage: Stage) -> None:
        store, emitting = cast("Store", stage.broker.store), Emitting(stage.broker)
        rules = (ORDERS, OPEN)
        streaming = Streaming(store, stage.clock, stage.broker, emitting, rules)
        queueing = Queueing(store, stage.clock, emitting)
        verbs = stage.sessions.verbs = Verbs(queueing, streaming, Access((), rules))
        await verbs.start()
        try:
            await scene(stage)
        finally:
            await verbs.stop()

    play(run, STREAMS_NAMESPACE, **options)


async def ask(peer: Peer, verb: str, **data: Any) -> Any:
    """Call a verb of streams; return its result or error."""
    replies = await peer.ask({"rpc": {"method": f"gapless.stream.{verb}", "data": data}})
    [reply] = [reply for reply in replies if "id" in reply]
    return reply.get("error") or reply["rpc"]["data"]


async def user(stage: Stage, name: str = "ann", **rights: list[str]) -> Peer:
    """Connect with rights by stream; `all` stands for every stream."""
    granted = {stream.replace("all", "*"): given for stream, given in rights.items()}
    peer = stage.peer()
    await peer.connect(token=token(name, streams=granted))
    return peer


def test_a_browser_follows_a_partition_and_sees_keys_and_headers() -> None:
    async def scene(stage: Stage) -> None:
        peer = await user(stage, orders=["read", "append"])
        followed = await peer.follow("stream:orders/1")
        assert (followed["recoverable"], followed["positioned"]) == (True, True)
        message = {"partition": 1, "key": "k", "data": {"n": 1}, "headers": {"trace": "t"}}
        await ask(peer, "append", stream="orders", messages=[message])
        other = await user(stage, orders=["append"])
        await ask(other, "append", stream="orders", messages=[{**message, "data": 2}])
        [pub] = [reply["push"]["pub"] for reply in peer.heard() if "push" in reply]
        assert (pub["data"], pub["offset"]) == (2, 2)
        assert pub["tags"] == {"trace": "t", "gapless-key": "k"}

    with_streams(scene)


def test_who_comes_back_gets_what_was_missed() -> None:
    async def scene(stage: Stage) -> None:
        peer = await user(stage, orders=["read", "append"])
        followed = await peer.follow("stream:orders/0")
        peer.session.closed(1000, "")
        back = await user(stage, orders=["read", "append"])
        messages = [{"partition": 0, "data": n} for n in range(3)]
        await ask(back, "append", stream="orders", messages=messages)
        reply = await back.follow(
            "stream:orders/0", recover=True, epoch=followed["epoch"], offset=followed.get("offset", 0)
        )
        assert reply["recovered"]
        assert [pub["data"] for pub in reply["publications"]] == [0, 1, 2]

    with_streams(scene)


def test_only_those_with_the_right_follow_and_only_what_there_is() -> None:
    async def scene(stage: Stage) -> None:
        stranger = await user(stage, other=["read"])
        assert (await stranger.follow("stream:orders/0"))["error"]["code"] == 103
        assert "error" not in await stranger.follow("stream:open/0")
        peer = await user(stage, all=ALL)
        assert (await peer.follow("stream:orders/2"))["error"]["code"] == 102
        assert (await peer.follow("stream:ordrs/0"))["error"]["code"] == 102
        assert (await peer.follow("stream:orders"))["error"]["code"] == 107
        granted = await user(stage)
        channel = "stream:orders/0"
        assert "error" not in await granted.follow(channel, token=token("ann", channel))
        assert (await stranger.ask({"history": {"channel": channel, "limit": 1}}))[0]["error"]["code"] == 103
        assert "error" not in (await granted.ask({"history": {"channel": channel, "limit": 1}}))[0]

    with_streams(scene)


def test_nobody_publishes_to_a_partition_however_open_the_node_is() -> None:
    async def scene(stage: Stage) -> None:
        peer = await user(stage)
        [reply] = await peer.ask({"publish": {"channel": "stream:orders/0", "data": 1}})
        assert reply["error"]["code"] == 108

    with_streams(scene, insecure=True)


def test_verbs_ask_for_their_rights() -> None:
    async def scene(stage: Stage) -> None:
        reader = await user(stage, orders=["read"])
        message = {"partition": 0, "data": 1}
        assert (await ask(reader, "append", stream="orders", messages=[message]))["code"] == 103
        assert (await ask(reader, "read", source="orders", partition=0))["messages"] == []
        for verb, asked in (
            ("heartbeat", {"source": "orders", "group": "g", "member": "m"}),
            ("seek", {"source": "orders", "group": "g", "to": "latest"}),
            ("trim", {"stream": "orders", "before_ms": 1}),
            ("declare", {"stream": "orders"}),
            ("audit", {}),
            ("read", {"source": "chat:1"}),
        ):
            assert (await ask(reader, verb, **asked))["code"] == 103
        member = await user(stage, orders=["consume"])
        held = (await ask(member, "heartbeat", source="orders", group="g", member="m"))["held"]
        assert [each["partition"] for each in held] == [0, 1]
        opened = await user(stage, "ann")
        appended = await ask(opened, "append", stream="open", messages=[{"data": 1}])
        assert appended["messages"][0]["result"]["offset"] == 1

    with_streams(scene)


def test_a_fetch_by_rpc_waits_without_holding_up_other_commands() -> None:
    async def scene(stage: Stage) -> None:
        peer = await user(stage, orders=["consume", "append"])
        held = (await ask(peer, "heartbeat", source="orders", group="g", member="m"))["held"]
        asked = [{"partition": each["partition"], "after": each["position"]} for each in held]
        fetch = {"source": "orders", "group": "g", "member": "m", "partitions": asked, "wait_ms": 60_000}
        peer.say({"rpc": {"method": "gapless.stream.fetch", "data": fetch}})
        await rest()
        assert peer.heard() == []
        replies = await peer.ask(
            {
                "rpc": {
                    "method": "gapless.stream.append",
                    "data": {"stream": "orders", "messages": [{"partition": 1, "data": "x"}]},
                }
            }
        )
        await rest()
        told = [reply["rpc"]["data"] for reply in replies + peer.heard()]
        [fetched] = [each for each in told if "partitions" in each]
        assert fetched["partitions"][0]["page"]["messages"][0]["data"] == "x"

    with_streams(scene)
