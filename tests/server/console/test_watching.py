"""Who watches from the console sees every channel, is seen by nobody, and does nothing."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from gapless.broker.audit import NAMESPACE as AUDIT
from gapless.broker.audit import STREAM, record
from gapless.broker.namespaces import Namespace
from gapless.broker.revocations import Kind, Revocation
from gapless.broker.streams.keeping import record_now
from gapless.broker.tokens import Grant
from gapless.core.errors import GaplessError, PermissionDenied, Unauthorized
from gapless.protocol.hooks import Catalogue
from gapless.server.config import Config, Source, read
from gapless.server.console.passes import ConsoleTokens, How, Passes
from gapless.server.health import NAMESPACE as HEALTH
from gapless.server.hooks import Hooks, Known, Runner
from gapless.server.messages.visitors import Visitors
from tests.conversation import Peer, Stage, play, rest, token

KEPT = Namespace(history_size=100, history_ttl_ms=600_000)
SHUT = replace(KEPT, presence=True, join_leave=True, force_push_join_leave=True)
LIMITED = replace(SHUT, name="limited", allow_user_limited_channels=True)
HOOKED = replace(SHUT, name="hooked")
FEW = replace(KEPT, name="few", subscribers_max=1, allow_subscribe_for_client=True)
HOUR_MS = 3600 * 1000

USERS = [
    {"name": "ann", "role": "operator", "password": "correct horse"},
    {"name": "bob", "role": "read_only", "password": "battery staple"},
]
CHANNELS = ["a", "$private", "limited:x#7", "hooked:x", "gapless.health:beat"]


def configured(*users: dict[str, Any]) -> Config:
    tree = {"console": {"enabled": True, "users": list(users or USERS)}}
    return read([Source(name="test", tree=tree)])


class Scene:
    """A node with a console; hooks would be asked of whoever is an ordinary user."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.passes = Passes(configured(), stage.clock, "shared", stage.sessions.revocations)
        stage.sessions.tokens = ConsoleTokens(self.passes, stage.tokens)
        self.hooks = Hooks(stage.clock)
        self.hooks.serve(
            [(Known(Catalogue(connect=True, disconnect=True, subscribe=["*"], publish=["*"])), Deaf())]
        )

    def token(self, name: str = "ann") -> str:
        return self.passes.issue(How.PASSWORD, name)[0]

    async def watcher(self, name: str = "ann", **request: Any) -> Peer:
        peer = self.stage.peer()
        reply = await peer.connect(token=self.token(name), **request)
        assert "connect" in reply, reply
        return peer

    async def user(self, name: str, *channels: str) -> Peer:
        """Somebody whose token lets it follow these channels, from now on."""
        peer = self.stage.peer()
        said = token(name, subs={channel: {} for channel in channels})
        reply, *_ = await peer.ask({"connect": {"token": said}})
        assert "connect" in reply, reply
        return peer

    def ask_hooks(self) -> None:
        self.stage.sessions.hooks = self.hooks


class Deaf(Runner):
    """Hooks that nobody should ask."""

    async def run(self, asked: Any) -> Any:
        raise AssertionError(asked)


