"""The reference is made of the code, leaves nothing out, and builds without a warning."""

import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import msgspec
from openapi_spec_validator import validate

import gapless
from docs.generate import codes, options
from docs.generate.hook import generated
from gapless.cli import COMMANDS
from gapless.cli.queueing import queue
from gapless.cli.streaming import stream
from gapless.core import limits
from gapless.core.errors import GaplessError
from gapless.library import hooks
from gapless.library.terms import QueueSaid, StreamSaid
from gapless.server.care_routes import care_routes
from gapless.server.config.centrifugo import rows
from gapless.server.config.fields import keys, section_of
from gapless.server.messages.query import PARAMETERS
from gapless.server.metrics import METRICS
from gapless.server.openapi import openapi

ROOT = Path(__file__).parent.parent.parent


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    fetched = re.compile(r"""<(?:script|link|img)[^>]*(?:src|href)=["'](?:https?:)?//""")
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(generated())
    assert not [page for page in pages if fetched.search(page.read_text())], "it fetches something"
    assert (tmp_path / "reference/openapi.json").exists()
    assert not list(tmp_path.rglob("*.py"))
    assert "fan-out 1 → 1000" in (tmp_path / "explanation/comparison.html").read_text()
    assert "Type=notify" in (tmp_path / "howto/deploy.html").read_text()


def test_every_option_is_explained_and_no_other() -> None:
    told = options.meanings()
    leaves = {
        path: {key for key, field in keys(model).items() if section_of(field) is None}
        for path, model in options.sections()
    }
    assert all(options.meaning(told, path, key) for path, names in leaves.items() for key in names)
    assert not {path for path in told if path.rpartition(".")[2] not in leaves[path.rpartition(".")[0]]}


def test_every_key_of_centrifugo_stands_in_the_reference() -> None:
    page = options.centrifugo_page()
    assert len(rows()) > 500
    assert all(f"| `{key.path}` |" in page for key in rows())


def test_every_code_has_a_cause_and_a_cure() -> None:
    explained = {kind: set(told) for kind, told in codes.explained().items()}
    assert explained == {kind: set(told) for kind, told in codes.numbers().items()}
    assert all(why["cause"] and why["cure"] for told in codes.explained().values() for why in told.values())
    assert "110" not in codes.pages()


def test_every_error_has_a_page() -> None:
    pages = codes.pages()
    waiting = [GaplessError]
    for error in waiting:
        waiting += error.__subclasses__()
        assert f"reference/codes/{error.code}.md" in pages
        assert f"reference/codes/{error.number}.md" in pages


def test_all_public_names_of_the_library_stand_in_the_reference() -> None:
    page = generated()["reference/library.md"]
    types = [name for name in gapless.__all__ if name[0].isupper()]
    types += [f"hooks.{name}" for name in hooks.__all__ if name not in ("Declaring", "Hook", "catalogue_of")]
    assert len(types) > 20
    assert not [name for name in types if f"# {name}\n" not in page]
    assert all(f"`{option}`" in page for said in (QueueSaid, StreamSaid) for option in said.__annotations__)
    assert "**`enqueue(queue, payload, …)`**" in page


def test_the_openapi_document_is_one() -> None:
    validate(msgspec.json.decode(openapi("/api")))


def test_all_commands_metrics_and_limits_stand_in_the_reference() -> None:
    pages = generated()
    assert all(f"## gapless {name}\n" in pages["reference/command-line.md"] for name in COMMANDS)
    inner = [("queue", name) for name in queue.commands] + [("stream", name) for name in stream.commands]
    assert all(
        f"## gapless {family} {name}\n" in pages["reference/command-line.md"] for family, name in inner
    )
    assert all(f"| `{metric.name}` |" in pages["reference/metrics.md"] for metric in METRICS)
    assert "| `gapless_handler_deliveries_total` | counter |" in pages["reference/metrics.md"]
    names = {name for name in vars(limits) if name.isupper()}
    assert all(f"| `{name}` |" in pages["reference/limits.md"] for name in names)


def test_all_routes_of_the_care_of_the_store_stand_in_the_reference() -> None:
    page = (ROOT / "docs/reference/store-care.md").read_text()
    routes = care_routes(Mock(), Mock(), "", Mock())
    assert len(routes) > 5
    assert all(f"{route.path}" in page for route in routes)


def test_all_parameters_of_the_messages_api_stand_in_the_reference() -> None:
    page = (ROOT / "docs/reference/messages-api.md").read_text()
    assert all(f"| `{name}` |" in page for name in PARAMETERS)
