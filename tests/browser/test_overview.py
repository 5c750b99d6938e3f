"""The overview: what goes on now, and what went on, also before the server was started again."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.seeding import Shop, until
from tests.browser.servers import Dev, open_console
from tests.browser.visitors import NARROW, Visitors, axe

SAMPLED = 'figure[aria-label^="Connections: open "]:not([aria-label*="open –"])'

# How much of a plot has the colour of its first line; all is asked before anything is loaded again.
INK = """theme => {
  if (theme) dispatchEvent(new Event("gapless:choose-theme"));
  return new Promise(requestAnimationFrame).then(() => {
    const canvas = document.querySelector("figure[aria-label^='Connections: '] canvas");
    const line = document.documentElement.dataset.theme === "dark" ? [85, 199, 184] : [11, 107, 98];
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const near = at => line.every((value, n) => Math.abs(data[at + n] - value) < 40);
    return Array.from({ length: data.length / 4 }, (_, n) => 4 * n).filter(near).length;
  });
}"""


def stat(page: Page, label: str) -> str:
    """Return the number that stands under a label."""
    number = page.locator(".stat", has=page.get_by_text(label, exact=True)).locator("dd").first
    return number.inner_text()


@pytest.mark.usefixtures("shop")
def test_it_tells_what_the_api_tells(page: Page, dev: Dev, shop: Shop) -> None:
    open_console(page, dev)
    dead = sum(queue["dead"] for queue in shop.call("queue/stats")["queues"])
    assert dead > 0
    expect(page.locator(".stat", has=page.get_by_text("Dead letters")).locator("dd").first).to_have_text(
        str(dead)
    )
    until(lambda: re.fullmatch(r"[\d.,]+", stat(page, "Published")))
    until(lambda: re.fullmatch(r"[\d.,]+ (ms|s|min .*)", stat(page, "Oldest job")))
    info = shop.call("info")["nodes"][0]
    expect(page.get_by_role("table", name="Nodes")).to_contain_text(info["name"])
    expect(page.get_by_role("main")).to_contain_text(f"durability {info['store']['durability']}")


@pytest.mark.usefixtures("shop")
def test_its_numbers_lead_to_what_is_behind_them(page: Page, dev: Dev) -> None:
    open_console(page, dev)
    page.locator(".stat", has=page.get_by_text("Dead letters")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Queues")


@pytest.mark.usefixtures("shop")
def test_an_address_tells_the_range_of_the_plots(visitors: Visitors, dev: Dev) -> None:
    page = visitors.page()
    open_console(page, dev)
    page.get_by_role("button", name="6 h").click()
    expect(page).to_have_url(re.compile("range=6h"))
    other = visitors.page()
    other.goto(page.url)
    expect(other.get_by_role("button", name="6 h")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.usefixtures("shop")
def test_it_is_read_on_a_phone_by_day_and_by_night(visitors: Visitors, dev: Dev, scheme: str) -> None:
    page = visitors.page(NARROW, color_scheme=scheme)
    open_console(page, dev)
    expect(page.locator(SAMPLED)).to_be_visible(timeout=20_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
    axe(page)


@pytest.mark.usefixtures("shop")
def test_plots_stay_when_the_theme_changes(page: Page, dev: Dev) -> None:
    open_console(page, dev, "#/overview?range=15m")
    until(lambda: page.evaluate(INK, False))
    assert page.evaluate(INK, True)


def test_plots_go_on_after_a_restart(page: Page, tmp_path: Path) -> None:
    dev = Dev(tmp_path)
    dev.start()
    open_console(page, dev)
    begins = page.locator("figure .canvas").first
    expect(begins).to_have_attribute("data-from", re.compile(r"\d+"), timeout=20_000)
    from_s = begins.get_attribute("data-from")
    assert from_s is not None
    page.goto("about:blank")  # what cannot be reached would be told in its console
    dev.stop()
    dev.start()
    open_console(page, dev)
    expect(begins).to_have_attribute("data-from", from_s)
    dev.stop()
