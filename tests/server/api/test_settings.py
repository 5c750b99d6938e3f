"""Operators see what a node runs with and where each key was set, and no secret of it."""

from pathlib import Path
from random import Random
from typing import Any

from gapless import __version__
from gapless.server.clock import LoopClock
from gapless.server.config import examine, from_all
from gapless.server.config.fields import is_secret
from gapless.server.node import Node
from tests.server.running import call, running
from tests.server.serving import on_a_loop

FILE = """[http_server]
port = 0
address = "127.0.0.1"
[http_api]
key = "key"
[store]
url = "memory:"
[client.token]
hmac_secret_key = "a secret of at least thirty-two bytes"
[channel]
history_meta_ttl = "30h"
[channel.without_namespace]
presence = true
[[channel.namespaces]]
name = "chat"
history_size = 10
history_ttl = "90s"
allow_user_limited_channels = true
"""


async def asked(node: Node, method: str, **request: Any) -> Any:
    return (await call(node, f"/api/{method}", request))[1]["result"]


async def values(node: Node) -> dict[str, tuple[Any, str]]:
    lines = (await asked(node, "config"))["lines"]
    return {line["key"]: (line["value"], line["origin"]) for line in lines}


async def options(node: Node, channel: str) -> dict[str, tuple[Any, str]]:
    told = (await asked(node, "channel_options", channel=channel))["options"]
    return {option["name"]: (option["value"], option["origin"]) for option in told}


def started(path: Path, text: str = FILE) -> Node:
    path.write_text(text)
    found = examine(from_all(path, {}, ["channel.namespaces.chat.presence=true"]))
    return Node(found.checked(), LoopClock(), Random(1), origins=found.origins)


def test_config_tells_each_key_its_value_and_where_it_was_set(tmp_path: Path) -> None:
    @on_a_loop
    async def test() -> None:
        path = tmp_path / "g.toml"
        node = started(path)
        await node.start()
        try:
            told = await asked(node, "config")
            assert (told["version"], told["node"]) == (__version__, node.name)
            shown = await values(node)
            assert shown["channel.namespaces[0].history_ttl"] == ("1m30s", f"{path}:17")
            assert shown["channel.namespaces[0].presence"] == (True, "--set")
            assert shown["client.ping_interval"] == ("25s", "default")
            assert shown["http_api.key"] == ("***", f"{path}:5")
        finally:
            await node.stop()

    test()


def test_no_secret_is_told(tmp_path: Path) -> None:
    @on_a_loop
    async def test() -> None:
        node = started(tmp_path / "g.toml", f'{FILE}\n[prometheus]\nkey = "of the scrape"\n')
        await node.start()
        try:
            shown = await values(node)
            assert {key for key, (value, _) in shown.items() if value == "***"} == {
                "http_api.key",
                "client.token.hmac_secret_key",
                "prometheus.key",
            }
            assert all(value in ("***", "") for key, (value, _) in shown.items() if is_secret(key))
        finally:
            await node.stop()

    test()


def test_after_a_reload_origins_are_the_new_ones_but_for_what_needs_a_restart(tmp_path: Path) -> None:
    @on_a_loop
    async def test() -> None:
        path = tmp_path / "g.toml"
        node = started(path)
        await node.start()
        try:
            other = tmp_path / "other.toml"
            changed = FILE.replace('"90s"', '"80s"').replace('"memory:"', '"sqlite:elsewhere.db"')
            other.write_text(f"# moved\n{changed}")
            found = examine(from_all(other, {}))
            node.reload(found.checked(), found.origins)
            shown = await values(node)
            assert shown["channel.namespaces[0].history_ttl"] == ("1m20s", f"{other}:18")
            assert shown["channel.namespaces[0].presence"] == (False, "default")
            assert shown["http_api.key"] == ("***", f"{other}:6")
            assert shown["store.url"] == ("memory:", f"{path}:7")
        finally:
            await node.stop()

    test()


def test_the_options_of_a_channel_are_those_of_its_namespace(tmp_path: Path) -> None:
    @on_a_loop
    async def test() -> None:
        path = tmp_path / "g.toml"
        node = started(path)
        await node.start()
        try:
            of_chat = await options(node, "chat:1")
            assert of_chat["history_size"] == (10, f"{path}:16")
            assert of_chat["history_ttl"] == ("1m30s", f"{path}:17")
            assert of_chat["history_meta_ttl"] == ("30h", f"{path}:11")
            assert of_chat["presence"] == (True, "--set")
            assert of_chat["allow_publish_for_client"] == (False, "default")
            assert "name" not in of_chat
            assert (await options(node, "news"))["presence"] == (True, f"{path}:13")
            assert (await options(node, "gapless.console:minutes"))["force_recovery"] == (True, "built in")
        finally:
            await node.stop()

    test()


@on_a_loop
async def test_it_is_told_to_whom_a_channel_is_open() -> None:
    limited = [{"name": "dm", "allow_user_limited_channels": True}]
    async with running({"channel": {"namespaces": limited}, "streams": [{"name": "orders"}]}) as node:
        told = await asked(node, "channel_options", channel="dm:x#ann,bob")
        assert (told["namespace"], told["private"], told["users"]) == ("dm", False, ["ann", "bob"])
        told = await asked(node, "channel_options", channel="$dm:x")
        assert told["private"] is True
        assert "users" not in told
        assert "users" not in await asked(node, "channel_options", channel="x#ann")
        told = await asked(node, "channel_options", channel="stream:orders/3")
        assert told["stream"] == {"stream": "orders", "partition": 3}


@on_a_loop
async def test_a_channel_without_a_namespace_that_there_is_has_no_options() -> None:
    async with running() as node:
        assert (await call(node, "/api/channel_options", {"channel": "no:1"}))[1]["error"]["code"] == 102
        assert (await call(node, "/api/channel_options"))[1]["error"]["code"] == 107


@on_a_loop
async def test_a_node_that_was_not_told_where_keys_were_set_calls_all_default() -> None:
    async with running() as node:
        assert {origin for _, origin in (await values(node)).values()} == {"default"}
