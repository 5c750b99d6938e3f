"""A configuration file of Centrifugo v6 starts gapless, or is told precisely why not."""

import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from gapless.server.config import Config, Reading, Source, examine, from_file, read
from gapless.server.config.centrifugo import Key, Verdict, general, rows
from gapless.server.config.fields import paths

FILES = Path(__file__).parent / "files"
# Sections and options of ours, in a file whose other names are Centrifugo's.
OURS = {
    "channel.namespaces.history_age",
    "channel.namespaces.history_bytes",
    "channel.namespaces.history_bytes_total",
    "channel.namespaces.stream_partitions",
    "channel.namespaces.stream_retention",
    "channel.namespaces.stream_retention_bytes",
    "channel.namespaces.stream_retention_messages",
    "channel.namespaces.subscribers_max",
    "channel.namespaces.slow_consumer",
    "client.subscription_token.ed25519_public_key",
    "client.token.ed25519_public_key",
    "http_api.body_size_limit",
    "http_server.trusted_proxies",
    "http_server.workers",
    "log.format",
    "node.beat_interval",
    "prometheus.key",
    "shutdown.delay",
    "shutdown.spread",
}
ASKS_FOR_MEMORY = "engine.type"  # also at Centrifugo's default, if it is written down
VALUES = {
    "text": "x",
    "texts": ["x"],
    "number": 987_654,
    "bool": True,
    "duration": "7s",
    "pem": "x",
    "table": {"a": "b"},
}
DEFAULTS = {"text": "", "texts": [], "number": 0, "bool": False, "duration": "0s", "pem": "", "table": {}}


def source(tree: dict[str, Any]) -> Source:
    return Source(name="test", tree=tree)


def said(found: list[str], file: str) -> list[str]:
    """Return what was said without the folder, and without the sentence that explains it."""
    return [line.removeprefix(f"{FILES}/{file}:").split(": ")[:2][-1] for line in found]


def told(name: str, *, lenient: bool = False) -> Reading:
    return examine([from_file(FILES / name)], lenient=lenient)


def tree_of(key: Key, value: Any) -> dict[str, Any]:
    """Return a file that sets one key."""
    tree = value
    for name in reversed(key.path.split(".")):
        tree = {name: [tree] if name in LISTS and isinstance(tree, dict) else tree}
    if key.path.startswith("channel.namespaces."):
        tree["channel"]["namespaces"][0]["name"] = "some"
    found: dict[str, Any] = tree
    return found


LISTS = {key.path.rpartition(".")[2] for key in rows() if key.kind == "sections"}


# The list -----------------------------------------------------------------------------------


def test_the_list_is_whole_and_each_key_has_a_verdict() -> None:
    listed = rows()
    assert len(listed) > 1_200
    assert len({key.path for key in listed}) == len(listed)
    for path in (
        "uni_websocket.join_push_messages",
        "consumers.kafka.tls.enabled",
        "broker.nats.raw_mode.prefix",
    ):
        assert any(key.path == path for key in listed)
    for key in listed:
        assert key.verdict is not Verdict.UNKNOWN
        assert bool(key.sentence) is (key.verdict in (Verdict.IGNORED, Verdict.MISSING))


def test_what_stands_in_centrifugos_sections_is_centrifugos_or_known_to_be_ours() -> None:
    sections = {key.path.split(".")[0] for key in rows() if key.verdict is not Verdict.OURS}
    ours = {key.path for key in rows() if key.verdict is Verdict.OURS}
    assert {path for path in ours if path.split(".")[0] in sections} == OURS
    same = {key.path for key in rows() if key.verdict is Verdict.SAME}
    assert {general(path) for path, _ in paths(Config)} == same | ours


def test_defaults_are_centrifugos_but_for_those_that_are_known() -> None:
    other = {
        key.path: key.default_here
        for key in rows()
        if key.verdict is Verdict.SAME and key.default != key.default_here
    }
    assert other == {
        "engine.type": "",  # here it is known whether one was asked for
        "channel.namespaces.history_meta_ttl": "720h",  # said of all channels there
        "channel.namespaces.force_recovery_mode": "stream",  # the same, in other words
        "health.enabled": "true",
    }


def test_no_sentence_is_said_of_a_key_that_gapless_has() -> None:
    verdicts = tomllib.loads((files("gapless.server.config") / "centrifugo_v6_verdicts.toml").read_text())
    said = {*verdicts["missing"], *verdicts["ignored"]}
    listed = {key.path: key for key in rows()}
    assert not said - set(listed)
    assert [path for path in said if listed[path].verdict is Verdict.SAME] == ["engine"]  # for what is in it


def test_a_file_with_every_key_at_its_default_starts() -> None:
    for key in rows():
        if key.verdict is not Verdict.OURS and key.kind in DEFAULTS and key.path != ASKS_FOR_MEMORY:
            value: Any = DEFAULTS[key.kind]
            if key.default:
                value = int(key.default) if key.kind == "number" else key.default
            found = examine([source(tree_of(key, [value] if key.kind == "texts" and value else value))])
            assert (found.mistakes, found.remarks) == ([], []), key.path


