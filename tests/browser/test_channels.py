"""The channels of the console: each message is counted, what is kept is found again, all stays text."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from tests.acceptance.raw import RawClient
from tests.acceptance.stock import publish_many
from tests.browser.screens import HOSTILE, LONG, call
from tests.browser.seeding import until
from tests.browser.servers import SECRET, SERVED, open_console
from tests.browser.visitors import NARROW, Visitors, axe
from tests.program import Program

NAMESPACES: list[dict[str, Any]] = [
    {"name": "live", "allow_subscribe_for_client": True},
    {"name": "any", "channel_regex": ".*", "history_size": 10, "history_ttl": "10m", "presence": True}
    | {"allow_subscribe_for_client": True, "allow_publish_for_client": True},
    {"name": "short", "history_size": 10, "history_ttl": "10m", "force_recovery": True},
]
ROWS_MAX = 500
PAGE = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A server with channels that keep much, little and nothing."""
    with Program(
        tmp_path_factory.mktemp("channels"), SERVED, {"channel": {"namespaces": NAMESPACES}}
    ) as server:
        yield server


def come(server: Program, user: str, *channels: str) -> RawClient:
    """Let somebody follow channels."""
    client = RawClient(server.port, jwt.encode({"sub": user}, SECRET, "HS256"))
    for channel in channels:
        assert "error" not in client.call("subscribe", channel=channel)
    return client


def open_channel(page: Page, server: Program, channel: str, tab: str = "", as_name: str = "ann") -> None:
    """Open a tab of a channel."""
    open_console(page, server, f"#/channels/{channel}?{tab}", as_name=as_name)


def tail(page: Page, server: Program, channel: str) -> None:
    """Open a live tail, and wait until it follows."""
    open_channel(page, server, channel)
    expect(page.locator("#tail-rows")).to_contain_text("Following")


def counted(page: Page, count: int) -> None:
    """Wait until so many messages were counted."""
    expect(page.locator("#tail-count")).to_have_attribute("data-count", str(count), timeout=30_000)


def heads(page: Page, rows: str = "#tail-rows") -> Locator:
    """Return the lines of messages."""
    return page.locator(f"{rows} .message-head")


def offsets(page: Page) -> list[int]:
    """Return the offsets that History shows."""
    texts = page.locator("#history-rows .offset").all_text_contents()
    return [int(text.replace(",", "")) for text in texts]


# The list -----------------------------------------------------------------------------------------


def test_channels_are_found_by_a_word_and_by_a_pattern(
    page: Page, visitors: Visitors, server: Program
) -> None:
    with come(server, "ada", "garden", "kitchen", "kitchen-sink"):
        open_console(page, server, "#/channels", as_name="ann")
        rows = page.get_by_role("table", name="Channels").get_by_role("row")
        expect(rows.filter(has_text="garden")).to_contain_text("1")
        page.get_by_label("Search channels").fill("tche")
        expect(page.get_by_role("link", name="garden")).to_have_count(0)
        expect(page.get_by_role("link", name="kitchen", exact=True)).to_be_visible()
        page.get_by_label("Search channels").fill("kitchen-*")
        expect(page.get_by_role("link", name="kitchen", exact=True)).to_have_count(0)
        expect(page.get_by_role("link", name="kitchen-sink")).to_be_visible()
        other = visitors.page()
        open_console(other, server, page.url.partition("/console/")[2], as_name="bob")
        expect(other.get_by_role("link", name="kitchen-sink")).to_be_visible()
        expect(other.get_by_label("Search channels")).to_have_value("kitchen-*")
        rows.filter(has_text="kitchen-sink").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="kitchen-sink")).to_be_visible()


