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


def test_there_is_no_way_to_a_lab_that_is_not_there(visitors: Visitors, served: Program) -> None:
    page = visitors.page()
    open_console(page, served, "#/settings", as_name="bob")
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).not_to_contain_text("Failure lab")
    page.keyboard.press("Escape")
    page.goto(f"{served.origin}/console/#/lab")
    expect(page.get_by_text("There is no such screen")).to_be_visible()
