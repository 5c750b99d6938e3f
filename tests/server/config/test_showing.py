"""What is shown of a configuration, and what never is."""

from pathlib import Path
from typing import Any

import pytest

from gapless.server.config import Config, examine, from_all
from gapless.server.config.fields import paths
from gapless.server.config.showing import lines, masked

FILE = """[client]
ping_interval = "90s"
[client.token]
hmac_secret_key = "made up"
[channel]
history_meta_ttl = "30h"
[[channel.namespaces]]
name = "chat"
[engine]
type = "memory"
"""


def test_each_value_is_shown_with_its_origin(tmp_path: Path) -> None:
    path = tmp_path / "gapless.toml"
    path.write_text(FILE)
    found = examine(
        from_all(path, {"GAPLESS_CHANNEL__NAMESPACES__CHAT__PRESENCE": "true"}, ["http_server.port=9000"])
    )
    shown = {line.key: (line.value, line.origin) for line in lines(found.checked(), found.origins)}
    assert shown["client.ping_interval"] == ("1m30s", f"{path}:2")
    assert shown["client.pong_timeout"] == ("8s", "default")
    assert shown["client.token.hmac_secret_key"] == ("***", f"{path}:4")
    assert shown["client.token.hmac_previous_secret_key"] == ("", "default")
    assert shown["channel.namespaces[0].history_meta_ttl"] == ("30h", f"{path}:6")
    assert shown["channel.without_namespace.history_meta_ttl"] == ("30h", f"{path}:6")
    assert shown["channel.namespaces[0].name"] == ("chat", f"{path}:8")
    assert shown["channel.namespaces[0].presence"] == (True, "GAPLESS_CHANNEL__NAMESPACES__CHAT__PRESENCE")
    assert shown["http_server.port"] == (9000, "--set")
    assert shown["store.durability"] == ("memory", f"{path}:10")


def test_every_key_that_there_is_is_shown() -> None:
    shown = {line.key for line in lines(Config(), {})}
    of_items = ("channel.namespaces", "console.users", "queues", "streams")  # of which there are none
    for path, field in paths(Config):
        assert any(key == path or key.startswith(f"{path}.") for key in shown) or path.startswith(of_items), (
            field
        )


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("http_api.key", "x", "***"),
        ("http_api.key", "", ""),
        ("client.token.hmac_previous_secret_key", "x", "***"),
        ("client.token.rsa_public_key", "key.pem", "key.pem"),
        ("http_server.tls.key_pem", "/etc/key.pem", "/etc/key.pem"),
        ("http_server.tls.key_pem", "-----BEGIN PRIVATE KEY-----\nx", "***"),
        ("http_server.tls.key_pem", "LS0tLS1CRUdJTiBQUk", "***"),
        ("store.url", "sqlite:gapless.db", "sqlite:gapless.db"),
        ("store.url", "postgres://me:pass@db:5432/app", "postgres://me:***@db:5432/app"),
        ("store.url", "postgres://me:p/a:s@db/app", "postgres://me:***@db/app"),
        ("store.url", "redis://:pass@one", "redis://:***@one"),
        (
            "store.url",
            "postgres://db/app?user=me&password=pass&x=1",
            "postgres://db/app?user=me&password=***&x=1",
        ),
        ("client.token.jwks_public_endpoint", "https://me:pass@keys/jwks", "https://me:***@keys/jwks"),
        ("client.channel_limit", 128, 128),
        ("messages.aliases", {"/a": "b"}, {"/a": "b"}),
    ],
)
def test_a_secret_is_not_shown(path: str, value: Any, shown: Any) -> None:
    assert masked(path, value) == shown
