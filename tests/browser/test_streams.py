"""The streams of the console: browsing, groups, seeking with a preview, and replaying into a channel."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.screens import HOSTILE, LONG, button, call, rows, told, visit
from tests.browser.servers import SERVED, open_console
from tests.browser.visitors import NARROW, Visitors, axe
from tests.program import Program, merged

PLACE = "#/streams"
HOUR_MS = 3_600_000
NAMESPACE = {"name": "chat", "history_size": 100, "history_ttl": "1h", "stream_partitions": 2}
CONFIG = {"channel": {"namespaces": [{**NAMESPACE, "stream_retention": "1h"}]}}


class Streams:
    """A server whose streams are filled and asked by the API."""

    def __init__(self, server: Program) -> None:
        self.server = server

    def call(self, method: str, /, **request: Any) -> dict[str, Any]:
        """Call the API, and return the result."""
        return call(self.server, method, **request)

    def make(self, stream: str, count: int = 0, **options: Any) -> None:
        """Declare a stream, and append messages to it."""
        self.call("stream/declare", stream=stream, options=options)
        if count:
            keyed = options.get("keyed", False)
            messages = [
                {"data": {"n": n}, "headers": {"trace": f"t{n}"}, **({"key": f"k{n % 3}"} if keyed else {})}
                for n in range(count)
            ]
            self.call("stream/append", stream=stream, messages=messages)

    def join(self, source: str, group: str, member: str = "m-1") -> list[dict[str, Any]]:
        """Let a member hold all partitions of a group; return them."""
        asked = {"source": source, "group": group, "member": member, "session_ms": 600_000}
        held: list[dict[str, Any]] = self.call("stream/heartbeat", **asked)["held"]
        return held

    def read_to(self, source: str, group: str, offset: int) -> None:
        """Let a group have read each partition up to an offset."""
        commits = [
            {
                "partition": each["partition"],
                "fence": each["fence"],
                "offset": offset,
                "epoch": each["position"]["epoch"],
            }
            for each in self.join(source, group)
        ]
        self.call("stream/commit", source=source, group=group, member="m-1", commits=commits)

    def status(self, stream: str) -> dict[str, Any]:
        """Return how a stream stands."""
        return next(each for each in self.call("stream/list")["streams"] if each["stream"] == stream)

    def positions(self, source: str) -> dict[str, int]:
        """Return where the only group of a source stands."""
        (group,) = self.call("stream/groups", source=source)["groups"]
        return {partition: at.get("offset", 0) for partition, at in group["positions"].items()}

    def history(self, channel: str) -> list[dict[str, Any]]:
        """Return what a channel keeps."""
        publications: list[dict[str, Any]] = self.call("history", channel=channel, limit=-1)["publications"]
        return publications


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server for all tests here, where a namespace is kept as a stream too."""
    with Program(tmp_path_factory.mktemp("streams"), merged(SERVED, CONFIG)) as program:
        yield Streams(program)


@pytest.fixture(scope="module")
def server(streams: Streams) -> Program:
    """The server that has them."""
    return streams.server


# The list ------------------------------------------------------------------------------------


def test_the_list_shows_how_streams_are_kept_and_who_reads_them(ann: Page, streams: Streams) -> None:
    streams.make("listed", 6, partitions=3, keyed=True, compact=True, retention_ms=2 * HOUR_MS)
    streams.join("listed", "g")
    row = rows(ann, "Streams").filter(has_text="listed")
    expect(row.locator("td").nth(1)).to_have_text("3")
    expect(row.locator("td").nth(2)).to_have_text("6")
    expect(row.locator("td").nth(3)).to_have_text(re.compile("^2 h"))
    expect(row.locator("td").nth(4)).to_have_text("1")
    expect(row).to_contain_text("keyed")
    expect(row).to_contain_text("compacted")
    row.focus()
    ann.keyboard.press("Enter")
    expect(ann.get_by_role("heading", name="listed")).to_be_visible()


