"""The pytest plugin, in a pytest of its own: no warning, and nothing imported that is not used."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from gapless import Gapless

gl = Gapless("sqlite:app.db")


@gl.queue("mail", lease="30s")
async def send_mail(mail: str) -> None: ...
"""

PLAIN = """
from pathlib import Path

from app import gl, send_mail


def test_plain(gapless):
    with gapless(gl) as t:
        send_mail.enqueue_sync("ada")
        t.run_until_idle()
        assert t.calls(send_mail) == ["ada"]
    assert not Path("app.db").exists()
"""

LOOPING = """
import asyncio

import pytest

from app import gl, send_mail


async def check(gapless):
    async with gapless(gl) as t:
        await send_mail.enqueue("ada")
        t.crash_before_ack()
        await t.advance("35s")
        assert [each.outcome for each in t.deliveries(send_mail)] == ["crashed", "acked"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_anyio(gapless):
    await check(gapless)


def test_a_loop_of_ones_own(gapless):
    asyncio.run(check(gapless))
"""

SERVER = """
import pytest

from gapless import Gapless


@pytest.fixture
def gapless_server_config(tmp_path):
    return {config}


def test_a_node(gapless_server, tmp_path):
    gl = Gapless(gapless_server.url, api_key=gapless_server.api_key)
    with gl.blocking() as there:
        there.publish("news", "hi")
        assert [each.data for each in there.history("news").publications] == ["hi"]
    assert (tmp_path / "kept.db").exists() is {kept}
"""

HISTORY = '{"without_namespace": {"history_size": 10, "history_ttl": "1h"}}'
ON_DISK = '{"store": {"url": f"sqlite:{tmp_path}/kept.db"}, "channel": ' + HISTORY + "}"


def run(folder: Path, test: str) -> str:
    """Run a file of tests as somebody else would, with every warning an error; return what it printed."""
    (folder / "app.py").write_text(PROGRAM)
    (folder / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_it.py"]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_plain_test_has_the_harness(tmp_path: Path) -> None:
    assert "1 passed" in run(tmp_path, PLAIN)


def test_a_test_on_a_loop_has_it_too(tmp_path: Path) -> None:
    assert "2 passed" in run(tmp_path, LOOPING)


@pytest.mark.parametrize(("config", "kept"), [("{}", False), (ON_DISK, True)], ids=["memory", "sqlite"])
def test_a_test_has_a_real_node(tmp_path: Path, config: str, kept: bool) -> None:
    assert "1 passed" in run(tmp_path, SERVER.replace("{config}", config).replace("{kept}", str(kept)))


def test_to_load_the_plugin_imports_nothing_of_the_library() -> None:
    told = "import sys, gapless.testing.plugin; print([n for n in sys.modules if n.startswith('gapless')])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['gapless', 'gapless.testing', 'gapless.testing.plugin']"
