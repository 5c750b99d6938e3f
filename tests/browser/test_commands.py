"""The commands that the console names reach the server that it is of, wherever that is."""

import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.screens import button, call, visit
from tests.browser.servers import Dev, open_console
from tests.program import GAPLESS

DEFAULTS = ("http://127.0.0.1:8000", "http://localhost:8000")
# Where a command stands, and which.
COMMANDS = {
    "#/channels": "gapless tail chat",
    "#/connections": "gapless tail chat",
    "#/connections?tab=stories": "gapless tail chat",
    "#/queues": "gapless queue create NAME",
    "#/queues/quiet": "gapless queue push quiet '{\"n\": 1}'",
    "#/streams": "gapless stream create NAME",
    "#/streams/quiet": "gapless stream append quiet '{\"n\": 1}'",
}
# Of these something is always there: the page itself, and what it needs.
NOTHING: dict[str, Any] = {
    "channels": {"channels": {}},
    "connection/list": {"connections": [], "total": 0},
    "connection/stories": {"events": []},
    "queue/stats": {"queues": []},
    "stream/list": {"streams": []},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A server at a port of its own, with a queue and a stream in which nothing is."""
    with Dev(tmp_path_factory.mktemp("commands")) as dev:
        call(dev, "queue/declare", queue="quiet")
        call(dev, "stream/declare", stream="quiet", options={"partitions": 1})
        yield dev


def empty(page: Page) -> None:
    """Let a page be told that nothing is there."""

    def answer(route: Route) -> None:
        method = route.request.url.partition("/api/")[2]
        route.fulfill(json={"result": NOTHING[method]})

    for method in NOTHING:
        page.route(f"**/api/{method}", answer)


def run(command: str) -> None:
    """Do what the console says."""
    subprocess.run([GAPLESS, *shlex.split(command)[1:]], check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize("place", COMMANDS)
def test_a_command_names_a_server_that_is_elsewhere(page: Page, server: Dev, place: str) -> None:
    if "quiet" not in place:
        empty(page)
    open_console(page, server, place)
    expect(page.locator(".empty code")).to_have_text(f"{COMMANDS[place]} --url {server.origin}")


def test_what_a_command_says_happens_on_this_server(page: Page, server: Dev) -> None:
    for place in ("#/channels/calm", "#/queues/quiet", "#/streams/quiet"):
        open_console(page, server, place)
        if "channels" in place:
            expect(page.locator("#tail-rows")).to_contain_text("Following")
            button(page, "Clear").click()
        run(page.locator(".empty code").inner_text())
        expect(page.locator(".empty")).to_have_count(0)
    assert call(server, "history", channel="calm", limit=1)["offset"] == 1


@pytest.mark.parametrize("origin", DEFAULTS)
def test_a_command_is_short_where_it_is_looked_for_anyway(page: Page, server: Dev, origin: str) -> None:
    def elsewhere(route: Route) -> None:
        url = route.request.url.replace(origin, server.origin)
        headers = {**route.request.headers, "origin": server.origin}
        route.fulfill(response=route.fetch(url=url, headers=headers))

    page.route(f"{origin}/**", elsewhere)
    page.route_web_socket("**", lambda socket: None)  # it never comes so far
    empty(page)
    page.goto(f"{origin}/console/#/queues")
    expect(page.locator(".empty code")).to_have_text(COMMANDS["#/queues"])
    visit(page, "#/streams")
    expect(page.locator(".empty code")).to_have_text(COMMANDS["#/streams"])
    page.goto("about:blank")  # which asks for nothing more
    page.unroute_all(behavior="wait")
