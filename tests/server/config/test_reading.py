"""A configuration is what file, environment and flags say together, and every mistake is named."""

from pathlib import Path

import pytest

from gapless.core.errors import ConfigError
from gapless.ports import Durability
from gapless.server.config import Config, Source, from_environment, from_file, from_flags, read

CENTRIFUGO = """
[http_server]
port = 9000

[client]
allowed_origins = ["https://example.com"]
insecure = false
ping_interval = "30s"

[client.token]
hmac_secret_key = "secret"

[http_api]
key = "api key"

[channel.without_namespace]
presence = true

[[channel.namespaces]]
name = "chat"
history_size = 100
history_ttl = "300s"
force_recovery = true
allow_subscribe_for_client = true
publication_data_format = "json"
"""

JSON = """{
  "http_server": {"port": 9000},
  "channel": {"namespaces": [
    {"name": "chat", "history_size": 100, "history_ttl": "300s"}
  ]}
}"""


def source(tmp_path: Path, text: str, name: str = "gapless.toml") -> Source:
    path = tmp_path / name
    path.write_text(text)
    return from_file(path)


def mistake(*sources: Source) -> str:
    with pytest.raises(ConfigError) as caught:
        read(sources)
    return str(caught.value)


def test_a_file_of_centrifugos_is_read_as_it_stands(tmp_path: Path) -> None:
    config = read([source(tmp_path, CENTRIFUGO)])
    assert config.http_server.port == 9000
    assert config.client.allowed_origins == ["https://example.com"]
    assert config.client.token.hmac_secret_key == "secret"
    assert config.client.ping_interval_ms == 30_000
    assert config.channel.without_namespace.presence
    (chat,) = config.channel.namespaces
    assert (chat.name, chat.history_size, chat.history_ttl_ms) == ("chat", 100, 300_000)
    assert config.channel.compiled().of("chat:1").namespace == chat


@pytest.mark.parametrize("name", ["gapless.json", "gapless.conf"])
def test_json_is_known_by_its_name_or_its_beginning(tmp_path: Path, name: str) -> None:
    config = read([source(tmp_path, JSON, name)])
    assert config.channel.namespaces[0].history_ttl_ms == 300_000


def test_without_any_source_all_is_as_documented() -> None:
    config = read([])
    assert config == Config()
    assert not config.client.insecure
    assert not config.http_api.insecure
    assert config.store.minimum is Durability.DISK


def test_a_store_in_memory_need_not_be_durable_unless_it_is_asked_to() -> None:
    assert read(from_flags(["store.url=memory:"])).store.minimum is Durability.MEMORY
    strict = read(from_flags(["store.url=memory:", "store.durability=disk"]))
    assert strict.store.minimum is Durability.DISK


def test_the_environment_overrides_the_file_and_flags_override_both(tmp_path: Path) -> None:
    environment = {
        "GAPLESS_HTTP_SERVER__PORT": "9001",
        "GAPLESS_CLIENT__INSECURE": "true",
        "GAPLESS_CLIENT__ALLOWED_ORIGINS": "https://a.example, https://b.example",
        "GAPLESS_CHANNEL__NAMESPACES": '[{"name": "news", "history_size": 1, "history_ttl": "1m"}]',
        "GAPLESS_SERVICE_HOST": "10.0.0.1",
        "PATH": "/bin",
    }
    config = read(
        [
            source(tmp_path, CENTRIFUGO),
            *from_environment(environment),
            *from_flags(["http_server.port=9002", "shutdown.timeout=5s"]),
        ]
    )
    assert config.http_server.port == 9002
    assert config.client.insecure
    assert config.client.allowed_origins == ["https://a.example", "https://b.example"]
    assert config.client.token.hmac_secret_key == "secret"
    assert [namespace.name for namespace in config.channel.namespaces] == ["news"]
    assert config.shutdown.timeout_ms == 5_000


