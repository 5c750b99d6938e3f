"""Going back: to what was seen before, out of what was opened; and what is typed is not lost."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.stock import publish_many
from tests.browser.screens import button, call, rows, told, visit
from tests.browser.servers import SERVED
from tests.program import Program

JOBS = 3
QUESTION = "Leave without redriving?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A server with dead letters, a stream and a channel."""
    with Program(tmp_path_factory.mktemp("back"), SERVED) as server:
        fill(server)
        yield server


def fill(server: Program) -> None:
    """Let jobs die, and store messages."""
    call(server, "queue/declare", queue="mail")
    call(server, "queue/enqueue", jobs=[{"queue": "mail", "data": {"n": n}} for n in range(JOBS)])
    for job in call(server, "queue/claim", queue="mail", limit=JOBS)["jobs"]:
        buried = {"id": job["id"], "fence": job["fence"], "deed": "bury", "reason": "no"}
        call(server, "queue/settle", settlements=[buried])
    call(server, "stream/declare", stream="orders", options={"partitions": 1})
    call(server, "stream/append", stream="orders", messages=[{"data": n} for n in range(JOBS)])
    publish_many(server, "long", list(range(120)))


LISTS = {
    "#/queues/mail?tab=dead&range=6h": "Dead letters",
    "#/streams/orders?range=6h": "Messages",
    "#/settings?tab=audit&what=declare": "What was done",
}


@pytest.mark.parametrize("place", LISTS)
def test_back_closes_what_was_opened(ann: Page, place: str) -> None:
    visit(ann, place)
    rows(ann, LISTS[place]).first.click()
    dialog = ann.get_by_role("dialog")
    expect(dialog).to_be_visible()
    assert ann.url.partition("?")[2].startswith(place.partition("?")[2])  # what it said before
    ann.go_back()
    expect(dialog).to_have_count(0)
    assert ann.url.endswith(place)
    ann.go_forward()
    expect(dialog).to_be_visible()


@pytest.mark.parametrize("how", ["Escape", "✕"])
@pytest.mark.parametrize("place", LISTS)
def test_what_was_closed_stays_closed(ann: Page, place: str, how: str) -> None:
    visit(ann, place)
    dialog = ann.get_by_role("dialog")
    for row in (0, 1, 0):
        rows(ann, LISTS[place]).nth(row).click()
        expect(dialog).to_be_visible()
        if how == "Escape":
            ann.keyboard.press(how)
        else:
            button(dialog, "Close").click()
        expect(dialog).to_have_count(0)
        expect(ann).to_have_url(re.compile(re.escape(place) + "$"))
    ann.go_back()
    expect(ann.get_by_role("heading", name="Overview")).to_be_visible()
    expect(dialog).to_have_count(0)


def test_what_a_link_opened_is_closed_without_leaving(ann: Page, server: Program) -> None:
    visit(ann, "#/queues")
    (job, *_) = call(server, "queue/browse", queue="mail", state="dead")["jobs"]
    visit(ann, f"#/queues/mail?tab=dead&job={job['id']}")
    expect(ann.get_by_role("dialog")).to_be_visible()
    ann.keyboard.press("Escape")
    expect(ann.get_by_role("dialog")).to_have_count(0)
    expect(ann.get_by_role("heading", level=1)).to_contain_text("mail")
    ann.go_back()
    expect(ann.get_by_role("heading", level=1)).to_have_text("Queues")


def test_a_job_that_was_sought_is_closed_by_back(ann: Page, server: Program) -> None:
    visit(ann, "#/queues")
    (job, *_) = call(server, "queue/browse", queue="mail", state="dead")["jobs"]
    ann.get_by_label("Find a job by its id").fill(job["id"])
    ann.keyboard.press("Enter")
    expect(ann.get_by_role("dialog")).to_be_visible()
    ann.go_back()
    expect(ann.get_by_role("dialog")).to_have_count(0)
    expect(ann.get_by_role("heading", level=1)).to_have_text("Queues")


@pytest.mark.parametrize(
    ("place", "tabs"),
    [
        ("#/queues/mail", ["Dead", "Options", "Waiting"]),
        ("#/streams/orders", ["Groups", "Options", "Messages"]),
        ("#/channels/long", ["History", "Options", "Live tail"]),
        ("#/connections", ["Stories", "Open"]),
        ("#/playground", ["Make a token", "Try as a user"]),
        ("#/settings", ["Audit", "Configuration"]),
    ],
)
def test_back_goes_to_the_tab_before(ann: Page, place: str, tabs: list[str]) -> None:
    visit(ann, place)
    chosen = ann.get_by_role("tab", selected=True)
    first = chosen.inner_text()
    for tab in tabs:
        ann.get_by_role("tab", name=tab).click()
        expect(chosen).to_contain_text(tab)
    chosen.click()  # which goes nowhere
    for tab in tabs[-2::-1]:
        ann.go_back()
        expect(chosen).to_contain_text(tab)
    ann.go_back()
    expect(chosen).to_contain_text(first)
    ann.go_back()
    expect(ann.get_by_role("heading", name="Overview")).to_be_visible()


