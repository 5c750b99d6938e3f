"""What a node would refuse is told at once, with the line on which it stands."""

from pathlib import Path

import pytest

from gapless.core.errors import ConfigError
from gapless.server.checking import checked
from gapless.server.config import Config, examine, from_file, from_flags
from tests.conversation import T as NOW_MS

PERSONAL = "[client.subscribe_to_user_personal_channel]\nenabled = true\npersonal_channel_namespace = "
JWKS = "http://id.example.com/keys"


def check(tmp_path: Path, text: str, *flags: str) -> Config:
    path = tmp_path / "gapless.toml"
    path.write_text(text)
    return checked(examine([from_file(path), *from_flags(flags)]), NOW_MS)


def refused(tmp_path: Path, text: str, *flags: str) -> str:
    with pytest.raises(ConfigError) as raised:
        check(tmp_path, text, *flags)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (
            "[store]\nurl = 'mysql:x'",
            2,
            "store.url: no store for the scheme 'mysql'; there are gapless+tcp, ",
        ),
        ("[store]\nurl = 'foo'", 2, "store.url: 'foo' is no store URL"),
        ("[store]\nurl = 'sqlite:'", 2, "store.url: the store's URL names no file"),
        (
            "[store]\n\ndurability = 'quorum'",
            3,
            "store.durability: 'quorum' is asked for, but sqlite:gapless.db",
        ),
        ("[store]\nurl='memory:'\ndurability = 'disk'", 3, "gives 'memory' at most"),
        (
            "[messages.aliases]\n'/r/{id}' = 'nope:{id}'",
            1,
            "messages.aliases: '/r/{id}': there is no namespace",
        ),
        ("[messages.aliases]\n'/r' = 'x{id}'", 1, "need the same placeholders"),
        ("[messages.aliases]\n'/health' = 'x'", 1, "is taken: /health is something else"),
        (
            "[http_server]\ntrusted_proxies = ['10.0.0.0/8', '300.1.1.1']",
            2,
            "http_server.trusted_proxies: '300.",
        ),
        (
            "[client.token]\n\naudience_regex = '('",
            3,
            "client.token.audience_regex '(' is no regular expression",
        ),
        (
            "[client.token]\nrsa_public_key = 'nope.pem'",
            2,
            "client.token.rsa_public_key must be PEM or the path",
        ),
        ("[client.token]\nuser_id_claim = 'a b'", 2, "client.token.user_id_claim must be of letters"),
        (f"[client.token]\njwks_public_endpoint = '{JWKS}'", 2, "must begin with https://"),
        ("[client.token]\naudience = 'a'\naudience_regex = 'a'", 2, "cannot both be set"),
        (
            "[client.subscription_token]\nenabled = true\nissuer_regex = '('",
            3,
            "client.subscription_token.issuer_",
        ),
        (f"{PERSONAL}'nah'", 3, "there is no namespace 'nah', so nobody could connect"),
        (
            "[client]\nallowed_origins = ['example.com']",
            2,
            "'example.com' never matches: write the scheme too, as",
        ),
        ("[client]\nallowed_origins = ['https://a.example/']", 2, "write 'https://a.example'"),
        (
            "[health]\nhandler_prefix = '/api'",
            2,
            "'/api' is taken by http_api.handler_prefix: write another path",
        ),
        ("[http_api]\nhandler_prefix = '/health/live'", 2, "taken by"),
        ("[prometheus]\nenabled = true\nhandler_prefix = '/openapi.json'", 3, "is taken by http_api"),
        ("[console]\nenabled = true", 2, "nobody could log in: add console.users, or set http_api.key"),
        (
            "[console]\nenabled = true\ninsecure = true\n[http_api]\ndisabled = true",
            2,
            "the console needs what http_api.disabled switches off",
        ),
        (
            "[console]\nenabled = true\ninsecure = true\n[websocket]\ndisabled = true",
            2,
            "the console needs what websocket.disabled switches off",
        ),
        (
            "[console]\nenabled = true\ninsecure = true\nhandler_prefix = '/api/console'",
            4,
            "'/api/console' and '/api' (http_api.handler_prefix) are in each other's way",
        ),
        (
            "[console]\nenabled = true\ninsecure = true\nhandler_prefix = '/connection'",
            4,
            "'/connection' and '/connection/websocket' (websocket.handler_prefix)",
        ),
        (
            "[[console.users]]\nname='ann'\npassword='x'\n[[console.users]]\nname='ann'\npassword='y'",
            2,
            "console.users: 'ann' is there 2 times",
        ),
        (
            "[messages.aliases]\n'/console/{x}' = 'a{x}'\n[console]\nenabled=true\ninsecure=true",
            1,
            "is taken: /console/{file} is something else",
        ),
    ],
)
def test_each_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    told = refused(tmp_path, text)
    assert "\n" not in told
    assert said in told
    if "handler_prefix = '/health/live'" in text:  # the other one of the two was not set
        assert told.startswith("health.handler_prefix: ")
    else:
        assert told.startswith(f"{tmp_path}/gapless.toml:{line}: ")


