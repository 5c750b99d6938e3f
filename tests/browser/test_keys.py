"""The console by keyboard: going to a screen, searching, and the dialog that lists the keys."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.servers import Dev, open_console
from tests.browser.visitors import Visitors, axe
from tests.program import Program

SCREENS = {
    "o": "Overview",
    "c": "Channels",
    "n": "Connections",
    "q": "Queues",
    "s": "Streams",
    "p": "Playground",
    "l": "Failure lab",
    "e": "Settings",
}


def heading(page: Page) -> str:
    """Return what the screen is called."""
    told: str = page.get_by_role("heading", level=1).inner_text()
    return told


@pytest.mark.parametrize("letter", SCREENS)
def test_g_and_a_letter_go_to_a_screen(page: Page, dev: Dev, letter: str) -> None:
    open_console(page, dev, "#/settings" if letter == "o" else "#/overview")
    page.keyboard.press("g")
    page.keyboard.press(letter)
    expect(page.get_by_role("heading", level=1)).to_have_text(SCREENS[letter])


def test_a_letter_alone_goes_nowhere(page: Page, dev: Dev) -> None:
    open_console(page, dev, "#/settings")
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings")
    page.keyboard.press("q")
    page.keyboard.press("g")
    page.keyboard.press("x")
    page.keyboard.press("q")
    assert heading(page) == "Settings"


def test_a_slash_searches_and_keys_are_letters_where_one_types(page: Page, dev: Dev) -> None:
    open_console(page, dev, "#/settings")
    search = page.get_by_label("Search options")
    expect(search).to_be_visible()
    page.keyboard.press("/")
    expect(search).to_be_focused()
    page.keyboard.type("gq?/")
    expect(search).to_have_value("gq?/")
    assert heading(page) == "Settings"
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_question_mark_lists_the_keys_and_escape_closes_them(page: Page, dev: Dev) -> None:
    open_console(page, dev, "#/settings")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    for title in SCREENS.values():
        expect(dialog).to_contain_text(title)
    axe(page)
    page.keyboard.press("g")
    page.keyboard.press("q")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Keys").click()
    expect(dialog).to_be_visible()


def test_the_keyboard_goes_on_in_the_place_that_a_row_opens(page: Page, dev: Dev) -> None:
    assert "result" in dev.api("queue/declare", queue="keys")
    open_console(page, dev, "#/queues")
    page.get_by_role("row", name="keys").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("keys")
    expect(page.locator("#main")).to_be_focused()


def test_what_is_asked_goes_with_the_place_where_it_was_asked(page: Page, dev: Dev) -> None:
    assert "result" in dev.api("queue/declare", queue="asked")
    open_console(page, dev, "#/queues")
    page.get_by_role("link", name="asked").click()
    page.get_by_role("tab", name="Options").click()
    page.get_by_role("button", name="Drop the queue").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("tab", name="Waiting")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_tabs_are_reached_where_the_address_names_none_of_them(page: Page, dev: Dev) -> None:
    open_console(page, dev, "#/channels/news?tab=live")
    expect(page.get_by_role("tab", name="Live tail")).to_have_attribute("aria-selected", "true")


def test_on_a_phone_the_way_shows_where_one_is(narrow_page: Page, dev: Dev) -> None:
    open_console(narrow_page, dev, "#/settings")
    expect(narrow_page.get_by_role("link", name="Settings")).to_be_in_viewport()


def test_there_is_no_way_to_a_lab_that_is_not_there(visitors: Visitors, served: Program) -> None:
    page = visitors.page()
    open_console(page, served, "#/settings", as_name="bob")
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).not_to_contain_text("Failure lab")
    page.keyboard.press("Escape")
    page.goto(f"{served.origin}/console/#/lab")
    expect(page.get_by_text("There is no such screen")).to_be_visible()