def test_history_meta_ttl_holds_where_a_namespace_sets_none(tmp_path: Path) -> None:
    text = '[channel]\nhistory_meta_ttl = "10h"\n[[channel.namespaces]]\nname = "ab"\n'
    text += '[[channel.namespaces]]\nname = "cd"\nhistory_meta_ttl = "20h"\n'
    channel = read([source(tmp_path, text)]).channel
    hours = [n.history_meta_ttl_ms // 3_600_000 for n in (channel.without_namespace, *channel.namespaces)]
    assert hours == [10, 10, 20]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[http_server]\nprot = 1", ":2: http_server.prot: unknown key; did you mean http_server.port?"),
        ("allowed_origins = []", ":1: allowed_origins: unknown key; did you mean client.allowed_origins?"),
        ("[zzz]\n", ":1: zzz: unknown key"),
        (
            "[admin]\nenabled = true",
            ":2: admin.enabled: this key of Centrifugo's is not one that gapless has",
        ),
        (
            "[client.proxy.connect]\nenabled = true",
            ":2: client.proxy.connect.enabled: this key of Centrifugo's is not one that gapless has",
        ),
        (
            '[[channel.namespaces]]\nname = "ab"\nauto_cache_recover = true',
            ":3: channel.namespaces[0].auto_cache_recover: this key of Centrifugo's is not one",
        ),
        (
            '[[channel.namespaces]]\nname = "ab"\nhistroy_size = 1',
            "[0].histroy_size: unknown key; did you mean channel.namespaces.history_size?",
        ),
        (
            '[http_server]\nport = "x"',
            ":2: http_server.port: expected a whole number from 0 to 65535, not 'x'",
        ),
        (
            "[http_server]\nport = 65536",
            ":2: http_server.port: expected a whole number from 0 to 65535, not 65536",
        ),
        ("[client]\nchannel_limit = 0", "expected a whole number of at least 1, not 0"),
        ("[client]\ninsecure = 1", "client.insecure: expected true or false, not 1"),
        ('[client]\nallowed_origins = "*"', "client.allowed_origins: expected a list of texts, not '*'"),
        (
            "[client]\npong_timeout = 8",
            ':2: client.pong_timeout: expected a duration such as "1h30m", not 8',
        ),
        ('[client]\nping_interval = "10ms"', "of at least 1000 ms, not '10ms'"),
        ("[client.token]\nhmac_secret_key = 123", "hmac_secret_key: expected a text, not what is there"),
        (
            '[log]\nlevel = "loud"',
            "expected one of 'none', 'error', 'warn', 'info', 'debug', 'trace', not 'loud'",
        ),
        ('[http_api]\nhandler_prefix = "api"', "expected a path such as \"/api\", not 'api'"),
        ("[store]\ndurability = true", "expected one of 'memory', 'process', 'disk', 'quorum', not True"),
        ("client = 1", ":1: client: expected a section with keys of its own, not 1"),
        ("[channel]\nnamespaces = 1", "channel.namespaces: expected a list of sections, not 1"),
        ("[channel]\nnamespaces = [1]", "channel.namespaces[0]: expected a section with keys of its own"),
        ("[http_server", "is no TOML"),
        ('[client]\npong_timeout = "25s"', "client.pong_timeout must be shorter than client.ping_interval"),
        ("[channel.without_namespace]\nhistory_size = 1", "needs both history_size and history_ttl"),
        ('[channel.without_namespace]\nchannel_regex = "["', "is no regular expression"),
        ("[[channel.namespaces]]\npresence = true", "each of channel.namespaces needs a name"),
        (
            '[[channel.namespaces]]\nname = "ab"\n[[channel.namespaces]]\nname = "ab"',
            "namespace 'ab' is defined twice",
        ),
    ],
)
def test_every_mistake_is_named_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read([source(tmp_path, text)])
    message = str(caught.value)
    assert told in message
    assert str(tmp_path / "gapless.toml") in message


def test_a_mistake_in_the_environment_or_a_flag_names_it() -> None:
    assert mistake(*from_environment({"GAPLESS_HTTP_SERVER__PORT": "x"})).startswith(
        "GAPLESS_HTTP_SERVER__PORT: http_server.port: expected a whole number"
    )
    assert "channel.namespaces: expected a list of sections" in mistake(*from_flags(["channel.namespaces=x"]))
    assert "client.pong_timeout: expected a duration" in mistake(*from_flags(["client.pong_timeout=8"]))