def test_channels_that_nobody_follows_are_opened_by_their_names(page: Page, server: Program) -> None:
    open_console(page, server, "#/channels?q=nowhere", as_name="ann")
    expect(page.get_by_role("heading", name="No channel that is followed has such a name")).to_be_visible()
    page.get_by_label("Name of a channel").fill("nobody/here?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("nobody/here?")
    expect(page.locator(".stat", has_text="Head")).to_contain_text("0")
    expect(page.locator("#tail-rows")).to_contain_text("Following from here, offset 0.")


def test_a_channel_that_cannot_be_says_why(page: Page, server: Program) -> None:
    open_channel(page, server, "nowhere:x")
    expect(page.get_by_role("alert")).to_contain_text("there is no namespace 'nowhere'")


def test_channels_are_paged(page: Page, server: Program) -> None:
    names = [f"page-{n:02}" for n in range(PAGE + 3)]
    with come(server, "ada", *names):
        open_console(page, server, "#/channels?q=page-", as_name="ann")
        links = page.get_by_role("table", name="Channels").get_by_role("link", name="page-")
        expect(links).to_have_text(names[:PAGE])
        page.get_by_role("link", name="Next page").click()
        expect(links).to_have_text(names[PAGE:])
        page.get_by_role("link", name="First page").click()
        expect(links).to_have_text(names[:PAGE])


def test_a_channel_tells_where_it_stands(page: Page, server: Program) -> None:
    publish_many(server, "short:stand", list(range(25)))
    epoch = call(server, "history", channel="short:stand", limit=0)["epoch"]
    open_channel(page, server, "short:stand", "tab=presence")
    expect(page.locator(".stat", has_text="Head")).to_contain_text(f"25epoch {epoch}")
    expect(page.locator(".stat", has_text="Oldest kept")).to_contain_text("1610 offsets")
    expect(page.locator(".stat", has_text="Namespace")).to_contain_text("short")
    expect(page.locator(".stat", has_text="Subscribers")).to_contain_text("0")
    expect(page.get_by_role("heading", name="This channel keeps no presence")).to_be_visible()


# The live tail ------------------------------------------------------------------------------------


def test_the_tail_shows_what_came_before_and_what_comes(page: Page, server: Program) -> None:
    publish_many(server, "tailed", ["before"] * 3)
    tail(page, server, "tailed")
    expect(heads(page)).to_have_count(3)
    counted(page, 0)
    call(server, "publish", channel="tailed", data={"id": LONG, "text": "now"}, tags={"kind": "greeting"})
    counted(page, 1)
    row = heads(page).first
    expect(row).to_contain_text("4")
    expect(row).to_contain_text("kind=greeting")
    row.click()
    whole = page.locator(".message-whole")
    expect(whole.locator("pre")).to_contain_text(f'"id": {LONG}')  # as it is kept
    expect(whole).to_contain_text("as offset 4")
    expect(whole).to_contain_text("the server API")
    time_ms = call(server, "stream/read", source="tailed", offset=4)["messages"][0]["time_ms"]
    expect(whole).to_contain_text(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ms / 1000)))
    expect(page.get_by_role("button", name="Resume")).to_be_visible()  # what is read does not move away


def test_the_tail_tells_who_published_and_leads_there(page: Page, server: Program) -> None:
    with come(server, "ada", "spoken") as ada:
        tail(page, server, "spoken")
        assert "error" not in ada.call("publish", channel="spoken", data={"text": "hi"})
        heads(page).first.click()
        expect(page.locator(".message-whole")).to_contain_text("Published byada")
        page.locator(".message-whole").get_by_role("link", name=re.compile("-")).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("ada")


def test_a_tail_that_is_paused_counts_all_and_keeps_the_newest(page: Page, server: Program) -> None:
    tail(page, server, "paused")
    page.get_by_role("button", name="Pause").click()
    publish_many(server, "paused", list(range(1_234)))
    counted(page, 1_234)
    expect(page.get_by_role("button", name="Resume: 1,234 new")).to_be_visible()
    expect(page.get_by_text("734 before them can be read in History")).to_be_visible()
    expect(heads(page)).to_have_count(0)
    page.get_by_role("button", name="Resume").click()
    expect(heads(page).first).to_contain_text("1,234")
    expect(page.locator("#tail-rows > li")).to_have_count(ROWS_MAX)
    call(server, "publish", channel="paused", data="one more")
    counted(page, 1_235)
    expect(heads(page).first).to_contain_text("one more")


