"""Where settings come from, and what of it cannot be read."""

from pathlib import Path

import pytest

from gapless.core.errors import ConfigError
from gapless.core.limits import CONFIG_BYTES_MAX
from gapless.server.config import Config, from_all, from_environment, from_file, from_flags, read
from gapless.server.config.fields import paths


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.toml", None, "missing.toml: cannot be read: No such file or directory"),
        ("binary.toml", b"\xff", "binary.toml: cannot be read: not UTF-8"),
        ("huge.toml", b"#" * (CONFIG_BYTES_MAX + 1), "huge.toml: cannot be read: it has more than"),
        ("gapless.yaml", b"a: 1", "gapless.yaml: write the configuration as TOML or JSON"),
        ("a.toml", b"a = 1\nb\n", "a.toml:2: is no TOML: Expected '=' after a key"),
        ("a.toml", b"a = 1\nb = 1\na = 2\n", "a.toml:3: is no TOML: Cannot overwrite a value"),
        ("a.toml", b'a = "', "a.toml: is no TOML: Unterminated string (at end of document)"),
        ("a.json", b'{\n"a": }', "a.json:2: is no JSON: Expecting value"),
        ("a.json", b'{"a": 1,\n"b": {"c": 1,\n"c": 2}}', "a.json:3: b.c: is there twice"),
        ("a.json", b"[1]", "a.json: must hold an object"),
        ("a.json", b"[" * 100_000, "a.json: is no JSON: maximum recursion depth"),
        ("a.json", b"", "a.json:1: is no JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_line(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        from_file(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path}/{told}")


def test_a_file_as_windows_writes_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gapless.toml"
    path.write_bytes(b"\xef\xbb\xbf[http_server]\r\nport = 9000\r\nprot = 1\r\n")
    source = from_file(path)
    assert source.tree["http_server"]["port"] == 9000
    assert source.place("http_server.prot") == f"{path}:3"