def test_what_gapless_does_not_have_can_be_tolerated_but_not_a_bad_value(tmp_path: Path) -> None:
    told: list[str] = []
    text = "[admin]\nenabled = true\n[http_server]\nprot = 1\nport = 9000\n"
    assert read([source(tmp_path, text)], lenient=True, tell=told.append).http_server.port == 9000
    assert len(told) == 2
    with pytest.raises(ConfigError):
        read([source(tmp_path, '[http_server]\nport = "x"')], lenient=True)


def test_all_mistakes_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = """{
  "http_server": {"port": -1, "prot": 1},
  "client": {"token": ["secret"]},
  "channel": {
    "namespaces": [
      {"name": "ab", "history_size": 1},
      {"name": "cd", "force_recovery": true, "hstory_ttl": "1m"},
      {"name": "e"}
    ]
  },
  "admin": {"secret": "x", "enabled": true}
}"""
    told = mistake(source(tmp_path, text, "gapless.json")).replace(f"{tmp_path}/", "").split("\n  ")
    assert told == [
        "8 mistakes in the configuration:",
        "gapless.json:2: http_server.port: expected a whole number from 0 to 65535, not -1",
        "gapless.json:2: http_server.prot: unknown key; did you mean http_server.port?",
        "gapless.json:3: client.token: expected a section with keys of its own, not a list",
        "gapless.json:7: channel.namespaces[1].hstory_ttl: unknown key;"
        " did you mean channel.namespaces.history_ttl?",
        "gapless.json:11: admin.enabled: this key of Centrifugo's is not one that gapless has:"
        " there is a console: see console.enabled and console.users",
        "gapless.json:6: namespace 'ab': history needs both history_size and history_ttl",
        "gapless.json:7: namespace 'cd': recovery needs history_size and history_ttl",
        "gapless.json:8: namespace 'e': a name is two or more of letters, digits, '-', '_', '.'",
    ]


def test_of_very_many_mistakes_some_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    text = "\n".join(f"zz{number} = 1" for number in range(50))
    told = mistake(source(tmp_path, text)).split("\n  ")
    assert len(told) == 1 + 20 + 1
    assert (told[0], told[-1]) == ("50 mistakes in the configuration:", "and 30 more")


def test_a_value_that_is_shown_is_short_and_no_secret(tmp_path: Path) -> None:
    told = mistake(source(tmp_path, f'[http_server]\nport = "{"9" * 10_000}"\ntls.key_pem = 1\n'))
    assert "not '999" in told
    assert len(told) < 500
    assert "tls.key_pem: expected a text, not what is there" in told


def test_a_number_or_truth_value_may_be_written_as_a_text_as_centrifugo_has_it(tmp_path: Path) -> None:
    config = read([source(tmp_path, '[http_server]\nport = "9000"\n[client]\ninsecure = "true"\n')])
    assert (config.http_server.port, config.client.insecure) == (9000, True)


def test_dotted_keys_are_those_of_sections(tmp_path: Path) -> None:
    config = read([source(tmp_path, 'http_server.port = 9000\nclient.token.hmac_secret_key = "x"\n')])
    assert config.http_server.port == 9000
    told = mistake(source(tmp_path, '{"http_server.port": 9000}', "gapless.json"))
    assert "unknown key; write it below its sections, each an object of its own" in told


def test_what_a_channel_option_says_for_all_a_namespace_may_say_otherwise(tmp_path: Path) -> None:
    text = '[channel]\npublication_data_format = "json"\n[[channel.namespaces]]\nname = "ab"\n'
    text += 'publication_data_format = "binary"\n[[channel.namespaces]]\nname = "cd"\n'
    channel = read([source(tmp_path, text)]).channel
    formats = [n.publication_data_format for n in (channel.without_namespace, *channel.namespaces)]
    assert formats == ["json", "binary", "json"]
