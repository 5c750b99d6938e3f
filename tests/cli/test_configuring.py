"""`gapless config`: what it shows, and what it finds."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gapless.cli import main
from tests.certificates import certificate

FILE = """[http_server]
port = 9000
[client.token]
hmac_secret_key = "a secret"
[websocket]
compression = true
"""


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    result = CliRunner(env=environment).invoke(main, ["config", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "gapless.toml"
    path.write_text(FILE)
    return str(path)


def test_each_key_is_shown_with_its_value_and_origin_and_no_secret(file: str) -> None:
    code, shown, said = run("-c", file, "--set", "log.level=debug", GAPLESS_HTTP_API__KEY="another")
    assert code == 0
    lines = {tuple(line.split()) for line in shown.splitlines()}
    assert ("http_server.port", "9000", f"{file}:2") in lines
    assert ("client.token.hmac_secret_key", '"***"', f"{file}:4") in lines
    assert ("http_api.key", '"***"', "GAPLESS_HTTP_API__KEY") in lines
    assert ("log.level", '"debug"', "--set") in lines
    assert ("client.ping_interval", '"25s"', "default") in lines
    assert 'secret"' not in shown
    assert "another" not in shown
    assert f"Warning: {file}:6: websocket.compression: this key of Centrifugo's has no effect" in said


def test_for_machines_it_is_json_line_by_line(file: str) -> None:
    code, shown, _ = run("-c", file, "--json")
    lines = [json.loads(line) for line in shown.splitlines()]
    assert code == 0
    assert {"key": "http_server.port", "value": 9000, "origin": f"{file}:2"} in lines
    assert all(line.keys() == {"key", "value", "origin"} for line in lines)


def test_the_defaults_are_shown_whatever_is_configured(file: str) -> None:
    code, shown, said = run("-c", file, "--default", "--json", GAPLESS_LOG__LEVEL="debug")
    assert (code, said) == (0, "")
    assert {json.loads(line)["origin"] for line in shown.splitlines()} == {"default"}


def test_a_check_prints_mistakes_only(file: str, tmp_path: Path) -> None:
    assert run("-c", file, "--check")[:2] == (0, "")
    code, shown, said = run("-c", file, "--check", "--set", "client.insecure=maybe", "--set", "log.lvel=1")
    assert (code, shown) == (2, "")
    assert "2 mistakes in the configuration:\n" in said
    assert "\n  --set: client.insecure: expected true or false, not 'maybe'\n" in said
    assert "\n  --set: log.lvel: unknown key; did you mean log.level?\n" in said


@pytest.mark.parametrize("command", [["config", "--check"], ["serve"]])
def test_a_check_tells_what_serve_would_refuse(command: list[str], file: str) -> None:
    given = ("--set", "store.url=mysql:x", "--set", "client.allowed_origins=example.com")
    result = CliRunner().invoke(main, [*command, "-c", file, *given])
    assert result.exit_code == 2
    assert "2 mistakes in the configuration:\n" in result.stderr
    assert "\n  --set: client.allowed_origins: 'example.com' never matches: " in result.stderr
    assert "\n  --set: store.url: no store for the scheme 'mysql'; " in result.stderr


def test_a_check_reads_the_files_of_keys_too(tmp_path: Path) -> None:
    certificate().write(tmp_path)
    tls = [
        f"http_server.tls.cert_pem={tmp_path}/server.pem",
        f"http_server.tls.key_pem={tmp_path}/server.key",
    ]
    given = [part for one in ["http_server.tls.enabled=true", *tls] for part in ("--set", one)]
    assert run("--check", *given)[0] == 0
    certificate().write(tmp_path, "other")
    given[-1] = f"http_server.tls.key_pem={tmp_path}/other.key"
    code, _, said = run("--check", *given)
    assert code == 2
    assert "other.key: is not the key of the certificate" in said
    code, _, said = run("--check", "--set", "client.token.rsa_public_key=/nowhere.pem")
    assert code == 2
    assert "client.token.rsa_public_key" in said


def test_lenient_turns_what_gapless_does_not_have_into_warnings() -> None:
    code, shown, said = run("--check", "--set", "admin.enabled=true")
    assert code == 2
    assert "admin.enabled: this key of Centrifugo's is not one that gapless has" in said
    code, shown, said = run("--check", "--lenient", "--set", "admin.enabled=true")
    assert (code, shown) == (0, "")
    assert said.startswith("Warning: --set: admin.enabled: ")
