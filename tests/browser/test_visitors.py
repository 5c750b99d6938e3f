"""The harness itself: what goes wrong in a page cannot stay unseen."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.visitors import Visitors, axe

WRONG = {
    "console.error('oh')": "in the console: oh",
    "setTimeout(() => { throw new Error('oh') })": "not caught: Error: oh",
    "new WebSocket('ws://127.0.0.1:1/')": "asked elsewhere: http://127.0.0.1:1/",
    "fetch('http://127.0.0.1:1/').catch(() => {})": "asked elsewhere: http://127.0.0.1:1/",
    "document.body.insertAdjacentHTML('beforeend', '<img src=data: onerror=oh()>')": "the policy: script-src",
    "document.body.setAttribute('style', 'color: red')": "against the policy: style-src",
}
PAGE = b"""<!doctype html>
<html lang="en"><title>A page</title><link rel="icon" href="data:,"><main><h1>A page</h1></main></html>
"""


class Answering(BaseHTTPRequestHandler):
    """Answers with one page, whatever is asked for."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-security-policy", "script-src 'self'; style-src 'self'")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """Where there is a page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def settle(page: Page) -> None:
    """Let the page do what it has begun."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")


@pytest.mark.parametrize("what", WRONG)
def test_what_goes_wrong_in_a_page_fails_its_test(browser: Browser, place: str, what: str) -> None:
    visitors = Visitors(browser)
    page = visitors.page()
    page.goto(place)
    page.evaluate(f"() => {{ {what} }}")
    settle(page)
    with pytest.raises(AssertionError, match=WRONG[what]):
        visitors.leave()


def test_what_is_expected_to_go_wrong_fails_nothing(visitors: Visitors, place: str) -> None:
    page = visitors.page()
    visitors.expect("a cut")
    page.goto(place)
    page.evaluate("console.error('a cut socket')")
    settle(page)
    assert visitors.faults


def test_what_few_can_use_is_found_under_the_policy(page: Page, narrow_page: Page, place: str) -> None:
    page.goto(place)
    axe(page)
    narrow_page.goto(place)
    narrow_page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    with pytest.raises(AssertionError, match="button-name"):
        axe(narrow_page)
    axe(narrow_page, "button-name")
    assert narrow_page.evaluate("innerWidth") == 380