def test_what_a_tail_passed_over_is_a_link_to_it(page: Page, server: Program) -> None:
    tail(page, server, "passed")
    page.get_by_role("button", name="Pause").click()
    publish_many(server, "passed", list(range(ROWS_MAX + 7)))
    counted(page, ROWS_MAX + 7)
    page.get_by_label("Filter by text").fill("no such text")  # makes room for what is said
    page.get_by_role("button", name="Resume").click()
    passed = page.locator("#tail-rows .between", has_text="7 more came")
    expect(passed).to_contain_text("offsets 1 to 7")
    passed.get_by_role("link").click()
    expect(page.locator("#history-rows [aria-current]")).to_contain_text("1")
    assert offsets(page)[-1] == 1


def test_a_tail_is_filtered_by_text(page: Page, server: Program) -> None:
    tail(page, server, "sieve")
    publish_many(server, "sieve", [{"n": n, "city": "Évora" if n % 5 else "Faro"} for n in range(20)])
    counted(page, 20)
    page.get_by_label("Filter by text").fill("faro")
    expect(heads(page)).to_have_count(4)
    publish_many(server, "sieve", [{"city": "Faro"}, {"city": "Huế"}])
    counted(page, 22)
    expect(heads(page)).to_have_count(5)
    assert "filter=faro" in page.url
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("heading", name="Waiting for messages")).to_be_visible()


def test_a_burst_is_counted_whole_while_the_page_answers(page: Page, server: Program) -> None:
    tail(page, server, "burst")
    count = 20_000  # as fast as the server takes them: more than 5,000 a second, where nobody else works
    messages = [{"n": n, "text": "x" * 100} for n in range(count)]
    burst = threading.Thread(target=publish_many, args=(server, "burst", messages))
    burst.start()
    most = 0
    while burst.is_alive():
        most = max(most, page.locator("#tail-rows > li").count())
        burst.join(0.1)
        page.get_by_role("button", name="Pause").click(timeout=5_000)
        page.get_by_role("button", name="Resume").click(timeout=5_000)
    counted(page, count)
    assert 0 < most <= ROWS_MAX
    expect(page.get_by_text(f"{count:,} messages")).to_be_visible()
    expect(heads(page).first).to_contain_text(f"{count:,}")
    assert page.locator("#tail-rows > li").count() <= ROWS_MAX


def held(page: Page, before_again: Callable[[], None]) -> list[WebSocketRoute]:
    """Put what can be cut between a page and its server; `before_again` is done before it comes back."""
    routes: list[WebSocketRoute] = []

    def route(socket: WebSocketRoute) -> None:
        if routes:
            before_again()
        socket.connect_to_server()
        routes.append(socket)

    page.route_web_socket(re.compile("connection/websocket"), route)
    return routes


def test_a_tail_that_was_cut_says_what_it_recovered(page: Page, server: Program) -> None:
    publish_many(server, "cut", list(range(41)))
    routes = held(page, lambda: publish_many(server, "cut", list(range(17))))
    tail(page, server, "cut")
    routes[0].close()
    expect(page.locator("#tail-rows")).to_contain_text("Back at offset 41 of 58: recovered 17 messages.")
    counted(page, 17)
    expect(page.locator("#tail-rows")).to_contain_text("The connection is away.")