def test_back_takes_a_search_as_a_whole(ann: Page) -> None:
    visit(ann, "#/queues")
    ann.get_by_label("Search by name").press_sequentially("mail")
    expect(ann).to_have_url(re.compile("q=mail"))
    ann.go_back()
    expect(ann.get_by_role("heading", name="Overview")).to_be_visible()


# What is typed ------------------------------------------------------------------------------------


def edit(page: Page, row: int = 0) -> None:
    """Open a dead letter to edit it."""
    visit(page, "#/queues/mail?tab=dead")
    rows(page, "Dead letters").nth(row).click()
    button(page.get_by_role("dialog"), "Edit and redrive …").click()
    expect(page.get_by_label("Payload")).to_be_visible()


@pytest.mark.parametrize("how", ["Escape", "✕"])
def test_an_edited_payload_is_not_thrown_away_unasked(ann: Page, how: str) -> None:
    edit(ann)
    dialog = ann.get_by_role("dialog", name="Job")
    question = ann.get_by_role("dialog", name=QUESTION)
    payload = ann.get_by_label("Payload")

    def close() -> None:
        if how == "Escape":
            ann.keyboard.press("Escape")
        else:
            button(dialog, "Close").click()

    payload.fill('{"n": "other"}')
    close()
    expect(question).to_be_visible()
    button(question, "Cancel").click()
    expect(question).to_have_count(0)
    expect(payload).to_have_value('{"n": "other"}')
    close()
    button(question, "Throw it away").click()
    expect(ann.get_by_role("dialog")).to_have_count(0)
    expect(ann).to_have_url(re.compile("tab=dead$"))


def test_escape_after_escape_asks_again_and_again(ann: Page) -> None:
    edit(ann)
    question = ann.get_by_role("dialog", name=QUESTION)
    ann.get_by_label("Payload").press_sequentially(" ")
    for _ in range(4):  # a browser lets a page refuse Escape only so often
        ann.keyboard.press("Escape")
        expect(question).to_be_visible()
        ann.keyboard.press("Escape")
        expect(question).to_have_count(0)
        expect(ann.get_by_label("Payload")).to_be_visible()
        expect(ann.get_by_role("dialog", name="Job").locator(":focus")).to_have_count(1)


def test_an_unchanged_payload_is_left_without_a_question(ann: Page) -> None:
    edit(ann)
    before = ann.get_by_label("Payload").input_value()
    ann.get_by_label("Payload").fill("1")
    ann.get_by_label("Payload").fill(before)
    ann.keyboard.press("Escape")
    expect(ann.get_by_role("dialog")).to_have_count(0)


def test_what_was_redriven_is_left_without_a_question(ann: Page, server: Program) -> None:
    edit(ann, JOBS - 1)
    ann.get_by_label("Payload").fill('{"n": "other"}')
    button(ann, "Redrive with this payload").click()
    told(ann, re.compile("waits again, with the new payload"))
    expect(ann.get_by_role("dialog")).to_have_count(0)
    (waiting,) = call(server, "queue/browse", queue="mail", state="waiting")["jobs"]
    assert waiting["data"] == {"n": "other"}


# What is read -------------------------------------------------------------------------------------


def test_a_message_that_is_read_stands_in_the_link(ann: Page, server: Program) -> None:
    visit(ann, "#/channels/long?tab=history")
    heads = ann.locator("#history-rows .message-head")
    heads.nth(2).click()
    expect(ann.locator("#history-rows pre")).to_have_text("117")
    assert "open=118" in ann.url
    expect(heads.first).to_contain_text("120")  # the page stays where it was
    assert ann.locator("#history-rows [aria-current]").count() == 0
    publish_many(server, "long", list(range(60)))
    ann.reload()
    chosen = ann.locator("#history-rows [aria-current]")
    expect(chosen.locator("pre")).to_have_text("117")  # where the newest are by now, it is not
    chosen.locator(".message-head").click()
    assert "open=" not in ann.url
    button(ann, "Newest").click()
    expect(heads.first).to_contain_text("180")


def test_what_was_open_does_not_keep_one_from_the_newest(ann: Page, server: Program) -> None:
    publish_many(server, "grows", list(range(3)))
    visit(ann, "#/channels/grows?tab=history")
    heads = ann.locator("#history-rows .message-head")
    heads.last.click()
    expect(ann).to_have_url(re.compile("open=1$"))
    publish_many(server, "grows", list(range(3)))
    button(ann, "Newest").click()
    expect(heads.first).to_contain_text("6")
    ann.get_by_role("tab", name="Options").click()
    assert "open=" not in ann.url


def test_channels_of_the_system_open_what_is_read_too(ann: Page, server: Program) -> None:
    visit(ann, "#/channels/gapless.audit?tab=history")
    ann.locator("#history-rows .message-head").last.click()
    expect(ann).to_have_url(re.compile("open=1$"))
    ann.reload()
    expect(ann.locator("#history-rows [aria-current] pre")).to_be_visible()
