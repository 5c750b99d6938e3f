"""Configurations and real processes: files of Centrifugo's start, each kind of mistake ends with code 2."""

import http.client
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.program import GAPLESS, free_port

FILES = Path(__file__).parent.parent / "server/config/files"
PATIENCE_SECONDS = 15


@contextmanager
def serving(folder: Path, *arguments: str, **variables: str) -> Iterator[int]:
    """Serve with these arguments until it answers, then stop it; yields its port."""
    port = free_port()
    command = [GAPLESS, "serve", *arguments, "--set", f"http_server.port={port}"]
    environment = {**os.environ, "GAPLESS_HTTP_SERVER__ADDRESS": "127.0.0.1", **variables}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while status(port, "GET", "/health") != http.HTTPStatus.OK:
            assert process.poll() is None
            assert time.monotonic() < deadline
        yield port
    finally:
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, b"Traceback" in said) == (0, False), said


def status(port: int, method: str, path: str, key: str = "", body: bytes = b"") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, body or None, {"X-API-Key": key})
        return connection.getresponse().status
    except ConnectionError:
        return 0
    finally:
        connection.close()


def refused(folder: Path, *arguments: str, **variables: str) -> str:
    """Serve with these arguments, which must be refused; return what is said."""
    done = subprocess.run(
        [GAPLESS, "serve", *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("name", "key", "more"),
    [
        ("generated.json", "93b1d0aa-made-up", ()),
        ("chat.toml", "made up", ()),
        ("proxied.json", "made up", ("--lenient",)),
    ],
)
def test_a_file_of_centrifugos_starts_the_server(
    tmp_path: Path, name: str, key: str, more: tuple[str, ...]
) -> None:
    with serving(tmp_path, "--config", str(FILES / name), *more) as port:
        assert status(port, "POST", "/api/info", key, b"{}") == http.HTTPStatus.OK
        assert status(port, "POST", "/api/info", "wrong", b"{}") == http.HTTPStatus.UNAUTHORIZED


def test_secrets_come_from_files_and_limits_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    variables = {"GAPLESS_HTTP_API__KEY_FILE": "key", "GAPLESS_HTTP_API__BODY_SIZE_LIMIT": "100"}
    with serving(tmp_path, **variables) as port:
        assert status(port, "POST", "/api/info", "from a file", b"{}") == http.HTTPStatus.OK
        long = b'{"x": "' + b"x" * 100 + b'"}'
        assert (
            status(port, "POST", "/api/info", "from a file", long) == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[http_server\n", "gapless.toml:1: is no TOML: "),
        ("[http_server]\nprot = 1\n", "gapless.toml:2: http_server.prot: unknown key; did you mean"),
        ("[http_server]\nport = -1\n", "gapless.toml:2: http_server.port: expected a whole number from 0"),
        ("[client]\ninsecure = 1\n", "gapless.toml:2: client.insecure: expected true or false, not 1"),
        ("[client]\npong_timeout = 8\n", "gapless.toml:2: client.pong_timeout: expected a duration"),
        (
            '[client]\nallowed_origins = "*"\n',
            "gapless.toml:2: client.allowed_origins: expected a list of texts",
        ),
        ("channel = 1\n", "gapless.toml:1: channel: expected a section with keys of its own"),
        (
            '[[channel.namespaces]]\nname = "ab"\nhistory_size = 1\n',
            "gapless.toml:2: namespace 'ab': history",
        ),
        ("[sse]\nenabled = true\n", "gapless.toml:2: sse.enabled: this key of Centrifugo's is not one that"),
        ('[engine]\ntype = "redis"\n', "gapless.toml:2: engine.type: 'redis': Redis will be a store"),
        ('[client.token]\nhmac_secret_key = ["made up"]\n', "expected a text, not what is there"),
        ('[store]\ndurability = "paper"\n', "gapless.toml:2: store.durability: expected one of 'memory'"),
    ],
)
def test_each_kind_of_mistake_ends_the_program(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "gapless.toml").write_text(content)
    said = refused(tmp_path, "--config", "gapless.toml")
    assert said.startswith(f"Error: {told}") or told in said
    assert "made up" not in said
    assert not list(tmp_path.glob("*.db*")), "nothing was opened yet"


def test_a_file_that_is_not_there_or_no_file_ends_the_program(tmp_path: Path) -> None:
    assert "none.toml: cannot be read: No such file or directory" in refused(tmp_path, "-c", "none.toml")
    assert "cannot be read: Is a directory" in refused(tmp_path, "-c", str(tmp_path))
    assert "GAPLESS_LOG__LEVEL: log.level: expected one of" in refused(tmp_path, GAPLESS_LOG__LEVEL="loud")
    assert "write GAPLESS_HTTP_SERVER__PORT" in refused(tmp_path, GAPLESS_HTTP_SERVER_PORT="1")


def test_the_thousands_of_mistakes_of_a_file_that_is_none_are_told_in_few_lines(tmp_path: Path) -> None:
    (tmp_path / "gapless.json").write_text("{" + ",".join(f'"x{n}": {n}' for n in range(5_000)) + "}")
    said = refused(tmp_path, "--config", "gapless.json")
    assert "5000 mistakes" in said
    assert len(said.splitlines()) == 22
