"""People with a browser: Debian's Chromium, driven from outside, where nothing may go wrong unseen."""

import re
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, WebSocket

from tests.conftest import WEB_PACKAGES

__all__ = ["ARGUMENTS", "AXE", "NARROW", "WIDE", "Visitors", "axe"]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = (1280, 800)
NARROW = (380, 800)

AXE = WEB_PACKAGES / "axe-core/axe.min.js"
SERIOUS = ("serious", "critical")
# Told in the console, so that there is one place to look at.
TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`against the policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


class Visitors:
    """Those who come in one test, each with a browser profile of its own.

    What goes wrong in their pages fails the test at its end, unless it is expected: an error in the console,
    an error that nobody caught, what the content security policy refused, a request to another origin.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._homes: dict[Page, str] = {}
        self._expected: list[re.Pattern[str]] = []
        self.faults: list[str] = []

    def page(self, size: tuple[int, int] = WIDE, **options: Any) -> Page:
        """Return an empty page of somebody who was never here."""
        width, height = size
        context = self._browser.new_context(viewport={"width": width, "height": height}, **options)
        self._contexts.append(context)
        context.add_init_script(TELL_VIOLATIONS)
        context.on("console", self._said)
        context.on(
            "weberror", lambda told: self.faults.append(f"not caught: {told.error.stack or told.error}")
        )
        context.on("request", self._asked)
        context.on("page", lambda page: page.on("websocket", lambda socket: self._opened(page, socket)))
        return context.new_page()

    def expect(self, pattern: str) -> None:
        """Let faults be that match, in this test: of a cut socket, of a refused login."""
        self._expected.append(re.compile(pattern))

    def leave(self) -> None:
        """Close all pages, and fail for what went wrong in them."""
        for context in self._contexts:
            context.close()
        unexpected = [fault for fault in self.faults if not any(p.search(fault) for p in self._expected)]
        assert not unexpected, "\n".join(unexpected)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"in the console: {message.text} ({message.location['url']})")

    def _asked(self, request: Request) -> None:
        page = request.frame.page
        if request.is_navigation_request() and request.frame == page.main_frame:
            self._homes.setdefault(page, origin(request.url))
        self._stays_home(page, request.url)

    def _opened(self, page: Page, socket: WebSocket) -> None:
        self._stays_home(page, re.sub("^ws", "http", socket.url))

    def _stays_home(self, page: Page, url: str) -> None:
        if url.startswith("http") and origin(url) != self._homes.get(page):
            self.faults.append(f"asked elsewhere: {url}")


def origin(url: str) -> str:
    """Return scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def axe(page: Page, *without: str) -> None:
    """Assert that axe-core finds nothing serious in the page as it is now, `without` rules that it names."""
    page.evaluate(AXE.read_text())
    rules = {rule: {"enabled": False} for rule in without}
    found = page.evaluate("rules => axe.run({rules, resultTypes: ['violations']})", rules)
    serious = [
        f"{rule['id']}: {rule['help']}\n  " + "\n  ".join(node["html"] for node in rule["nodes"])
        for rule in found["violations"]
        if rule["impact"] in SERIOUS
    ]
    assert not serious, "\n".join(serious)
