"""What people at the console feel: Debian's Chromium, which has both cores, looks at a running server."""

import http.client
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

from playwright.sync_api import Browser, Error, Page, sync_playwright

from bench.machine import on_both_cores
from bench.report import Sample
from bench.servers import Failed, Server

__all__ = ["first_view", "tail_burst"]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]
VIEWS = 10
QUICK_VIEWS = 3
# From the beginning of the navigation to the frame in which a number stands.
NUMBER = ".stat dd:not(.note)"
TELL_PAINTED = f"""
globalThis.painted = new Promise((resolve) => new MutationObserver((_, observer) => {{
  const numbers = [...document.querySelectorAll("{NUMBER}")];
  if (!numbers.some((number) => /[0-9]/.test(number.textContent))) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => resolve(performance.now())));
}}).observe(document, {{ childList: true, subtree: true, characterData: true }}));
"""

CHANNEL = "bench:tail"
RATE = 5_000
BATCH = 100
BURST_SECONDS = 10
QUICK_BURST_SECONDS = 2
SECONDS_MORE = 20  # for all to be counted
TASK_TOLD_MS = 50  # the browser tells of those that take longer
TELL_TASKS = """
globalThis.tasks = [];
new PerformanceObserver((list) => tasks.push(...list.getEntries().map((each) => each.duration)))
  .observe({ type: "longtask" });
"""


@contextmanager
def browsing() -> Iterator[Browser]:
    """Run Chromium until the block ends.

    Raises:
        Failed: it is not there, or a page does not do what is waited for.
    """
    path = shutil.which("chromium")
    if path is None:
        raise Failed("chromium is not installed")
    with ExitStack() as stack:
        with on_both_cores():
            playwright = stack.enter_context(sync_playwright())
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        stack.callback(browser.close)
        try:
            yield browser
        except Error as error:
            raise Failed(error.message.splitlines()[0]) from error


@contextmanager
def visiting(browser: Browser, script: str) -> Iterator[Page]:
    """Open a page of somebody who was never here, with a script that runs before all others."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(script)
    yield context.new_page()
    context.close()


def first_view(server: Server, is_quick: bool) -> Sample:
    """How long it takes until somebody who was never here reads a number on the overview."""
    with browsing() as browser:
        taken = [painted_ms(server, browser) for _ in range(QUICK_VIEWS if is_quick else VIEWS)]
    return {"first_view_ms": median(taken), "slowest_view_ms": max(taken)}


def painted_ms(server: Server, browser: Browser) -> float:
    with visiting(browser, TELL_PAINTED) as page:
        page.goto(f"http://127.0.0.1:{server.port}/console/")
        page.locator(NUMBER).filter(has_text=re.compile("[0-9]")).first.wait_for()
        return float(page.evaluate("painted"))


def tail_burst(server: Server, is_quick: bool) -> Sample:
    """How long the page of a live tail is busy at a stretch, while all is published that it can be asked."""
    seconds = QUICK_BURST_SECONDS if is_quick else BURST_SECONDS
    count = RATE * seconds
    publish(server.port, 1)
    with browsing() as browser, visiting(browser, TELL_TASKS) as page:
        page.goto(f"http://127.0.0.1:{server.port}/console/#/channels/{CHANNEL}?tab=tail")
        page.get_by_text("Following from here").wait_for()
        page.evaluate("tasks.length = 0")
        burst = threading.Thread(target=publish, args=(server.port, count))
        burst.start()
        counted = page.locator(f'#tail-count[data-count="{count}"]')
        counted.wait_for(timeout=1_000 * (seconds + SECONDS_MORE))
        burst.join()
        tasks = page.evaluate("tasks")
    return {"longest_task_ms": max(tasks, default=TASK_TOLD_MS), "long_tasks": len(tasks), "count": count}


def publish(port: int, count: int) -> None:
    """Publish at the rate of the burst, through the server API, in batches."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    began = time.monotonic()
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        commands = [
            {"publish": {"channel": CHANNEL, "data": {"number": n, "text": "x" * 100}}} for n in numbers
        ]
        connection.request("POST", "/api/batch", json.dumps({"commands": commands}))
        connection.getresponse().read()
        time.sleep(max(0.0, began + (numbers.stop / RATE) - time.monotonic()))
    connection.close()
