"""Names that browsers find hard: as long as they get, and such as JavaScript has of its own."""

import json
from collections.abc import Iterator
from urllib.parse import quote

import jwt
import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.raw import RawClient
from tests.browser.screens import call, visit
from tests.browser.servers import SECRET, SERVED, open_console
from tests.browser.visitors import NARROW, WIDE, Visitors
from tests.program import Program

LONG = "m" * 128
CHANNEL = "c" * 128  # which a stream of its name would hide
HOUR_MS = 3_600_000
OF_JAVASCRIPT = ("constructor", "__proto__", "toString")
FOLDERS = (".", "..")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A server with one long name for everything."""
    with Program(tmp_path_factory.mktemp("names"), SERVED) as server:
        fill(server)
        yield server


def fill(server: Program) -> None:
    """Put something under the long name wherever a name can be."""
    call(server, "queue/declare", queue=LONG, options={"result_ms": HOUR_MS})
    call(server, "queue/schedule", name=LONG, queue=LONG, every_ms=HOUR_MS, data=LONG)
    for deed in ("bury", "ack", ""):
        call(server, "queue/enqueue", jobs=[{"queue": LONG, "key": f"{deed}{LONG}", "data": LONG}])
        (job,) = call(server, "queue/claim", queue=LONG, worker=LONG)["jobs"]
        if deed:
            settled = {"id": job["id"], "fence": job["fence"], "deed": deed}
            call(server, "queue/settle", settlements=[settled | ({"reason": LONG} if deed == "bury" else {})])
    headers = {LONG: LONG}
    call(server, "queue/enqueue", jobs=[{"queue": LONG, "key": LONG, "data": LONG, "headers": headers}])
    call(server, "stream/declare", stream=LONG, options={"partitions": 1, "keyed": True})
    call(server, "stream/append", stream=LONG, messages=[{"key": LONG, "data": LONG, "headers": headers}])
    call(server, "publish", channel=CHANNEL, data=LONG, tags={LONG: LONG})
    for source in (LONG, CHANNEL):
        call(server, "stream/heartbeat", source=source, group=LONG, member=LONG, session_ms=600_000)


def places(server: Program) -> list[str]:
    """Return all places of the console where the long name stands."""
    (dead,) = call(server, "queue/browse", queue=LONG, state="dead")["jobs"]
    (here,) = [each for each in call(server, "connection/list")["connections"] if each["user"] == LONG]
    (record, *_) = call(server, "stream/audit", name=LONG, limit=1)["records"]
    return [
        "overview",
        *("channels", f"channels?q={CHANNEL}x"),
        *(f"channels/{CHANNEL}?tab={tab}" for tab in ("tail", "history", "presence", "publish", "options")),
        f"channels/{CHANNEL}?tab=history&offset=1",
        *("connections", "connections?tab=stories", f"connections/{here['client']}"),
        f"connections?user={LONG}&channel={CHANNEL}",
        *("queues", f"queues/{LONG}", f"queues/{LONG}?tab=dead&job={dead['id']}"),
        *(f"queues/{LONG}?tab={tab}" for tab in ("leased", "dead", "done", "recurring", "options")),
        *("streams", f"streams/{LONG}", f"streams/{LONG}?message=0:1"),
        *(f"streams/{LONG}?tab={tab}" for tab in ("groups", "replay", "options")),
        f"playground?user={LONG}&channel={CHANNEL}",
        *(f"settings?tab={tab}" for tab in ("configuration", "nodes", "audit", "about")),
        f"settings?tab=audit&record={record['offset']}",
    ]


def width(page: Page) -> int:
    """Return how wide the page is, once all that it asks for has come."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")  # the screen is there
    expect(page.locator(".loading")).to_have_count(0)
    return int(page.evaluate("document.documentElement.scrollWidth"))


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
def test_long_names_leave_every_screen_as_wide_as_it_is(
    visitors: Visitors, server: Program, entered: str, size: tuple[int, int]
) -> None:
    token = jwt.encode({"sub": LONG}, SECRET, "HS256")
    with RawClient(server.port, token) as client:
        assert "error" not in client.call("subscribe", channel=CHANNEL)
        page = visitors.page(size)
        page.context.add_init_script(entered)
        open_console(page, server)
        expect(page.get_by_text(f"in {LONG}")).to_be_visible()  # the oldest job is
        widths = {}
        for place in places(server):
            visit(page, f"#/{place}")
            widths[place] = width(page)
    assert {place: wide for place, wide in widths.items() if wide > size[0]} == {}


@pytest.mark.parametrize("name", OF_JAVASCRIPT)
def test_a_channel_that_the_sdk_cannot_follow_says_so(ann: Page, server: Program, name: str) -> None:
    call(server, "publish", channel=name, data={"kept": True})
    visit(ann, f"#/channels/{name}")
    expect(ann.locator("#tail-rows .bad")).to_have_text(
        "This cannot be followed: the public SDK cannot follow a channel of this name, which all objects of "
        "JavaScript have."
    )
    ann.get_by_role("tab", name="History").click()
    expect(ann.locator("#history-rows")).to_contain_text('{"kept":true}')
    visit(ann, "#/channels/followed")
    expect(ann.locator("#tail-rows")).to_contain_text("Following")


@pytest.mark.parametrize("name", OF_JAVASCRIPT)
def test_trying_a_channel_that_the_sdk_cannot_follow_says_so(ann: Page, server: Program, name: str) -> None:
    visit(ann, f"#/playground?user=maria&channel={name}&act=publish")
    ann.get_by_role("button", name="Try it").click()
    steps = ann.locator(".transcript li")
    expect(steps.filter(has_text="Cannot subscribe")).to_contain_text("the public SDK cannot follow")
    expect(steps.last).to_contain_text("Published")  # that takes no subscription
    assert len(call(server, "history", channel=name, limit=10)["publications"]) > 0


@pytest.mark.parametrize("name", FOLDERS)
def test_history_that_a_browser_cannot_ask_for_says_so(ann: Page, server: Program, name: str) -> None:
    call(server, "publish", channel=name, data="kept")
    asked: list[str] = []
    ann.on("request", lambda request: asked.append(request.url))
    visit(ann, f"#/channels/{quote(name)}?tab=history")
    told = ann.get_by_role("tabpanel").get_by_role("alert")
    expect(told).to_contain_text(
        f"A browser cannot ask the messages API for the channel “{name}”: in an address that is a folder."
    )
    assert not [url for url in asked if "messages" in url]
    ann.get_by_role("tab", name="Live tail").click()
    expect(ann.locator("#tail-rows")).to_contain_text("Following")
    call(server, "publish", channel=name, data={"live": json.dumps(name)})
    expect(ann.locator("#tail-rows")).to_contain_text("live")
