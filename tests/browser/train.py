"""The demo in a browser: its two phones, the train, and what the server keeps of what was said."""

import http.client
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Locator, Page, expect

from tests.browser.servers import Dev

__all__ = [
    "BOTH",
    "NEVER_STOOD_STILL",
    "WATCH_TASKS",
    "Phone",
    "board",
    "head",
    "hears_more",
    "history",
    "ids_of",
    "in_tunnel",
    "is_slice",
    "out_again",
    "ride",
    "say_much",
    "texts",
    "until",
    "write",
]

CHANNEL = "demo:subway"
BOTH = ["demo_plain:subway", CHANNEL]

WATCH_TASKS = """
() => {
  window.tasksMs = [0];
  const note = (list) => window.tasksMs.push(...list.getEntries().map(({ duration }) => duration));
  new PerformanceObserver(note).observe({ type: "longtask" });
}
"""
NEVER_STOOD_STILL = "Math.max(...window.tasksMs) < 1000"  # what costs more with each message takes far longer


class Phone:
    """One of the two, by its id."""

    def __init__(self, page: Page, id: str) -> None:
        self.all = page.locator(f"#{id}")
        self.messages = self.all.locator(".message")

    def ids(self, kind: str = "") -> list[str]:
        """The messages that are shown, or those of a kind, in their order."""
        rows = self.all.locator(f".message{kind}")
        found: list[str] = rows.evaluate_all("rows => rows.map(row => row.dataset.id)")
        return found

    def saying(self, text: str) -> Locator:
        """Messages with this text."""
        return self.messages.filter(
            has=self.all.page.locator(".text", has_text=re.compile(f"^{re.escape(text)}$"))
        )


def board(page: Page, dev: Dev) -> tuple[Phone, Phone]:
    """Open the demo, and wait until both phones show what the crowd says."""
    page.goto(f"{dev.origin}/demo")
    phones = Phone(page, "plain"), Phone(page, "kept")
    for phone in phones:
        expect(phone.all.get_by_text("Online", exact=True)).to_be_visible()
        expect(phone.messages.nth(1)).to_be_attached(timeout=15_000)
    return phones


def ride(page: Page, where: str) -> None:
    page.get_by_role("button", name=f"{where} the tunnel").click()


def in_tunnel(page: Page) -> None:
    """Send the train in, and wait until both phones know."""
    ride(page, "Into")
    expect(page.get_by_text("No signal", exact=True)).to_have_count(2)


def out_again(page: Page, kept: Phone) -> None:
    """Send the train out, and wait until what was missed is there."""
    ride(page, "Out of")
    expect(kept.all.locator(".result")).to_have_text(re.compile(r"^\d+ recovered in [\d.,]+ ms$"))


def history(dev: Dev) -> list[dict[str, Any]]:
    """All that the channel keeps, by the messages API, the oldest first."""
    items: list[dict[str, Any]] = []
    query = "size=1000"
    while True:
        page = get(dev, f"/api/channels/{quote(CHANNEL)}/messages?{query}")
        items[:0] = page["items"][::-1]
        if not page["has_before"]:
            return items
        query = f"size=1000&before={page['before_cursor']}"


def get(dev: Dev, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", dev.port, timeout=10)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def ids_of(items: list[dict[str, Any]]) -> list[str]:
    """The ids that messages came with; some have none."""
    return [item["data"]["id"] for item in items if isinstance(item["data"], dict) and "id" in item["data"]]


def hears_more(page: Page, dev: Dev, count: int) -> None:
    """Wait until so many messages more are kept."""
    end = head(dev) + count
    until(page, lambda: head(dev) >= end)


def head(dev: Dev) -> int:
    """Where the channel ends."""
    found: int = get(dev, f"/api/channels/{quote(CHANNEL)}/messages?size=1")["head"]
    return found


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Ask again with each frame that the page paints."""
    for _ in range(3_000):
        if condition():
            return
        page.evaluate("new Promise(requestAnimationFrame)")
    raise AssertionError("it never came to be")


def is_slice(part: list[str], whole: list[str]) -> bool:
    """Tell whether a part stands in the whole just so: nothing doubled, nothing left out."""
    start = whole.index(part[0])
    return whole[start : start + len(part)] == part


def say_much(dev: Dev, count: int) -> None:
    for start in range(0, count, 500):
        numbers = range(start, min(start + 500, count))
        commands = [{"broadcast": {"channels": BOTH, "data": said(number)}} for number in numbers]
        dev.api("batch", commands=commands)


def said(number: int) -> dict[str, Any]:
    text = "word " * (number % 40 + 1)
    return {
        "id": f"old-{number}",
        "name": f"Friend {number % 3}",
        "text": text,
        "at": 1_700_000_000_000 + number,
    }


def write(page: Page, text: str) -> None:
    page.get_by_label("Message, sent from both phones").fill(text)
    page.get_by_role("button", name="Send").click()


def texts(dev: Dev) -> list[str]:
    return [item["data"].get("text", "") for item in history(dev) if isinstance(item["data"], dict)]
