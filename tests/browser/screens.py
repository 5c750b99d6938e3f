"""What tests of several screens do alike: names that are hostile, calls of the API, and places in a page."""

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.program import Program

__all__ = ["HOSTILE", "LONG", "button", "call", "rows", "told", "visit"]

LONG = 12_345_678_901_234_567_890  # beyond what JavaScript counts to
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "\u202eevil\u202c\u2066x\u2069",
    "x" * 255,
]


def call(server: Program, method: str, /, **request: Any) -> dict[str, Any]:
    """Call the API, and return the result."""
    answer = server.api(method, **request)
    assert "result" in answer, (method, answer)
    result: dict[str, Any] = answer["result"]
    return result


def visit(page: Page, route: str) -> None:
    """Go to a place of the console."""
    page.evaluate("route => { location.hash = route }", route)


def button(page: Page | Locator, name: str) -> Locator:
    """Find a button by all of its name."""
    return page.get_by_role("button", name=name, exact=True)


def told(page: Page, text: str | re.Pattern[str]) -> None:
    """Wait until the page tells something."""
    expect(page.locator(".toasts").get_by_text(text)).to_be_visible()


def rows(page: Page, label: str) -> Locator:
    """Find the rows of a list."""
    return page.get_by_role("table", name=label, exact=True).locator("tbody tr")