def test_sections_lists_and_tables_are_json_in_a_variable() -> None:
    environment = {
        "GAPLESS_STORE": '{"url": "memory:", "idempotency_window": "1h"}',
        "GAPLESS_CLIENT__TOKEN": '{"hmac_secret_key": "x"}',
        "GAPLESS_MESSAGES__ALIASES": '{"/rooms/{id}": "chat:{id}"}',
        "GAPLESS_CLIENT__ALLOWED_ORIGINS": '["https://a.example"]',
        "GAPLESS_CHANNEL__NAMESPACES": '[{"name": "chat", "history_size": 10, "history_ttl": "1m"}]',
        "GAPLESS_CHANNEL__WITHOUT_NAMESPACE__PRESENCE": "TRUE",
    }
    config = read(from_environment(environment))
    assert config.store.url == "memory:"
    assert config.store.idempotency_window_ms == 3_600_000
    assert config.client.token.hmac_secret_key == "x"
    assert config.messages.aliases == {"/rooms/{id}": "chat:{id}"}
    assert config.client.allowed_origins == ["https://a.example"]
    assert config.channel.namespaces[0].history_size == 10
    assert config.channel.without_namespace.presence


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "GAPLESS_HTTP_SERVER__PORT",
            "",
            "http_server.port: expected a whole number from 0 to 65535, not ''",
        ),
        ("GAPLESS_MESSAGES__ALIASES", "/a=b", "messages.aliases: expected a table of texts, not '/a=b'"),
        ("GAPLESS_MESSAGES__ALIASES", '{"/a": 1}', "messages.aliases: expected a table of texts"),
        ("GAPLESS_STORE", "memory:", "store: expected a section with keys of its own, not 'memory:'"),
        (
            "GAPLESS_CLIENT__ALLOWED_ORIGINS",
            "[1]",
            "client.allowed_origins: expected a list of texts, not '[1]'",
        ),
        ("GAPLESS_CHANNEL__NAMESPACES__CHAT__PRESENCE", "1", "there is no namespace 'chat'"),
        ("GAPLESS_HTTP_API__KEY__X", "1", "http_api.key: expected a text, not what is there"),
        ("GAPLESS_HTTP_SERVER_PORT", "1", "write GAPLESS_HTTP_SERVER__PORT"),
        ("GAPLESS_HTTP_API_KEY_FILE", "/key", "write GAPLESS_HTTP_API__KEY_FILE"),
        ("GAPLESS_HTTP_SERVER_PRT", "1", "unknown key; did you mean GAPLESS_HTTP_SERVER__PORT?"),
        ("GAPLESS_LOGLEVEL", "debug", "unknown key; did you mean GAPLESS_LOG__LEVEL?"),
        ("GAPLESS_STOR", "{}", "unknown key; did you mean GAPLESS_STORE?"),
        (
            "GAPLESS_CHANNEL_NAMESPACES_CHAT_PRESENCE",
            "true",
            "unknown key; did you mean GAPLESS_CHANNEL__NAMESPACES__<NAME>__PRESENCE?",
        ),
        ("GAPLESS_NOTHING__HERE", "1", "nothing: unknown key"),
    ],
)
def test_a_mistake_in_a_variable_names_it(name: str, value: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(from_environment({name: value}))
    assert str(caught.value).startswith(f"{name}: ")
    assert told in str(caught.value)


def test_a_misspelt_variable_is_only_told_where_unknown_keys_are() -> None:
    told: list[str] = []
    read(from_environment({"GAPLESS_HTTP_SERVER_PRT": "1"}), lenient=True, tell=told.append)
    assert told == ["GAPLESS_HTTP_SERVER_PRT: unknown key; did you mean GAPLESS_HTTP_SERVER__PORT?"]


def test_a_variable_that_names_no_key_may_be_another_programs_and_is_told() -> None:
    environment = {"GAPLESS_PORT": "9000", "GAPLESS_REPLICAS": "3"}
    told: list[str] = []
    assert read(from_environment(environment), tell=told.append) == Config()
    assert told == [
        "GAPLESS_PORT: is not read, it names no key; did you mean http_server.port?",
        "GAPLESS_REPLICAS: is not read, it names no key",
    ]


# Of a service `gapless` or `gapless-http-server` (kubernetes.io/docs/concepts/services-networking/service),
# and of a linked container (docs.docker.com/engine/network/links).
OF_SERVICES = {
    "SERVICE_HOST": "10.0.0.1",
    "SERVICE_PORT": "8000",
    "SERVICE_PORT_HTTP": "8000",
    "PORT": "tcp://10.0.0.1:8000",
    "PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "PORT_8000_TCP_PROTO": "tcp",
    "PORT_8000_TCP_PORT": "8000",
    "PORT_8000_TCP_ADDR": "10.0.0.1",
    "NAME": "/web/gapless",
    "ENV_PATH": "/bin",
}


@pytest.mark.parametrize("service", ["GAPLESS", "GAPLESS_HTTP_SERVER", "GAPLESS_STORE"])
def test_what_is_set_for_a_service_of_our_name_is_left_alone(service: str) -> None:
    environment = {f"{service}_{name}": value for name, value in OF_SERVICES.items()}
    told: list[str] = []
    assert read(from_environment(environment), tell=told.append) == Config()
    assert told == []


def test_no_key_is_taken_for_the_variable_of_a_service() -> None:
    for path, _ in paths(Config):
        [source] = from_environment({f"GAPLESS_{path.upper().replace('.', '_')}": "1"})
        assert source.tree or source.unknown


def test_variables_of_centrifugos_are_not_read_and_that_is_said() -> None:
    environment = {"CENTRIFUGO_HTTP_API_KEY": "made up", "CENTRIFUGO_SERVICE_HOST": "10.0.0.1"}
    told: list[str] = []
    assert read(from_environment(environment), tell=told.append).http_api.key == ""
    assert told == ["CENTRIFUGO_HTTP_API_KEY: is not read: write GAPLESS_HTTP_API__KEY"]


def test_a_namespace_of_the_file_can_be_changed_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "gapless.toml"
    path.write_text('[[channel.namespaces]]\nname = "my-chat.Room"\n[[channel.namespaces]]\nname = "news"\n')
    variables = {"GAPLESS_CHANNEL__NAMESPACES__MY_CHAT_ROOM__PRESENCE": "true"}
    config = read(from_all(path, variables, ["channel.namespaces.news.join_leave=true"]))
    assert [n.presence for n in config.channel.namespaces] == [True, False]
    assert [n.join_leave for n in config.channel.namespaces] == [False, True]


def test_a_secret_can_be_given_as_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(" made up \n")
    name = "GAPLESS_CLIENT__TOKEN__HMAC_SECRET_KEY"
    assert read(from_environment({f"{name}_FILE": str(secret)})).client.token.hmac_secret_key == " made up "
    assert read(from_environment({"GAPLESS_LOG__FILE": "x.log"})).log.file == "x.log"
    for environment, told in {
        (f"{name}_FILE", f"{tmp_path}/none"): f"{name}_FILE: {tmp_path}/none: cannot be read: No such file",
        (
            "GAPLESS_HTTP_API__NAME_FILE",
            str(secret),
        ): "GAPLESS_HTTP_API__NAME_FILE: http_api.name: unknown key",
    }.items():
        with pytest.raises(ConfigError) as caught:
            read(from_environment(dict([environment])))
        assert told in str(caught.value)
    with pytest.raises(ConfigError, match=f"{name} is set too"):
        read(from_environment({name: "x", f"{name}_FILE": str(secret)}))


def test_a_flag_without_a_value_is_told_how_to_write_one() -> None:
    for flag in ("port", "=1"):
        with pytest.raises(ConfigError, match=r"write section\.key=value"):
            list(from_flags([flag]))