def test_a_tail_that_lost_its_position_says_how_much_may_be_missing(page: Page, server: Program) -> None:
    publish_many(server, "short:lost", list(range(5)))
    routes = held(page, lambda: publish_many(server, "short:lost", list(range(30))))
    tail(page, server, "short:lost")
    routes[0].close()
    lost = page.locator("#tail-rows .between.bad")
    expect(lost).to_contain_text("Position lost after offset 5: up to 30 messages may be missing here.")
    lost.get_by_role("link", name="What is kept").click()
    expect(page.locator("#history-rows .message-head")).to_have_count(10)


def test_a_tail_of_what_is_not_kept_says_so(page: Page, server: Program) -> None:
    routes = held(page, lambda: None)
    tail(page, server, "live:tv")
    expect(page.locator("#tail-rows")).to_contain_text("This channel keeps no history")
    call(server, "publish", channel="live:tv", data="passing")
    counted(page, 1)
    heads(page).first.click()
    expect(page.locator(".message-whole")).to_contain_text("no: it was passed on, and has no offset")
    page.get_by_role("button", name="Resume").click()
    routes[0].close()
    expect(page.locator("#tail-rows")).to_contain_text("whether something was missed is not known")


# History ------------------------------------------------------------------------------------------


def test_history_goes_to_and_fro_without_a_double_or_a_hole(page: Page, server: Program) -> None:
    publish_many(server, "walk", list(range(180)))
    open_channel(page, server, "walk", "tab=history")
    shown = []
    for last in (180, 130, 80, 30):
        expect(page.locator("#history-rows .offset").first).to_have_text(str(last))
        shown += offsets(page)
        if last > PAGE:
            page.get_by_role("button", name="Older").click()
    assert shown == list(range(180, 0, -1))
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    page.get_by_role("button", name="Newer").click()
    expect(page.locator("#history-rows .offset").first).to_have_text("80")
    page.go_back()
    expect(page.locator("#history-rows .offset").first).to_have_text("30")
    page.get_by_role("button", name="Newest").click()
    expect(page.locator("#history-rows .offset").first).to_have_text("180")
    page.get_by_role("button", name="Oldest").click()
    expect(page.locator("#history-rows .offset").last).to_have_text("1")


def test_one_travels_by_offset_with_the_slider_and_by_hand(
    page: Page, visitors: Visitors, server: Program
) -> None:
    publish_many(server, "offsets", list(range(2_000)))
    open_channel(page, server, "offsets", "tab=history")
    page.get_by_role("button", name="By offset").click()
    slider = page.get_by_role("slider", name="Offset")
    expect(slider).to_have_attribute("max", "2000")
    slider.fill("700")
    expect(page.locator("#history-rows [aria-current] .offset")).to_have_text("700")
    expect(page.locator("output")).to_have_text("offset 700")
    page.get_by_label("Jump to an offset").fill("1234")
    page.get_by_role("button", name="Jump").click()
    chosen = page.locator("#history-rows [aria-current]")
    expect(chosen.locator(".offset")).to_have_text("1,234")
    expect(chosen.locator("pre")).to_have_text("1233")  # it is open
    assert "offset=1234" in page.url
    other = visitors.page()
    open_console(other, server, page.url.partition("/console/")[2], as_name="bob")
    expect(other.locator("#history-rows [aria-current] .offset")).to_have_text("1,234")


def test_a_message_that_a_link_names_is_in_sight_and_the_slider_stands_there(
    page: Page, server: Program
) -> None:
    publish_many(server, "named", list(range(60)))
    open_channel(page, server, "named", "tab=history&by=offset&offset=20")
    expect(page.locator("#history-rows [aria-current] .offset")).to_have_text("20")
    place = "n => n.getBoundingClientRect()"
    rows = page.locator("#history-rows").evaluate(place)
    chosen = page.locator("#history-rows [aria-current] .offset")
    until(lambda: rows["top"] <= chosen.evaluate(place)["top"] < rows["bottom"])
    expect(page.locator("output")).to_have_text("offset 20")
    page.get_by_label("Jump to an offset").fill("40")
    page.get_by_role("button", name="Jump").click()
    expect(page.locator("#history-rows [aria-current] pre")).to_have_text("39")


