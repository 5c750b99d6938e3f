"""Every block of code in the documentation runs as it stands; only the ports are others."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.generate.others import handler_metrics
from gapless.server.metrics import METRICS
from tests.docs.pages import KINDS, NODE_MODULES, Run, blocks

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    run.close()


def missing(page: Path) -> list[str]:
    """What the code of a page calls and this machine does not have."""
    found = blocks(page.read_text())
    called = {"node"} if any(block.kind == "js" or block.what == "opens" for block in found) else set()
    called |= {
        word
        for block in found
        if block.kind == "sh"
        for word in re.findall(r"curl|openssl|redis-server|redis-cli", block.text)
    }
    return sorted(program for program in called if not is_there(program))


def is_there(program: str) -> bool:
    return shutil.which(program) is not None and (program != "node" or (NODE_MODULES / "centrifuge").is_dir())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_a_page_does_what_it_says(page: Path, run: Run) -> None:
    if missing(page):
        pytest.skip(f"no {', '.join(missing(page))}: `make test` installs it")
    for block in blocks(page.read_text()):
        try:
            run.take(block)
        except Exception as error:
            raise AssertionError(f"{page.name}:{block.line}: {error}") from error


def test_no_block_is_of_an_unknown_kind() -> None:
    fences = [
        (page.name, kind)
        for page in PAGES
        for kind in re.findall(r"^\s*```(\w*)$", page.read_text(), re.MULTILINE)[::2]
    ]
    assert fences
    assert not [(name, kind) for name, kind in fences if kind not in KINDS]
    found = sum(bool(block.kind) for page in PAGES for block in blocks(page.read_text()))
    assert found == len(fences), "a fence that the runner does not see"


def test_alerts_name_metrics_that_there_are() -> None:
    names = {metric.name for metric in METRICS} | {name.strip("`") for name, _, _ in handler_metrics()}
    told = {
        name
        for page in PAGES
        for block in blocks(page.read_text())
        for name in re.findall(r"\b(?:gapless|process)_[a-z_]+", block.text if block.kind == "yaml" else "")
    }
    assert told
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in told} <= names


def test_every_page_stands_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert not [page.name for page in PAGES if f": {page.relative_to(ROOT / 'docs')}\n" not in navigation]