def test_all_of_it_is_told_at_once_beside_what_cannot_be_read(tmp_path: Path) -> None:
    text = (
        "[http_server]\nport = 'abc'\n[client]\nallowed_origins = ['a', 'b']\n[store]\nurl = 'mysql:x'\n"
        "[client.token]\nrsa_public_key = 'no.pem'\nissuer_regex = '('\n"
        "[messages.aliases]\n'/a' = '{x}'\n'/b' = '{x}'\n"
    )
    told = refused(tmp_path, text, "log.lvel=1")
    assert told.startswith("9 mistakes in the configuration:\n")
    assert "--set: log.lvel: unknown key" in told
    assert "gapless.toml:2: http_server.port: expected" in told
    assert "gapless.toml:11: messages.aliases: '/b'" not in told
    assert "gapless.toml:10: messages.aliases: '/b'" in told


def test_each_file_of_tls_is_looked_for(tmp_path: Path) -> None:
    told = refused(tmp_path, "[http_server.tls]\nenabled = true\ncert_pem = 'x.pem'")
    assert told.startswith("2 mistakes")
    assert f"{tmp_path}/gapless.toml:3: http_server.tls.cert_pem: x.pem: cannot be read" in told
    assert f"{tmp_path}/gapless.toml:2: http_server.tls.key_pem: is missing" in told


def test_what_is_not_used_is_not_judged(tmp_path: Path) -> None:
    check(tmp_path, PERSONAL.replace("true", "false") + "'nah'")
    check(tmp_path, "[http_server.tls]\ncert_pem = 'x.pem'")
    check(tmp_path, "[health]\nenabled = false\nhandler_prefix = '/api'")
    check(tmp_path, "[console]\nhandler_prefix = '/api'")
    check(tmp_path, "[messages.aliases]\n'/console/{x}' = 'a{x}'")
    check(tmp_path, "[messages]\nenabled = false\n[messages.aliases]\n'/a' = 'b{c}'")
    check(tmp_path, "[client.subscription_token]\nissuer_regex = '('")


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://example.com",
        "https://*.example.com:8443",
        "{http,https}://a",
        "app://-",
        "*://a",
    ],
)
def test_what_may_match_an_origin_is_one(tmp_path: Path, origin: str) -> None:
    assert check(tmp_path, f"[client]\nallowed_origins = ['{origin}']").client.allowed_origins == [origin]


@pytest.mark.parametrize(
    "way", ["[http_api]\nkey = 'k'", "[[console.users]]\nname = 'a'\npassword = 'x'", ""]
)
def test_one_way_into_the_console_is_enough(tmp_path: Path, way: str) -> None:
    insecure = "" if way else "insecure = true\n"
    assert check(tmp_path, f"[console]\nenabled = true\n{insecure}{way}").console.enabled


def test_a_configuration_without_mistakes_is_as_it_was_read(tmp_path: Path) -> None:
    text = (
        "[[channel.namespaces]]\nname = 'inbox'\n"
        + PERSONAL
        + "'inbox'\n[messages.aliases]\n'/r/{id}' = 'inbox:{id}'"
    )
    config = check(tmp_path, text)
    assert config.client.subscribe_to_user_personal_channel.personal_channel_namespace == "inbox"