def test_a_stream_is_declared_by_a_form(ann: Page, visitors: Visitors, streams: Streams) -> None:
    visitors.expect("status of 400")
    button(ann, "New stream …").click()
    dialog = ann.get_by_role("dialog")
    dialog.get_by_label("Name").fill("<b>")
    button(dialog, "Make it").click()
    expect(dialog.get_by_role("alert")).to_contain_text("stream")
    dialog.get_by_label("Name").fill("declared")
    dialog.get_by_label("Partitions").fill("4")
    dialog.get_by_label("Keep messages").fill("1000")
    dialog.get_by_label("Keep hours").fill("1.5")
    dialog.get_by_label("Keyed").check()
    dialog.get_by_label("Compacted").check()
    button(dialog, "Make it").click()
    expect(ann.get_by_role("heading", name="declared")).to_be_visible()
    options = streams.status("declared")["options"]
    assert (options["partitions"], options["keyed"], options["compact"]) == (4, True, True)
    assert (options["retention_messages"], options["retention_ms"]) == (1_000, 1.5 * HOUR_MS)


def test_a_namespace_that_is_kept_as_a_stream_is_one(ann: Page, streams: Streams) -> None:
    for n in range(6):
        streams.call("publish", channel=f"chat:{n}", data={"room": n})
    streams.join("chat:", "g")
    streams.join("chat:2", "g")
    expect(rows(ann, "Streams").filter(has_text="namespace")).to_contain_text("chat:")
    expect(rows(ann, "Channels")).to_contain_text("chat:2")
    ann.get_by_label("Open by name").fill("chat:")
    button(ann, "Open").click()
    expect(ann.get_by_role("heading", name="chat:")).to_be_visible()
    expect(button(ann, "Append …")).to_have_count(0)
    ann.get_by_role("tab", name="Options").click()
    expect(rows(ann, "Partitions")).to_have_count(2)
    rows(ann, "Partitions").last.click()
    first = rows(ann, "Messages").first
    expect(first).to_contain_text(re.compile(r"chat:\d"))
    visit(ann, "#/streams/chat%3A2")
    expect(rows(ann, "Messages")).to_contain_text('{"room":2}')


# One stream -----------------------------------------------------------------------------------


def test_a_message_is_appended_whole(ann: Page, streams: Streams) -> None:
    streams.make("append", partitions=2, keyed=True)
    visit(ann, "#/streams/append?partition=1")
    button(ann, "Append …").click()
    dialog = ann.get_by_role("dialog")
    dialog.get_by_label("Payload").fill("[1,")
    expect(button(dialog, "Append")).to_be_disabled()
    dialog.get_by_label("Payload").fill(f'{{"id": {LONG}}}')
    dialog.get_by_label("Key").fill("k")
    dialog.get_by_label("Partition").select_option("1")
    dialog.get_by_label("Headers").fill('{"trace": "t"}')
    button(dialog, "Append").click()
    told(ann, "Appended as 1 of partition 1.")
    (message,) = streams.call("stream/read", source="append", partition=1)["messages"]
    assert (message["data"], message["key"], message["headers"]) == ({"id": LONG}, "k", {"trace": "t"})
    expect(rows(ann, "Messages")).to_contain_text(str(LONG))


def offsets(page: Page) -> Locator:
    """Find the first cells of the messages."""
    return rows(page, "Messages").locator("td:first-child")


def test_messages_are_browsed_both_ways_from_any_place(ann: Page, streams: Streams) -> None:
    streams.make("browse", 120)
    visit(ann, "#/streams/browse")
    expect(offsets(ann).first).to_have_text("120")
    ann.get_by_role("link", name="Older").click()
    expect(offsets(ann).first).to_have_text("70")
    ann.get_by_role("link", name="Older").click()
    expect(offsets(ann)).to_have_count(20)
    expect(ann.get_by_text("That is the oldest that is kept.")).to_be_visible()
    ann.go_back()
    expect(offsets(ann).first).to_have_text("70")
    ann.get_by_label("From").select_option("earliest")
    expect(offsets(ann).first).to_have_text("1")
    ann.get_by_role("link", name="Newer").click()
    expect(offsets(ann).first).to_have_text("51")
    ann.get_by_label("From").select_option("offset")
    offset = ann.get_by_role("spinbutton", name="Offset")
    offset.fill("77")
    offset.press("Enter")
    expect(offsets(ann).first).to_have_text("77")
    expect(offsets(ann).nth(1)).to_have_text("78")
    button(ann, "Newest first").click()
    expect(offsets(ann).first).to_have_text("77")
    expect(offsets(ann).nth(1)).to_have_text("76")


