"""Screenshots of every screen of the console and of the demo, `make screenshots`: light, dark and narrow.

    python -m docs.generate.screenshots [screen ...]

They are taken of a real server with people, work and streams (`tests.browser.seeding`) and with an hour that is
told of (`tests.browser.past`), in Debian's Chromium, and stand in docs/screenshots.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Page, sync_playwright

from tests.browser.past import remember
from tests.browser.seeding import CAME_BACK, Shop
from tests.browser.servers import Dev
from tests.browser.visitors import ARGUMENTS, NARROW, WIDE, Visitors

__all__ = ["LOOKS", "SCREENS", "Screen"]

FOLDER = Path(__file__).parent.parent / "screenshots"
HOURS = 1.2  # a bit more than the overview shows


class Screen(NamedTuple):
    """A screen: where it is, and what tells that it shows all that it has."""

    name: str
    place: str
    shown: str


# `{client}` is the id of the connection that was cut and came back.
SCREENS = [
    Screen("overview", "/console/#/overview", ".stat:has-text('Published') dd:text-matches('[0-9]')"),
    Screen("channels", "/console/#/channels", "tbody tr"),
    Screen("channel", "/console/#/channels/news", "h1"),
    Screen("connections", "/console/#/connections", "tbody tr"),
    Screen("connection", "/console/#/connections/{client}", "h1"),
    Screen("queues", "/console/#/queues", "tbody tr"),
    Screen("queue", "/console/#/queues/mail", "h1"),
    Screen("streams", "/console/#/streams", "tbody tr"),
    Screen("stream", "/console/#/streams/orders", "h1"),
    Screen("playground", "/console/#/playground", "h1"),
    Screen("lab", "/console/#/lab", "h1"),
    Screen("settings", "/console/#/settings", "h1"),
    Screen("demo", "/demo/", "main"),
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
    server = Dev(folder, {"node.name": "shop-1"})
    server.start()
    shop = Shop(server)
    try:
        shop.open()
        yield shop
    finally:
        shop.close()
        server.close()


def shoot(page: Page, origin: str, screen: Screen, path: Path) -> None:
    """Take one, when the page has all that it asked for."""
    page.goto(origin + screen.place)
    page.locator(f"{'#main ' if screen.shown != 'main' else ''}{screen.shown}").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path)


def main(names: list[str]) -> None:
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
        client = shop.client_of(CAME_BACK)
        for look, (size, options) in LOOKS.items():
            visitors = Visitors(browser)
            for screen in SCREENS:
                if names and screen.name not in names:
                    continue
                page = visitors.page(size, **options)
                place = screen.place.format(client=client)
                shoot(page, shop.origin, screen._replace(place=place), FOLDER / f"{screen.name}-{look}.png")
                page.close()
            visitors.leave()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