def test_every_other_key_is_told_by_its_name_unless_its_section_is_off() -> None:
    switches = {
        key.path.removesuffix("enabled")
        for key in rows()
        if key.path.endswith(".enabled") and key.verdict is not Verdict.SAME
    }
    told = 0
    for key in rows():
        if key.verdict in (Verdict.IGNORED, Verdict.MISSING) and key.kind in VALUES:
            found = examine([source(tree_of(key, VALUES[key.kind]))])
            lines = found.mistakes if key.verdict is Verdict.MISSING else found.remarks
            off = any(key.path.startswith(switch) and key.path != f"{switch}enabled" for switch in switches)
            assert len(found.mistakes + found.remarks) == (0 if off else 1), key.path
            assert off or key.sentence in lines[0]
            told += not off
    assert told > 100


# Files as people have them ------------------------------------------------------------------


def test_a_file_that_centrifugo_generates_starts_without_a_word() -> None:
    found = told("generated.json")
    assert (found.mistakes, found.remarks) == ([], [])
    assert found.config is not None
    assert found.config.client.token.hmac_secret_key == "0f6a7c1e-made-up"


def test_a_chat_in_memory_starts_and_is_told_what_has_no_effect() -> None:
    found = told("chat.toml")
    assert found.mistakes == []
    assert said(found.remarks, "chat.toml") == [
        "client.concurrency",
        "http_api.external",
        "websocket.compression",
        "websocket.compression_min_size",
        "channel.namespaces[0].delta_publish",
        "channel.namespaces[0].allowed_delta_types",
        "engine.type",
    ]
    config = found.config
    assert config is not None
    assert config.http_server.port == 9100
    assert config.store.minimum == "memory"
    assert config.store.url == "sqlite:gapless.db"
    assert [n.publication_data_format for n in config.channel.namespaces] == ["json", "binary"]
    assert config.channel.without_namespace.history_meta_ttl_ms == 48 * 3_600_000


def test_each_thing_that_gapless_does_not_have_is_one_mistake_with_its_line() -> None:
    found = told("proxied.json")
    assert found.config is None
    assert [line.removeprefix(f"{FILES}/").split(": this key")[0] for line in found.mistakes] == [
        "proxied.json:6: client.proxy.connect.enabled",
        "proxied.json:24: channel.namespaces[0].subscribe_proxy_enabled",
        "proxied.json:27: channel.namespaces[1].publish_proxy_enabled",
        "proxied.json:35: rpc.without_namespace.proxy_enabled",
    ]
    assert "@gl.on_connect, and @gl.on_refresh; or tokens: see client.token" in found.mistakes[0]


def test_a_cluster_is_told_all_that_stands_in_its_way() -> None:
    found = told("cluster.toml")
    assert [line.removeprefix(f"{FILES}/").split(": ")[:2] for line in found.mistakes] == [
        ["cluster.toml:2", "http_server.internal_port"],
        ["cluster.toml:5", "engine.type"],
        ["cluster.toml:14", "admin.enabled"],
        ["cluster.toml:17", "grpc_api.enabled"],
        ["cluster.toml:21", "sse.enabled"],
        ["cluster.toml:29", "consumers[0].enabled"],
    ]
    assert "'redis': Redis will be a store like others (store.url), and is not there yet" in found.mistakes[1]
    assert not any("made" in line for line in found.mistakes + found.remarks), "no secrets"


def test_lenient_makes_warnings_of_all_that_and_starts() -> None:
    for name in ("cluster.toml", "proxied.json"):
        strict, lenient = told(name), told(name, lenient=True)
        assert lenient.mistakes == []
        assert lenient.config is not None
        assert set(strict.mistakes) <= set(lenient.remarks)


def test_a_file_of_version_5_is_told_where_its_keys_went() -> None:
    found = told("version_5.json")
    text = "\n".join(found.mistakes)
    for old, new in {
        "token_hmac_secret_key": "client.token.hmac_secret_key",
        "api_key": "http_api.key",
        "allowed_origins": "client.allowed_origins",
        "history_size": "channel.namespaces.history_size",
        "namespaces": "channel.namespaces",
    }.items():
        assert f"{old}: unknown key; did you mean {new}?" in text
    assert "engine: expected a section with keys of its own, not 'memory'" in text


def test_an_engine_in_memory_asks_for_no_more_than_that_and_a_store_of_ours_overrides_it() -> None:
    engine = {"engine": {"type": "memory"}}
    told: list[str] = []
    assert read([source(engine)], tell=told.append).store.minimum == "memory"
    assert len(told) == 1
    assert read([source({**engine, "store": {"durability": "disk"}})]).store.minimum == "disk"
    assert read([source({"engine": {}})]).store.minimum == "disk"


def test_a_misspelled_key_is_found_also_in_a_section_that_is_switched_off() -> None:
    found = examine([source({"admin": {"enabled": False, "pasword": "x"}})])
    assert found.mistakes == ["test: admin.pasword: unknown key; did you mean console.users.password?"]


@pytest.mark.parametrize("value", [False, "false", 0, "", [], {}, None, "redis://127.0.0.1:6379"])
def test_what_switches_off_or_is_the_default_is_no_mistake(value: object) -> None:
    assert examine([source({"broker": {"redis": {"address": value}}})]).mistakes == []


def test_every_file_here_is_valid_for_its_parser() -> None:
    for path in FILES.glob("*.json"):
        json.loads(path.read_text())