def test_messages_are_found_by_their_time(ann: Page, streams: Streams) -> None:
    streams.make("timed", 3)
    messages = streams.call("stream/read", source="timed")["messages"]
    at_ms = messages[0]["time_ms"]
    visit(ann, f"#/streams/timed?from=time&forwards=1&at={at_ms}")
    expect(offsets(ann).first).to_have_text("1")
    expect(ann.get_by_label("Time", exact=True)).not_to_have_value("")
    ann.get_by_label("Time", exact=True).fill("2020-01-01T00:00:00")
    expect(offsets(ann).first).to_have_text("1")
    button(ann, "Newest first").click()
    expect(ann.get_by_text("Nothing is kept here")).to_be_visible()
    ann.get_by_label("Time", exact=True).fill("2099-01-01T00:00:00")
    expect(offsets(ann).first).to_have_text("3")


def test_a_keyed_stream_is_read_by_key_and_a_link_opens_a_message(ann: Page, streams: Streams) -> None:
    streams.make("by-key", 9, partitions=4, keyed=True)
    visit(ann, "#/streams/by-key")
    key = ann.get_by_role("searchbox", name="Key")
    key.fill("k1")
    key.press("Enter")
    expect(rows(ann, "Messages")).to_have_count(3)
    expect(rows(ann, "Messages").first).to_contain_text('{"n":7}')
    rows(ann, "Messages").last.click()
    expect(ann.get_by_role("dialog")).to_contain_text('"n": 1')
    other = ann.context.new_page()
    open_console(other, streams.server, ann.url.split("/console/")[1])
    expect(other.get_by_role("dialog")).to_contain_text('"n": 1')
    expect(other.get_by_role("dialog")).to_contain_text("t1")
    expect(rows(other, "Messages")).to_have_count(3)


# Groups ---------------------------------------------------------------------------------------


def test_groups_show_their_lag_members_and_sessions(ann: Page, streams: Streams) -> None:
    streams.make("lag", 30, partitions=2)
    streams.call("stream/append", stream="lag", messages=[{"data": 1, "partition": 0}] * 5)
    streams.join("lag", "billing", "m-1")
    streams.join("lag", "billing", "m-2")
    streams.join("lag", "billing", "m-1")
    streams.join("lag", "billing", "m-2")
    visit(ann, "#/streams/lag?tab=groups&range=15m")
    expect(rows(ann, "Groups").locator("td").nth(2)).to_have_text("35")
    lags = streams.call("stream/lag", source="lag", group="billing")["partitions"]
    for each in lags:
        row = rows(ann, "Lag by partition").nth(each["partition"])
        expect(row.locator("td").nth(3)).to_have_text(str(each["lag"]))
        expect(row).to_contain_text(each["member"])
    expect(rows(ann, "Members")).to_have_count(2)
    expect(rows(ann, "Members").first).to_contain_text(re.compile(r"9 min \d+ s|10 min"))
    plot = ann.get_by_role("group", name="Lag: messages 35")
    expect(plot).to_be_visible(timeout=25_000)


def test_a_seek_tells_first_what_it_would_do(ann: Page, streams: Streams) -> None:
    streams.make("seek", partitions=2)
    for partition in (0, 1):
        streams.call(
            "stream/append", stream="seek", messages=[{"data": 1, "partition": partition} for _ in range(10)]
        )
    streams.read_to("seek", "g", 4)
    visit(ann, "#/streams/seek?tab=groups&group=g")
    button(ann, "Show what that would do").click()
    expect(ann.get_by_text("It would skip 0 messages, and get 8 messages again.")).to_be_visible()
    ann.get_by_label("Go on at").select_option("latest")
    expect(rows(ann, "What a seek would do")).to_have_count(0)
    ann.get_by_label("In partition").select_option("1")
    button(ann, "Show what that would do").click()
    expect(rows(ann, "What a seek would do").locator("td")).to_have_text(["1", "4", "10 end", "6", "0"])
    assert streams.positions("seek") == {"0": 4, "1": 4}
    button(ann, "Move the group …").click()
    button(ann.get_by_role("dialog"), "Move it").click()
    told(ann, "g goes on elsewhere.")
    assert streams.positions("seek") == {"0": 4, "1": 10}
    ann.get_by_label("In partition").select_option("")
    ann.get_by_label("Go on at").select_option("offset")
    ann.get_by_label("Offset").fill("3")
    button(ann, "Show what that would do").click()
    expect(ann.get_by_text("It would skip 0 messages, and get 10 messages again.")).to_be_visible()
    button(ann, "Move the group …").click()
    button(ann.get_by_role("dialog"), "Move it").click()
    expect(rows(ann, "What a seek would do")).to_have_count(0)
    assert streams.positions("seek") == {"0": 2, "1": 2}
    ann.get_by_label("Go on at").select_option("time")
    ann.get_by_label("Time", exact=True).fill("2020-01-01T00:00:00")
    button(ann, "Show what that would do").click()
    expect(ann.get_by_text("It would skip 0 messages, and get 4 messages again.")).to_be_visible()