def test_newest_shows_what_came_since_one_went_there(page: Page, server: Program) -> None:
    publish_many(server, "since", [1, 2])
    open_channel(page, server, "since", "tab=history")
    expect(page.locator("#history-rows .offset").first).to_have_text("2")
    publish_many(server, "since", [3])
    page.get_by_role("button", name="Newest").click()
    expect(page.locator("#history-rows .offset").first).to_have_text("3")


def test_one_travels_by_time(page: Page, server: Program) -> None:
    publish_many(server, "times", ["early"] * 60)
    early_ms = call(server, "stream/read", source="times", offset=60)["messages"][0]["time_ms"]
    whole_ms = early_ms + 1_000 - early_ms % 1_000  # what is typed is in whole seconds
    while time.time() * 1_000 <= whole_ms:
        publish_many(server, "times", ["between"])
    publish_many(server, "times", ["late"] * 60)
    first = call(server, "stream/find", source="times", at_ms=whole_ms)["offset"] + 1
    open_channel(page, server, "times", "tab=history")
    slider = page.get_by_role("slider", name="Time")
    slider.fill(slider.get_attribute("min") or "")
    expect(page.locator("#history-rows .offset").last).to_have_text("1")
    assert "at=" in page.url
    local = page.evaluate(
        "ms => new Date(ms - new Date(ms).getTimezoneOffset() * 60000).toISOString().slice(0, 19)", whole_ms
    )
    page.get_by_label("Jump to a time").fill(local)
    page.get_by_role("button", name="Jump").click()
    shown = re.compile(f"^{first:,}$")
    expect(page.locator("#history-rows .offset", has_text=shown)).to_be_attached()
    assert f"at={whole_ms}" in page.url


def test_what_was_erased_leaves_a_word(page: Page, server: Program) -> None:
    call(server, "stream/declare", stream="prices", options={"partitions": 1, "keyed": True})
    keys = ("hat", "cap", "shoe", "shoe", "shoe", "hat", "shoe")
    call(server, "stream/append", stream="prices", messages=[{"key": key, "data": key} for key in keys])
    call(server, "stream/compact", stream="prices")
    open_channel(page, server, "stream:prices%2F0", "tab=history")
    expect(page.locator("#history-rows .between")).to_have_text(
        ["3 messages were erased: offsets 3 to 5.", "The message of offset 1 was erased."]
    )
    kept = [message["offset"] for message in call(server, "stream/read", source="prices")["messages"]]
    assert offsets(page) == kept[::-1]


def test_a_channel_without_messages_says_why(page: Page, server: Program) -> None:
    open_channel(page, server, "empty", "tab=history")
    expect(page.get_by_role("heading", name="Nothing was published here yet")).to_be_visible()
    publish_many(server, "removed", [1, 2, 3])
    call(server, "history_remove", channel="removed")
    page.goto(f"{server.origin}/console/#/channels/removed?tab=history")
    expect(page.get_by_role("heading", name="Nothing is kept any more")).to_be_visible()
    page.goto(f"{server.origin}/console/#/channels/live:tv?tab=history")
    expect(page.get_by_role("heading", name="This channel keeps no history")).to_be_visible()


def test_a_message_is_edited_and_sent_again(page: Page, server: Program) -> None:
    call(server, "publish", channel="again", data={"id": LONG, "text": "helo"}, tags={"kind": "a"})
    open_channel(page, server, "again", "tab=history")
    heads(page, "#history-rows").first.click()
    page.get_by_role("button", name="Edit and resend").click()
    field = page.get_by_role("textbox", name="Payload")  # the message that was open has one too
    expect(field).to_have_value(re.compile("helo"))
    assert "from=1" in page.url
    field.fill(field.input_value().replace("helo", "hello"))
    page.get_by_role("button", name="Publish").click()
    expect(page.locator("#published")).to_have_text("Published as offset 2.")
    message = call(server, "stream/read", source="again", offset=2)["messages"][0]
    assert message["data"] == {"id": LONG, "text": "hello"}
    assert message["headers"] == {"kind": "a"}