def act(scene: Callable[[Scene], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def run(stage: Stage) -> None:
        await scene(Scene(stage))

    play(run, LIMITED, HOOKED, FEW, HEALTH, AUDIT, without=SHUT, **options)


def code(reply: dict[str, Any]) -> int:
    number: int = reply["error"]["code"]
    return number


# Sees -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize("name", ["ann", "bob"])
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_watcher_follows_every_channel(channel: str, name: str, insecure: bool) -> None:
    async def scene(scene: Scene) -> None:
        scene.ask_hooks()
        watcher = await scene.watcher(name)
        told = await watcher.follow(channel, recover=True, recoverable=True, positioned=True)
        assert told["recoverable"]
        assert told["positioned"]

    act(scene, insecure=insecure)


def test_it_gets_what_is_published_and_what_it_missed() -> None:
    async def scene(scene: Scene) -> None:
        await scene.stage.publish("a", 1, 2)
        watcher = await scene.watcher()
        told = await watcher.follow("a", recover=True, epoch=scene.stage.broker.placing.epoch, offset=1)
        assert told["recovered"]
        assert [each["offset"] for each in told["publications"]] == [2]
        await scene.stage.publish("a", 3)
        assert watcher.offsets() == [3]

    act(scene)


def test_the_audit_stream_is_followed_as_it_grows() -> None:
    async def scene(scene: Scene) -> None:
        watcher = await scene.watcher("bob")
        assert (await watcher.follow(STREAM, recoverable=True))["recoverable"]
        await record_now(scene.stage.broker, record("pause", "console:ann", "mail"))
        await rest()
        (push,) = watcher.heard()
        assert push["push"]["pub"]["data"]["what"] == "pause"

    act(scene)


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize("channel", CHANNELS)
def test_it_looks_at_the_history_and_presence_of_every_channel(channel: str, insecure: bool) -> None:
    async def scene(scene: Scene) -> None:
        scene.ask_hooks()
        watcher = await scene.watcher()
        (history,) = await watcher.ask({"history": {"channel": channel, "limit": 1}})
        assert "history" in history
        (presence,) = await watcher.ask({"presence": {"channel": channel}})
        assert "presence" in presence or channel.startswith("gapless.")

    act(scene, insecure=insecure)


def test_it_is_told_who_comes_and_goes() -> None:
    async def scene(scene: Scene) -> None:
        watcher = await scene.watcher()
        await watcher.follow("a", join_leave=True)
        await scene.user("7", "a")
        await rest()
        assert [push["push"]["join"]["info"]["user"] for push in watcher.heard()] == ["7"]

    act(scene)


# Is not seen ----------------------------------------------------------------------------------


@pytest.mark.parametrize("insecure", [False, True])
def test_nobody_is_told_of_a_watcher(insecure: bool) -> None:
    async def scene(scene: Scene) -> None:
        user = await scene.user("7", "a")
        await rest()
        user.heard()
        watcher = await scene.watcher()
        await watcher.follow("a", join_leave=True)
        await rest()
        assert user.heard() == []
        (told,) = await watcher.ask({"presence": {"channel": "a"}})
        assert [info["user"] for info in told["presence"]["presence"].values()] == ["7"]
        (told,) = await watcher.ask({"presence_stats": {"channel": "a"}})
        assert told["presence_stats"] == {"num_clients": 1, "num_users": 1}
        await watcher.ask({"unsubscribe": {"channel": "a"}})
        watcher.session.closed(1000, "")
        await rest()
        assert user.heard() == []

    act(scene, insecure=insecure)


def test_what_a_backend_subscribes_it_to_does_not_show_it_either() -> None:
    async def scene(scene: Scene) -> None:
        user = await scene.user("7", "a")
        await rest()
        user.heard()
        watcher = await scene.watcher()
        work = watcher.session.subscribe_by_server("a", Grant())
        if work is not None:
            await work
        await rest()
        assert "a" in watcher.session.subscriptions
        assert user.heard() == []

    act(scene)


def test_hooks_hear_nothing_of_it() -> None:
    async def scene(scene: Scene) -> None:
        scene.ask_hooks()
        watcher = await scene.watcher()
        await watcher.follow("hooked:x")
        watcher.session.closed(1000, "")
        await rest()
        await scene.hooks.close()

    act(scene)


def test_it_takes_no_place_of_a_user() -> None:
    async def scene(scene: Scene) -> None:
        first, second = await scene.watcher(), await scene.watcher()
        assert first.socket.closed_with is None
        assert second.socket.closed_with is None
        assert not second.session.subscriptions

    act(scene, single_connection=True, user_connection_limit=1, personal_channel_prefix="#")


def test_it_follows_what_is_full_and_fills_nothing() -> None:
    async def scene(scene: Scene) -> None:
        watchers = [await scene.watcher(), await scene.watcher()]
        await watchers[0].follow("few:x")
        for name in ("7", "8"):
            (reply,) = await (await scene.user(name)).ask({"subscribe": {"channel": "few:x"}})
            assert ("error" in reply) is (name == "8")
        await watchers[1].follow("few:x")
        for watcher in watchers:
            watcher.session.closed(1000, "")
        (reply,) = await (await scene.user("9")).ask({"subscribe": {"channel": "few:x"}})
        assert code(reply) == 106

    act(scene)


# Does nothing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize("name", ["ann", "bob"])
@pytest.mark.parametrize(
    "command",
    [
        {"publish": {"channel": "a", "data": 1}},
        {"publish": {"channel": "gapless.health:beat", "data": 1}},
        {"rpc": {"method": "gapless.publish", "data": {"channel": "a", "data": 1}}},
        {"rpc": {"method": "gapless.queue.list", "data": {}}},
        {"rpc": {"method": "any", "data": {}}},
        {"sub_refresh": {"channel": "a", "token": token("console:ann", "a")}},
    ],
)
def test_a_watcher_does_nothing(command: dict[str, Any], name: str, insecure: bool, hooked: bool) -> None:
    async def scene(scene: Scene) -> None:
        if hooked:
            scene.ask_hooks()
        watcher = await scene.watcher(name)
        await watcher.follow("a")
        (reply,) = await watcher.ask(command)
        assert code(reply) == 103
        assert watcher.socket.closed_with is None

    act(scene, insecure=insecure)


# Until when -----------------------------------------------------------------------------------


@pytest.mark.parametrize("insecure", [False, True])
def test_a_connection_lasts_as_long_as_its_session_and_is_prolonged_by_a_new_token(insecure: bool) -> None:
    async def scene(scene: Scene) -> None:
        prolonged, left = await scene.watcher(), await scene.watcher()
        assert prolonged.session.ends_ms
        scene.stage.clock.pass_ms(11 * HOUR_MS)
        prolonged.heard()
        (reply,) = await prolonged.ask({"refresh": {"token": scene.token()}})
        assert reply["refresh"]["ttl"] == 12 * 3600
        scene.stage.clock.pass_ms(HOUR_MS + 60_000)
        assert prolonged.session.open
        assert left.socket.closed_with is not None

    act(scene, insecure=insecure, ping_interval_ms=100 * HOUR_MS, expired_close_delay_ms=0)


def test_a_token_of_another_session_does_not_prolong_it() -> None:
    async def scene(scene: Scene) -> None:
        for other in (scene.token("bob"), token("console:ann")):
            watcher = await scene.watcher()
            await watcher.ask({"refresh": {"token": other}})
            assert watcher.socket.closed_with is not None
            assert watcher.socket.closed_with[0] == 3500
        user = await scene.user("console:ann")
        await user.ask({"refresh": {"token": scene.token()}})
        assert user.socket.closed_with is not None
        assert user.socket.closed_with[0] == 3500

    act(scene)


def test_an_expired_token_opens_no_connection() -> None:
    async def scene(scene: Scene) -> None:
        old = scene.token()
        scene.stage.clock.pass_ms(12 * HOUR_MS)
        assert code(await scene.stage.peer().connect(token=old)) == 109

    act(scene)


def test_a_wrong_one_opens_none_either_not_even_on_an_insecure_node() -> None:
    async def scene(scene: Scene) -> None:
        peer = scene.stage.peer()
        peer.say({"connect": {"token": scene.token()[:-2] + "xx"}})
        await rest()
        assert peer.socket.closed_with == (3500, "invalid token")

    act(scene, insecure=True)


def test_who_is_blocked_watches_no_more() -> None:
    async def scene(scene: Scene) -> None:
        scene.stage.sessions.revocations.take([Revocation(Kind.BLOCK, "console:ann", at_ms=1)])
        with pytest.raises(PermissionDenied):
            scene.passes.read(scene.token())

    act(scene)


# Who only says so -----------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["a", "$private", "limited:x#7", "gapless.health:beat", STREAM])
def test_who_only_calls_itself_so_gets_nothing_by_it(channel: str) -> None:
    async def scene(scene: Scene) -> None:
        user = await scene.user("console:ann")
        assert code(await user.follow(channel)) == 103
        (reply,) = await user.ask({"history": {"channel": channel, "limit": 1}})
        assert code(reply) == 103

    act(scene)


@pytest.mark.parametrize("channel", ["gapless.health:beat", STREAM])
def test_on_an_insecure_node_too_the_systems_channels_are_for_watchers_alone(channel: str) -> None:
    async def scene(scene: Scene) -> None:
        user = await scene.user("console:ann")
        assert code(await user.follow(channel)) == 103
        (reply,) = await user.ask({"history": {"channel": channel, "limit": 1}})
        assert code(reply) == 103

    act(scene, insecure=True)


def test_who_only_calls_itself_so_is_seen() -> None:
    async def scene(scene: Scene) -> None:
        user = await scene.user("7", "a")
        await rest()
        user.heard()
        await scene.user("console:ann", "a")
        await rest()
        assert [push["push"]["join"]["info"]["user"] for push in user.heard()] == ["console:ann"]

    act(scene)


# Messages -------------------------------------------------------------------------------------


def visit(scene: Scene, channel: str, bearer: str) -> Coroutine[Any, Any, None]:
    visitors = Visitors(scene.stage.sessions, lambda fields, query: False)
    return visitors.check(channel, {b"authorization": f"Bearer {bearer}".encode()}, b"")


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize("channel", [*CHANNELS, STREAM])
def test_it_scrolls_in_every_channel(channel: str, insecure: bool) -> None:
    async def scene(scene: Scene) -> None:
        scene.ask_hooks()
        await visit(scene, channel, scene.token("bob"))
        with pytest.raises(PermissionDenied):
            await visit(scene, "gapless.health:beat", token("console:bob"))
        with pytest.raises(Unauthorized):
            await visit(scene, channel, scene.token()[:-2] + "xx")

    act(scene, insecure=insecure)


def test_what_scrolls_is_asked_again_once_another_configuration_holds() -> None:
    async def scene(scene: Scene) -> None:
        visitors = Visitors(scene.stage.sessions, lambda fields, query: False)
        fields = {b"authorization": f"Bearer {scene.token()}".encode()}
        await visitors.check("a", fields, b"")
        scene.passes.follow(configured({**USERS[0], "password": "another"}))
        visitors.forget()
        with pytest.raises(GaplessError):
            await visitors.check("a", fields, b"")

    act(scene)


def test_nothing_of_all_this_waits() -> None:
    """A watcher is let in within the same turn, whatever hooks there are."""

    async def scene(scene: Scene) -> None:
        scene.ask_hooks()
        watcher = scene.stage.peer()
        watcher.say({"connect": {"token": scene.token()}})
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert watcher.session.connected

    act(scene)