def test_a_group_is_dropped_by_its_name(ann: Page, streams: Streams) -> None:
    streams.make("left", 1)
    streams.join("left", "gone")
    visit(ann, "#/streams/left?tab=groups")
    button(ann, "Drop the group …").click()
    dialog = ann.get_by_role("dialog")
    expect(button(dialog, "Drop the group")).to_be_disabled()
    dialog.get_by_label(re.compile("^Type")).fill("gone")
    button(dialog, "Drop the group").click()
    told(ann, "Dropped the group gone.")
    expect(ann.get_by_text("No group reads it")).to_be_visible()
    assert streams.call("stream/groups", source="left") == {"groups": []}


# Replay ---------------------------------------------------------------------------------------


def replay(page: Page, channel: str, **chosen: str) -> Locator:
    """Begin a replay; return where its progress stands."""
    for label, value in chosen.items():
        page.get_by_label(label.replace("_", " ").capitalize(), exact=True).select_option(value)
    page.get_by_label("Into the channel").fill(channel)
    button(page, "Replay").click()
    return page.get_by_role("group", name=re.compile("^Replaying"))


def test_a_replay_publishes_all_in_order(ann: Page, streams: Streams) -> None:
    streams.make("again", 40)
    streams.call("stream/append", stream="again", messages=[{"data": {"id": LONG}}, {"b64data": "/w=="}])
    visit(ann, "#/streams/again?tab=replay")
    running = replay(ann, "replayed", speed="0")
    expect(running).to_contain_text("42 of 42 messages, in")
    *kept, long, binary = streams.history("replayed")
    assert [each["data"] for each in kept] == [{"n": n} for n in range(40)]
    assert [each["tags"] for each in kept] == [{"trace": f"t{n}"} for n in range(40)]
    assert long["data"] == {"id": LONG}
    assert binary["b64data"] == "/w=="
    button(running, "Dismiss").click()
    ann.get_by_label("From").select_option("offset")
    ann.get_by_label("Offset").fill("41")
    running = replay(ann, "replayed-end", speed="0")
    expect(running).to_contain_text("2 of 2 messages, in")
    assert len(streams.history("replayed-end")) == 2
    expect(ann.get_by_role("link", name="Watch the channel")).to_be_visible()


def test_a_link_shows_what_was_filled_in(ann: Page, streams: Streams) -> None:
    streams.make("linked", 3)
    streams.read_to("linked", "g", 1)
    streams.read_to("linked", "h", 1)
    visit(ann, "#/streams/linked?tab=groups&group=g&seek-to=offset&seek-offset=2")
    button(ann, "Show what that would do").click()
    expect(ann.get_by_text("It would skip 0 messages, and get 0 messages again.")).to_be_visible()
    rows(ann, "Groups").filter(has_text="h").click()
    expect(ann.get_by_label("Go on at")).to_have_value("earliest")
    ann.get_by_label("Go on at").select_option("offset")
    ann.get_by_role("tab", name="Replay").click()
    assert "seek" not in ann.url
    ann.get_by_label("From").select_option("offset")
    ann.get_by_label("Offset").fill("3")
    ann.get_by_label("Make long pauses shorter").check()
    ann.get_by_label("Into the channel").fill("elsewhere")
    ann.reload()
    expect(ann.get_by_label("Into the channel")).to_have_value("elsewhere")
    expect(ann.get_by_label("From")).to_have_value("offset")
    expect(ann.get_by_label("Offset")).to_have_value("3")
    expect(ann.get_by_label("Make long pauses shorter")).to_be_checked()
    visit(ann, "#/streams/linked?tab=replay&replay-channel=other&replay-from=bogus&replay-shorter=false")
    expect(ann.get_by_label("Into the channel")).to_have_value("other")
    expect(ann.get_by_label("From")).to_have_value("oldest")
    expect(ann.get_by_label("Make long pauses shorter")).not_to_be_checked()