# Presence, publish, options -----------------------------------------------------------------------


def test_presence_tells_who_is_there_but_not_who_looks(page: Page, server: Program) -> None:
    with come(server, "ada", "room") as _, come(server, "bob", "room"):
        open_channel(page, server, "room")
        expect(page.locator("#tail-rows")).to_contain_text("Following")
        page.get_by_role("tab", name="Presence").click()
        expect(page.get_by_text("2 connections of 2 users")).to_be_visible()
        row = page.get_by_role("table", name="Who is here").get_by_role("row", name="ada")
        client = next(
            c
            for c, who in call(server, "presence", channel="room")["presence"].items()
            if who["user"] == "ada"
        )
        row.get_by_role("link", name=client[:8]).click()
        expect(page.get_by_text(client)).to_be_visible()


def test_publishing_checks_json_and_tags_while_they_are_typed(page: Page, server: Program) -> None:
    open_channel(page, server, "form", "tab=publish")
    publish = page.get_by_role("button", name="Publish")
    page.get_by_label("Payload").fill('{\n  "a": 1,\n  "b": oops\n}')
    expect(page.get_by_text("This is no JSON: line 3, column 8 needs a value.")).to_be_visible()
    expect(publish).to_be_disabled()
    page.get_by_label("Payload").fill('{"a": [1, 2]}')
    page.get_by_label("Tags").fill("kind=x\nnothing")
    expect(page.get_by_text("Line 2 is no tag: it says name=value.")).to_be_visible()
    expect(publish).to_be_disabled()
    page.get_by_label("Tags").fill("kind=x\nurl=a=b")
    page.get_by_label("Idempotency key").fill("k-1")
    publish.click()
    expect(page.locator("#published")).to_have_text("Published as offset 1.")
    publish.click()
    expect(page.locator("#published")).to_have_text("Nothing new: this key was published as offset 1.")
    (message,) = call(server, "stream/read", source="form")["messages"]
    assert (message["data"], message["headers"]) == ({"a": [1, 2]}, {"kind": "x", "url": "a=b"})
    page.locator("#published").get_by_role("link").click()
    expect(page.locator("#history-rows [aria-current]")).to_be_visible()


def test_what_is_typed_stays_while_one_looks_at_the_tail(page: Page, server: Program) -> None:
    open_channel(page, server, "typed", "tab=publish")
    page.get_by_label("Payload").fill('{"mine": true}')
    page.get_by_role("button", name="Publish").click()
    page.get_by_role("tab", name="Live tail").click()
    expect(page.locator("#tail-rows")).to_contain_text('{"mine":true}')
    page.get_by_role("tab", name="Publish").click()
    expect(page.get_by_label("Payload")).to_have_value('{"mine": true}')


def test_templates_are_kept_in_the_browser(page: Page, server: Program) -> None:
    open_channel(page, server, "templates", "tab=publish")
    page.get_by_label("Template", exact=True).select_option("An event")
    expect(page.get_by_label("Payload")).to_have_value(re.compile("order.shipped"))
    expect(page.get_by_label("Tags")).to_have_value("kind=event")
    page.get_by_label("Payload").fill('{"mine": true}')
    page.get_by_label("Name of a template").fill(HOSTILE[0])
    page.get_by_role("button", name="Keep").click()
    page.reload()
    page.get_by_label("Template", exact=True).select_option(HOSTILE[0])
    expect(page.get_by_label("Payload")).to_have_value('{"mine": true}')
    page.get_by_role("button", name="Forget").click()
    expect(page.get_by_label("Template", exact=True).get_by_role("option", name=HOSTILE[0])).to_have_count(0)


