"""The console from its door: it opens, at any width, for those who may come in."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.servers import Dev, open_console
from tests.browser.visitors import Visitors, axe
from tests.program import Program


@pytest.mark.usefixtures("shop")
def test_nobody_has_to_log_in_to_a_server_for_development(page: Page, dev: Dev) -> None:
    page.goto(f"{dev.origin}/console")
    expect(page).to_have_url(re.compile("/console/"))
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    expect(page.get_by_role("status").first).to_have_text("live")
    axe(page)


@pytest.mark.usefixtures("shop")
def test_the_first_screen_fits_on_a_phone(narrow_page: Page, dev: Dev) -> None:
    open_console(narrow_page, dev)
    expect(narrow_page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    assert narrow_page.evaluate("document.documentElement.scrollWidth") <= 380
    axe(narrow_page)


PICTURES = """(function picture() {
  const main = document.querySelector("main");
  if (main) globalThis.picture ??= main.innerText;
  else requestAnimationFrame(picture);
})();"""


def test_the_first_picture_holds_numbers(page: Page, dev: Dev) -> None:
    page.add_init_script(PICTURES)
    open_console(page, dev)
    first = page.evaluate("picture")
    assert re.search(r"Connections\s+[0-9]", first, re.IGNORECASE), first


def test_a_first_picture_does_not_wait_for_an_answer_that_is_late(page: Page, dev: Dev) -> None:
    kept: list[Route] = []
    page.route("**/api/info", lambda route: kept.append(route))
    open_console(page, dev)
    number = page.locator(".stat", has=page.get_by_text("Connections", exact=True)).locator("dd").first
    expect(number).to_have_text("–")
    kept[0].continue_()
    expect(number).to_have_text(re.compile("[0-9]"))


def test_what_failed_before_the_first_picture_is_asked_again(
    page: Page, visitors: Visitors, dev: Dev
) -> None:
    visitors.expect("status of 500")
    refusal = {"error": {"code": 100, "message": "not today"}}
    page.route("**/api/info", lambda route: route.fulfill(status=500, json=refusal), times=1)
    open_console(page, dev)
    expect(page.locator("dd").first).to_have_text(re.compile("[0-9]"))
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("script", ["begin.min.js", "console.min.js", "centrifuge.js"])
def test_a_script_that_does_not_come_is_told(page: Page, visitors: Visitors, dev: Dev, script: str) -> None:
    visitors.expect("ERR_FAILED|Centrifuge is not defined")
    page.route(f"**/{script}", lambda route: route.abort())
    page.goto(f"{dev.origin}/console/")
    told = page.get_by_text(re.compile("A part of this page did not come|Centrifuge is not defined"))
    expect(told).to_be_visible()


def test_a_server_that_takes_its_time_is_waited_for_with_a_word(page: Page, dev: Dev) -> None:
    kept: list[Route] = []
    page.route("**/about.json", lambda route: kept.append(route))
    page.goto(f"{dev.origin}/console/")
    expect(page.get_by_role("status")).to_have_text("Loading …")
    expect(page.get_by_role("status")).to_have_css("opacity", "1")
    for route in kept:
        route.continue_()
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()


def test_a_page_that_is_open_comes_in_again_when_the_server_began_anew(
    page: Page, visitors: Visitors, tmp_path: Path
) -> None:
    visitors.expect("WebSocket connection to|ERR_CONNECTION|status of 401")
    dev = Dev(tmp_path)
    dev.start()
    open_console(page, dev, "#/queues")
    expect(page.get_by_role("status").first).to_have_text("live")
    dev.stop()
    expect(page.get_by_text("the server cannot be reached")).to_be_visible()
    dev.settings = {"client.token.hmac_secret_key": "another secret of thirty-two characters"}
    dev.start()
    expect(page.get_by_role("status").first).to_have_text("live", timeout=30_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("Queues")
    expect(page.get_by_role("alert")).to_have_count(0)
    dev.close()


def test_a_console_that_was_disconnected_for_good_connects_when_it_is_told_to(page: Page, dev: Dev) -> None:
    open_console(page, dev)
    expect(page.get_by_role("status").first).to_have_text("live")
    (here,) = [each for each in dev.api("connection/list")["result"]["connections"] if each.get("watches")]
    dev.api("disconnect", user=here["user"], client=here["client"])
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_role("status").first).to_have_text("live")


def test_who_may_only_look_comes_in_too(page: Page, served: Program) -> None:
    open_console(page, served, as_name="bob")
    expect(page.get_by_text("read-only")).to_be_visible()
    axe(page)