def test_a_time_in_a_link_is_the_same_everywhere(visitors: Visitors, streams: Streams, entered: str) -> None:
    streams.make("zones", 3)
    streams.read_to("zones", "g", 1)
    here = visitors.page(timezone_id="Europe/Berlin")
    here.context.add_init_script(entered)
    open_console(here, streams.server, "#/streams/zones?tab=groups&group=g")
    here.get_by_label("Go on at").select_option("time")
    expect(here).to_have_url(re.compile("seek-at=[0-9]{13}"))  # what is offered, too
    here.get_by_label("Time", exact=True).fill("2026-01-02T18:30:00")
    expect(here).to_have_url(re.compile("seek-at=1767375000000"))
    there = visitors.page(timezone_id="America/New_York")
    there.context.add_init_script(entered)
    open_console(there, streams.server, here.url.split("/console/")[1])
    expect(there.get_by_label("Time", exact=True)).to_have_value(re.compile("^2026-01-02T12:30"))


def test_a_replay_keeps_the_pauses_and_stops_when_told(ann: Page, streams: Streams) -> None:
    streams.make("slow", 1)
    visit(ann, "#/streams/slow?tab=replay")
    ann.get_by_label("From").select_option("time")
    ann.get_by_label("Time", exact=True).fill("2020-01-01T00:00:00")
    ann.get_by_label("Speed").select_option("factor")
    factor = ann.get_by_label("Times as fast")
    factor.fill("1000")
    ann.get_by_label("Into the channel").fill("slowly")
    button(ann, "Replay").click()
    assert not factor.evaluate("field => field.checkValidity()")
    expect(ann.get_by_role("group", name=re.compile("^Replaying"))).to_have_count(0)
    factor.fill("0.1")
    streams.call("stream/append", stream="slow", messages=[{"data": "much later"}])
    expect(ann.get_by_text("of 2 that came")).to_be_visible()
    button(ann, "Replay").click()
    running = ann.get_by_role("group", name=re.compile("^Replaying"))
    expect(running).to_contain_text("only while this page is open")
    expect(running).to_contain_text("1 of 2 messages")
    assert len(streams.history("slowly")) == 1
    button(running, "Stop").click()
    expect(running).to_contain_text("Stopped after 1 of 2 messages")
    assert len(streams.history("slowly")) == 1


def test_a_replay_that_is_refused_says_why(ann: Page, visitors: Visitors, streams: Streams) -> None:
    visitors.expect("status of 4")
    streams.make("refused", 2)
    visit(ann, "#/streams/refused?tab=replay")
    running = replay(ann, "nowhere:1", speed="0")
    expect(running).to_contain_text(re.compile("Failed after 0 of 2 messages: .*nowhere"))


# Ends -----------------------------------------------------------------------------------------


def test_a_stream_is_kept_otherwise(ann: Page, streams: Streams) -> None:
    streams.make("kept", 5, keyed=True)
    visit(ann, "#/streams/kept?tab=options")
    ann.get_by_label("Keep messages").fill("50")
    ann.get_by_label("Audited").check()
    button(ann, "Keep it like this").click()
    told(ann, "kept is kept like this from now on.")
    options = streams.status("kept")["options"]
    assert (options["retention_messages"], options["audit"], options["keyed"]) == (50, True, True)
    button(ann, "Compact now …").click()
    button(ann.get_by_role("dialog"), "Compact it").click()
    told(ann, "Erased 2 messages that later ones had replaced.")
    assert len(streams.call("stream/read", source="kept")["messages"]) == 3


def test_a_trim_tells_first_how_much_it_drops(ann: Page, streams: Streams) -> None:
    streams.make("trim", 10)
    visit(ann, "#/streams/trim?tab=options")
    ann.get_by_label("Drop what is").select_option("offset")
    ann.get_by_label("Of partition").select_option("0")
    ann.get_by_label("Up to offset").fill("4")
    button(ann, "Drop the oldest …").click()
    dialog = ann.get_by_role("dialog", name="Drop 4 messages?")
    button(dialog, "Cancel").click()
    assert streams.status("trim")["partitions"][0]["oldest"] == 1
    button(ann, "Drop the oldest …").click()
    button(dialog, "Drop them").click()
    told(ann, "Dropped 4 messages.")
    assert streams.status("trim")["partitions"][0]["oldest"] == 5
    expect(rows(ann, "Partitions").locator("td").nth(1)).to_have_text("5")
    ann.get_by_label("Drop what is").select_option("time")
    ann.get_by_label("Older than", exact=True).fill("2099-01-01T00:00:00")
    button(ann, "Drop the oldest …").click()
    button(ann.get_by_role("dialog", name="Drop 6 messages?"), "Drop them").click()
    told(ann, "Dropped 6 messages.")
    assert not streams.call("stream/read", source="trim")["messages"]