def test_options_say_where_each_was_set(page: Page, server: Program) -> None:
    open_channel(page, server, "short:options", "tab=options")
    table = page.get_by_role("table", name="Options")
    told = {
        option["name"]: option for option in call(server, "channel_options", channel="short:x")["options"]
    }
    expect(table.get_by_role("row")).to_have_count(len(told) + 1)
    size = table.get_by_role("row", name="history_size")
    expect(size).to_contain_text("10")
    expect(size).to_contain_text(told["history_size"]["origin"])
    page.get_by_label("Only what was set").check()
    expect(table.get_by_role("row")).to_have_count(
        1 + sum(option["origin"] != "default" for option in told.values())
    )
    page.get_by_label("Search options").fill("ttl")
    expect(table.get_by_role("row")).to_have_count(2)


# Everybody ----------------------------------------------------------------------------------------


def test_who_may_only_look_cannot_publish(page: Page, server: Program) -> None:
    open_channel(page, server, "looked-at", "tab=publish", as_name="bob")
    button = page.get_by_role("button", name="Publish")
    expect(button).to_be_disabled()
    expect(button).to_have_attribute("title", re.compile("read-only"))
    page.get_by_label("Idempotency key").press("Enter")
    assert call(server, "history", channel="looked-at", limit=0)["offset"] == 0


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_payloads_stay_text(page: Page, server: Program, name: str) -> None:
    channel = f"any:{name}"[:255]
    call(server, "publish", channel=channel, data={"text": name}, tags={"tag": name})
    with come(server, name, channel) as client:
        open_console(page, server, "#/channels", as_name="ann")
        page.get_by_role("table", name="Channels").get_by_text(channel, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(channel)
        expect(page.locator("#tail-rows")).to_contain_text("Following")
        assert "error" not in client.call("publish", channel=channel, data={"text": name})
        counted(page, 1)
        heads(page).first.click()
        expect(page.locator(".message-whole pre")).to_contain_text(json.dumps(name, ensure_ascii=False))
        expect(page.locator(".message-whole")).to_contain_text(name)
        for tab in ("History", "Presence", "Publish", "Options"):
            page.get_by_role("tab", name=tab).click()
            expect(page.get_by_role("tabpanel", name=tab)).not_to_be_empty()
        fits(page)


def fits(page: Page) -> None:
    """Assert that the page does not scroll sideways."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_screens_are_for_everybody_and_fit_a_phone(
    visitors: Visitors, server: Program, scheme: str
) -> None:
    publish_many(server, "wide", [{"text": "x" * 200, "n": n} for n in range(30)])
    call(server, "publish", channel="wide", data="y" * 300, tags={"kind": "z" * 60})
    page = visitors.page(NARROW, color_scheme=scheme)
    with come(server, "ada", "wide"):
        open_console(page, server, "#/channels", as_name="ann")
        expect(page.get_by_role("link", name="wide", exact=True)).to_be_visible()
        axe(page)
        fits(page)
        page.get_by_role("link", name="wide", exact=True).click()
        expect(page.locator("#tail-rows")).to_contain_text("Following")
        heads(page).first.click()
        axe(page)
        fits(page)
        for tab, shown in (
            ("History", "#history-rows"),
            ("Presence", "tbody"),
            ("Publish", "textarea"),
            ("Options", "tbody"),
        ):
            page.get_by_role("tab", name=tab).click()
            page.locator(shown).first.wait_for()
            axe(page)
            fits(page)


def test_messages_are_gone_through_by_keys(page: Page, server: Program) -> None:
    publish_many(server, "keys", list(range(5)))
    open_channel(page, server, "keys", "tab=history")
    page.get_by_role("list", name="Messages").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(heads(page, "#history-rows").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".message-whole pre")).to_have_text("3")
    page.keyboard.press("End")
    expect(heads(page, "#history-rows").last).to_be_focused()
