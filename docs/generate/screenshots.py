"""Screenshots of every screen of the console and of the demo, `make screenshots`: light, dark and narrow.

    python -m docs.generate.screenshots [screen ...]

They are taken of a real server with people, work and streams (`tests.browser.seeding`) and with an hour that is
told of (`tests.browser.past`), in Debian's Chromium, and stand in docs/screenshots.
"""

import asyncio
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Page, sync_playwright

from gapless.core.limits import SAMPLE_MS
from tests.browser.past import remember
from tests.browser.seeding import CAME_BACK, Shop
from tests.browser.servers import DEV, Dev
from tests.browser.visitors import ARGUMENTS, NARROW, WIDE, Visitors

__all__ = ["FOLDER", "LOOKS", "SCREENS", "Screen"]

TALK_MS = 6_000  # friends say something 1.4 times a second
ARRIVAL_MS = 1_000  # of the train
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/screenshots"
# Paths and the name of this machine, as they stand in tracebacks, are nobody's business.
NAME_ANEW = """names => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    for (const [name, other] of Object.entries(names)) {
      if (texts.currentNode.data.includes(name)) {
        texts.currentNode.data = texts.currentNode.data.replaceAll(name, other);
      }
    }
  }
}"""
HOURS = 1.2  # a bit more than the overview shows


def ride(page: Page) -> None:
    """Go into the tunnel while friends talk, write something there, and come out again."""
    page.wait_for_timeout(TALK_MS)
    page.get_by_role("button", name="Into the tunnel").click()
    page.wait_for_timeout(TALK_MS)
    page.get_by_role("textbox").first.fill("Save me one too!")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Out of the tunnel").click()
    front = page.get_by_role("group", name="Phone in front").get_by_role("button", name="gapless")
    if front.is_visible():
        front.click()
    page.get_by_text("recovered in").first.wait_for()
    page.wait_for_timeout(ARRIVAL_MS)


def press(name: str) -> Callable[[Page], None]:
    """Return how a button is pressed."""
    return lambda page: page.get_by_role("button", name=name).click()


class Screen(NamedTuple):
    """A screen: where it is, what tells that it shows something, and what is done there first."""

    name: str
    place: str
    shown: str = "#main h1"
    act: Callable[[Page], None] | None = None


SCREENS = [
    Screen("overview", "/console/#/overview", ".stat:has-text('Published') dd:text-matches('[0-9]')"),
    Screen("channels", "/console/#/channels", "tbody tr"),
    Screen("channel", "/console/#/channels/support", "#tail-count:text-matches('[1-9]')"),
    Screen("history", "/console/#/channels/news?tab=history"),
    Screen("connections", "/console/#/connections", "tbody tr"),
    Screen("connection", "/console/#/connections/{client}", "text=recovered"),
    Screen("queues", "/console/#/queues", "tbody tr"),
    Screen("queue", "/console/#/queues/mail?tab=dead", "tbody tr"),
    Screen("dead-letter", "/console/#/queues/mail?tab=dead&job={job}", "text=Traceback"),
    Screen("streams", "/console/#/streams", "tbody tr"),
    Screen("stream", "/console/#/streams/orders", "tbody tr"),
    Screen("group", "/console/#/streams/orders?tab=groups&group=shipping", "tbody tr"),
    Screen("playground", "/console/#/playground?user=ada&channel=news&act=history", act=press("Try it")),
    Screen("lab", "/console/#/lab"),
    Screen("settings", "/console/#/settings"),
    Screen("demo", "/demo/", "main", ride),
]
LOOKS: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "light": (WIDE, {"color_scheme": "light"}),
    "dark": (WIDE, {"color_scheme": "dark"}),
    "narrow": (NARROW, {"color_scheme": "light", "device_scale_factor": 1.5}),
}


@contextmanager
def serving(folder: Path) -> Iterator[Shop]:
    """Run a server with a past and a present."""
    asyncio.run(remember(f"sqlite:{folder / 'gapless.db'}", HOURS))
    server = Dev(folder, DEV | {"node.name": "shop-1"})
    server.start()
    shop = Shop(server)
    try:
        shop.open()
        time.sleep(2 * SAMPLE_MS / 1_000)  # rates are between two samples
        yield shop
    finally:
        shop.close()
        server.close()


def shoot(page: Page, origin: str, screen: Screen, path: Path) -> None:
    """Take one, when the page has all that it asked for."""
    page.goto(origin + screen.place)
    page.locator(screen.shown).first.wait_for()
    if screen.act is not None:
        screen.act(page)
    page.wait_for_load_state("networkidle")
    page.evaluate(NAME_ANEW, {str(ROOT): "/srv/shop", socket.gethostname(): "shop-1"})
    page.screenshot(path=path)


def main(chosen: list[str]) -> None:
    """Take all, or those of the screens that are named."""
    FOLDER.mkdir(exist_ok=True)
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no Chromium: tools/install-programs installs it, as root on Debian")
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as shop,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        names = {"client": shop.client_of(CAME_BACK), "job": shop.dead()}
        for look, (size, options) in LOOKS.items():
            visitors = Visitors(browser)
            for screen in SCREENS:
                if chosen and screen.name not in chosen:
                    continue
                page = visitors.page(size, **options)
                place = screen.place.format(**names)
                shoot(page, shop.origin, screen._replace(place=place), FOLDER / f"{screen.name}-{look}.png")
                page.close()
            visitors.leave()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