def test_a_stream_is_dropped_by_its_name(ann: Page, streams: Streams) -> None:
    streams.make("drop", 2)
    visit(ann, "#/streams/drop?tab=options")
    button(ann, "Drop the stream …").click()
    dialog = ann.get_by_role("dialog")
    expect(button(dialog, "Drop the stream")).to_be_disabled()
    dialog.get_by_label(re.compile("^Type")).fill("drop")
    button(dialog, "Drop the stream").click()
    told(ann, "Dropped drop.")
    expect(ann.get_by_role("heading", name="Streams")).to_be_visible()
    assert "drop" not in {each["stream"] for each in streams.call("stream/list")["streams"]}


# Everybody ------------------------------------------------------------------------------------


def test_who_may_only_read_sees_all_and_can_press_nothing(page: Page, streams: Streams) -> None:
    streams.make("read", 3, keyed=True)
    streams.join("read", "g")
    open_console(page, streams.server, "#/streams/read", as_name="bob")
    expect(rows(page, "Messages")).to_have_count(3)
    button(page, "Append …").click()
    expect(button(page.get_by_role("dialog"), "Append")).to_be_disabled()
    page.keyboard.press("Escape")
    for tab, names in {
        "groups": ["Drop the group …", "Show what that would do"],
        "replay": ["Replay"],
        "options": ["Keep it like this", "Drop the oldest …", "Compact now …", "Drop the stream …"],
    }.items():
        visit(page, f"#/streams/read?tab={tab}")
        for name in names:
            expect(button(page, name)).to_be_disabled()


@pytest.mark.parametrize("text", HOSTILE, ids=["image", "script", "direction", "long"])
def test_what_others_wrote_stays_text(ann: Page, streams: Streams, text: str) -> None:
    stream = f"hostile-{HOSTILE.index(text)}"
    streams.make(stream, keyed=True)
    message = {"key": text, "data": {text: text}, "headers": {text: text}}
    streams.call("stream/append", stream=stream, messages=[message])
    streams.join(stream, text[:100], text[:100])
    visit(ann, f"#/streams/{stream}?message=0:1")
    dialog = ann.get_by_role("dialog")
    expect(dialog.locator("dl")).to_contain_text(text)
    expect(dialog.locator("img, script")).to_have_count(0)
    ann.keyboard.press("Escape")
    expect(rows(ann, "Messages")).to_contain_text(text)
    ann.get_by_role("tab", name="Groups").click()
    expect(rows(ann, "Members")).to_contain_text(text[:100])
    assert ann.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ann.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    assert ann.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_every_view_can_be_used_by_everybody_wide_narrow_and_dark(
    visitors: Visitors, streams: Streams, entered: str
) -> None:
    streams.make("looks", 9, partitions=3, keyed=True, retention_messages=1_000)
    streams.join("looks", "g")
    views = ["", "/looks", "/looks?message=0:1", *(f"/looks?tab={tab}" for tab in ("groups", "options"))]
    for size, scheme in (((1280, 800), "light"), (NARROW, "dark")):
        page = visitors.page(size, color_scheme=scheme)
        page.context.add_init_script(entered)
        open_console(page, streams.server, "#/streams")
        for view in views:
            visit(page, f"#/streams{view}")
            expect(page.locator("table").last).to_be_visible()
            axe(page)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (size, view)
        visit(page, "#/streams/looks?tab=replay")
        expect(page.get_by_label("Into the channel")).to_be_visible()
        axe(page)


def test_the_forms_can_be_used_by_everybody(ann: Page, streams: Streams) -> None:
    streams.make("forms", 1)
    for view, opener in (
        ("", "New stream …"),
        ("/forms", "Append …"),
        ("/forms?tab=options", "Drop the stream …"),
    ):
        visit(ann, f"#/streams{view}")
        button(ann, opener).click()
        expect(ann.get_by_role("dialog")).to_be_visible()
        axe(ann)
        ann.keyboard.press("Escape")
        expect(button(ann, opener)).to_be_focused()
