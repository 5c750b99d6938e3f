"""Settings in a browser: the configuration with its origins, nodes, the audit stream, licences."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.servers import PASSWORDS, open_console
from tests.browser.sessions import call_as, log_in
from tests.browser.visitors import Visitors, axe
from tests.conftest import ROOT
from tests.program import API_KEY, Program

TABS = {"configuration": "http_server", "nodes": "One node", "audit": "What was done", "about": "This server"}
HOSTILE = ('"><script>alert(1)</script><img src=x onerror=alert(1)>', "\u202eolleh\u202c", "x" * 255)


@pytest.fixture(scope="module")
def audited(served: Program) -> Program:
    """A server on which some things were done, of which some are named to do harm."""
    for name in ("mail", "orders"):
        served.api("queue/declare", queue=name)
    ann = log_in(served, "ann")
    for name in HOSTILE:
        assert "result" in call_as(served, ann, "block", user=name, expire_at=1)
    for _ in range(30):
        served.api("queue/pause", queue="mail")
        served.api("queue/resume", queue="mail")
    return served


def lines(served: Program) -> dict[str, dict[str, Any]]:
    """Return what the API says of the configuration."""
    told = served.api("config")["result"]["lines"]
    return {line["key"]: line for line in told}


def row(page: Page, key: str) -> Any:
    """Return the row of an option."""
    return page.get_by_role("row").filter(has=page.get_by_text(key, exact=True))


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_can_be_used_by_all_and_fits_on_a_phone(
    visitors: Visitors, audited: Program, tab: str
) -> None:
    for size in ((1280, 800), (380, 800)):
        page = visitors.page(size)
        open_console(page, audited, f"#/settings?tab={tab}", as_name="bob")
        expect(page.get_by_role("heading", name=TABS[tab], exact=False).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        axe(page)


def test_one_sees_who_one_is_and_for_how_long(page: Page, served: Program) -> None:
    open_console(page, served, "#/settings", as_name="ann")
    expect(page.get_by_text("You are ann, an operator")).to_be_visible()
    expires = page.evaluate(
        "new Date(JSON.parse(sessionStorage.getItem('gapless.session')).expires_ms).toISOString()"
    )
    expect(page.locator(".page-head time")).to_have_attribute("datetime", expires)


# The configuration ---------------------------------------------------------------------------


def test_each_option_stands_there_with_where_it_was_set(page: Page, served: Program) -> None:
    open_console(page, served, "#/settings", as_name="ann")
    told = lines(served)
    for key in ("http_server.port", "http_server.tls.enabled", "channel.without_namespace.history_size"):
        expect(row(page, key)).to_contain_text(str(told[key]["origin"]))
    expect(row(page, "http_server.port")).to_contain_text(str(served.port))
    assert page.get_by_role("row").filter(has=page.locator("td")).count() == len(told)


def test_what_was_set_comes_first_and_can_be_looked_at_alone(page: Page, served: Program) -> None:
    open_console(page, served, "#/settings", as_name="ann")
    expect(page.get_by_label("Options of http_server").locator("tbody tr").first).not_to_contain_text(
        "default"
    )
    page.get_by_role("button", name="Set").click()
    was_set = [line for line in lines(served).values() if line["origin"] != "default"]
    expect(page.locator("tbody tr")).to_have_count(len(was_set))
    expect(page.get_by_text("default", exact=True)).to_have_count(0)


def test_secrets_do_not_come_to_the_page(page: Page, served: Program) -> None:
    with page.expect_response("**/api/config") as answer:
        open_console(page, served, "#/settings?q=hmac", as_name="ann")
    expect(row(page, "client.token.hmac_secret_key")).to_be_visible()
    assert "hmac_secret_key" in answer.value.text()
    secrets = [served.config["client"]["token"]["hmac_secret_key"], API_KEY, *PASSWORDS.values()]
    values = [line["value"] for line in answer.value.json()["result"]["lines"]]
    assert not [secret for secret in secrets if secret in values]
    assert secrets[0] not in answer.value.text() + page.content()


def test_options_are_found_by_key_value_and_origin_and_the_link_says_so(
    page: Page, visitors: Visitors, served: Program
) -> None:
    open_console(page, served, "#/settings", as_name="ann")
    page.get_by_label("Search options").fill("history_siz")
    expect(row(page, "channel.without_namespace.history_size")).to_be_visible()
    expect(row(page, "http_server.port")).to_have_count(0)
    colleague = visitors.page()
    open_console(colleague, served, page.url.partition("/console/")[2], as_name="bob")
    expect(row(colleague, "channel.without_namespace.history_size")).to_be_visible()
    expect(row(colleague, "http_server.port")).to_have_count(0)
    page.get_by_label("Search options").fill(str(served.port))
    expect(row(page, "http_server.port")).to_be_visible()
    page.get_by_label("Search options").fill("no such thing")
    page.get_by_role("button", name="Show all options").click()
    expect(row(page, "http_server.port")).to_be_visible()


# Nodes and about -----------------------------------------------------------------------------


def test_nodes_are_there_with_their_versions_and_store(page: Page, served: Program) -> None:
    [node] = served.api("info")["result"]["nodes"]
    open_console(page, served, "#/settings?tab=nodes", as_name="bob")
    table = page.get_by_role("table", name="Nodes")
    for said in (node["uid"], node["name"], node["version"], "sqlite", node["store"]["epoch"]):
        expect(table).to_contain_text(said)


def test_each_library_stands_there_with_its_licence_and_the_text_of_it(
    page: Page, visitors: Visitors, served: Program
) -> None:
    visitors.expect(r"favicon\.ico")  # which a browser asks for a text
    open_console(page, served, "#/settings?tab=about", as_name="bob")
    for library in vendored():
        line = page.get_by_role("row").filter(has=page.get_by_text(library["package"], exact=True))
        expect(line).to_contain_text(library["version"])
        expect(line).to_contain_text(library["licence"])
    page.get_by_role("link", name="htm.txt").click()
    expect(page.locator("body")).to_contain_text("Apache License")


def vendored() -> list[dict[str, Any]]:
    """Return what the console loads of others."""
    path: Path = ROOT / "src/gapless/web/vendor/versions.json"
    told: list[dict[str, Any]] = json.loads(path.read_text())
    return told


# The audit stream ----------------------------------------------------------------------------


def test_what_was_done_is_told_with_who_did_it_and_stays_text(page: Page, audited: Program) -> None:
    open_console(page, audited, "#/settings?tab=audit&what=block", as_name="bob")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(len(HOSTILE))
    for name in HOSTILE:
        expect(rows.filter(has_text=name)).to_contain_text("console:ann")
    assert page.locator("main img, main script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_the_audit_is_filtered_and_paged_and_the_link_says_so(
    page: Page, visitors: Visitors, audited: Program
) -> None:
    open_console(page, audited, "#/settings?tab=audit", as_name="ann")
    page.get_by_label("To what").fill("mail")
    page.get_by_label("To what").press("Enter")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(50)
    expect(rows.filter(has_text="orders")).to_have_count(0)
    newest = rows.first.inner_text()
    page.get_by_role("button", name="Older").click()
    expect(rows).to_have_count(11)
    colleague = visitors.page()
    open_console(colleague, audited, page.url.partition("/console/")[2], as_name="bob")
    expect(colleague.locator("tbody tr")).to_have_count(11)
    page.get_by_role("button", name="Newest").click()
    expect(rows).to_have_count(50)
    assert rows.first.inner_text() == newest
    page.get_by_label("What was done").and_(page.locator("input")).fill("no such act")
    page.get_by_label("What was done").and_(page.locator("input")).press("Enter")
    expect(page.get_by_text("Nothing of that kind was done")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(rows).to_have_count(50)


def test_a_record_opens_by_the_keyboard_with_all_its_details(
    page: Page, visitors: Visitors, audited: Program
) -> None:
    open_console(page, audited, "#/settings?tab=audit&what=declare&name=orders", as_name="ann")
    page.locator("tbody tr").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text('"fresh": true')
    colleague = visitors.page()
    open_console(colleague, audited, page.url.partition("/console/")[2], as_name="bob")
    expect(colleague.get_by_role("dialog")).to_contain_text('"fresh": true')
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_the_link_of_a_record_that_is_old_by_now_opens_it(page: Page, audited: Program) -> None:
    open_console(page, audited, "#/settings?tab=audit&record=1", as_name="ann")
    expect(page.get_by_role("dialog").locator("dl")).to_contain_text("Offset1")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_what_somebody_does_here_stands_there_under_the_name(page: Page, served: Program) -> None:
    open_console(page, served, "#/settings?tab=audit&what=login", as_name="ann")
    expect(page.locator("tbody tr").first).to_contain_text("console:ann")
