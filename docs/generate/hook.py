"""Adds the pages that are made of the code, and the files that pages show whole, when mkdocs builds."""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.generate import api, codes, library, options, others
from gapless.server.openapi import openapi

__all__ = ["INCLUDED", "generated", "on_files", "on_page_markdown"]

ROOT = Path(__file__).parent.parent.parent
INCLUDED = re.compile(r"^<!-- include: (?P<kind>\w+) (?P<path>\S+) -->$", re.MULTILINE)


def generated() -> dict[str, str]:
    """Return what is made of the code, by its place in the documentation."""
    return {
        "reference/options.md": options.options_page(),
        "reference/centrifugo-keys.md": options.centrifugo_page(),
        "reference/server-api.md": api.api_page(),
        "reference/queues-api.md": api.queues_page(),
        "reference/streams-api.md": api.streams_page(),
        "reference/openapi.json": openapi("/api").decode(),
        "reference/library.md": library.library_page(),
        "reference/command-line.md": others.command_line_page(),
        "reference/metrics.md": others.metrics_page(),
        "reference/limits.md": others.limits_page(),
        **codes.pages(),
    }


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages."""
    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    return files


def measured() -> str:
    """Return what the last full run measured: where, and the table."""
    text = (ROOT / "bench/RESULTS.md").read_text()
    return text[text.index("\n\n", text.index("# ") + 2) : text.index("What was asked:")].strip()


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Show a file of the project where a page includes it, and what was measured."""
    markdown = markdown.replace("<!-- measured -->", measured())
    return INCLUDED.sub(
        lambda found: f"```{found['kind']}\n{(ROOT / found['path']).read_text()}```", markdown
    )
