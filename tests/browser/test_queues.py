"""The queues of the console: what is looked at stays untouched, and what is done is done on the server."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.screens import HOSTILE, LONG, button, call, rows, told, visit
from tests.browser.servers import open_console
from tests.browser.visitors import NARROW, Visitors, axe
from tests.program import Program

PLACE = "#/queues"
AT_ONCE = 1_000
HOUR_MS = 3_600_000
TRACEBACK = 'Traceback (most recent call last):\n  File "mail.py", line 7, in send\nValueError: <b>no</b>\n'


class Queues:
    """A server whose queues are filled and asked by the API."""

    def __init__(self, server: Program) -> None:
        self.server = server

    def call(self, method: str, /, **request: Any) -> dict[str, Any]:
        """Call the API, and return the result."""
        return call(self.server, method, **request)

    def make(self, queue: str, count: int = 0, **job: Any) -> list[str]:
        """Declare a queue, and enqueue jobs; return their ids."""
        self.call("queue/declare", queue=queue)
        ids = []
        for start in range(0, count, AT_ONCE):
            numbers = range(start, min(count, start + AT_ONCE))
            jobs = [{"queue": queue, "data": {"n": n}, **job} for n in numbers]
            ids += [each["result"]["id"] for each in self.call("queue/enqueue", jobs=jobs)["jobs"]]
        return ids

    def bury(self, queue: str, count: int, reason: str = "no", details: str = TRACEBACK) -> list[str]:
        """Fill a queue with dead letters."""
        ids = self.make(queue, count)
        for _ in range(0, count, AT_ONCE):
            jobs = self.call("queue/claim", queue=queue, worker="w", limit=AT_ONCE)["jobs"]
            buried = {"deed": "bury", "reason": reason, "details": details}
            settled = [{"id": job["id"], "fence": job["fence"], **buried} for job in jobs]
            self.call("queue/settle", settlements=settled)
        return ids

    def stats(self, queue: str) -> dict[str, Any]:
        """Return what a queue holds."""
        (found,) = self.call("queue/stats", queue=queue)["queues"]
        return dict(found)

    def job(self, id: str) -> dict[str, Any]:
        """Return a job as it stands."""
        return self.call("queue/job", id=id)


@pytest.fixture(scope="module")
def queues(served: Program) -> Queues:
    """The server for all tests here: each has queues of its own."""
    return Queues(served)


@pytest.fixture(scope="module")
def server(queues: Queues) -> Program:
    """The server that has them."""
    return queues.server


# The list ------------------------------------------------------------------------------------


def test_the_list_shows_what_is_in_each_queue(ann: Page, queues: Queues) -> None:
    queues.make("list-a", 3)
    queues.bury("list-b", 2)
    queues.call("queue/pause", queue="list-a")
    row = rows(ann, "Queues").filter(has_text="list-a")
    expect(row.locator("td").nth(1)).to_have_text("3")
    expect(row).to_contain_text("paused")
    expect(rows(ann, "Queues").filter(has_text="list-b").locator("td").nth(4)).to_have_text("2")


def test_a_search_and_an_order_stand_in_the_link(ann: Page, queues: Queues) -> None:
    queues.make("sought-few", 1)
    queues.make("sought-many", 5)
    queues.make("other")
    ann.get_by_label("Search by name").fill("sought")
    ann.get_by_label("Sort by").select_option("depth")
    expect(rows(ann, "Queues")).to_have_count(2)
    expect(rows(ann, "Queues").first).to_contain_text("sought-many")
    other = ann.context.new_page()
    open_console(other, queues.server, ann.url.split("/console/")[1])
    expect(rows(other, "Queues")).to_have_count(2)
    expect(rows(other, "Queues").first).to_contain_text("sought-many")


def test_the_list_is_gone_through_by_the_keyboard(ann: Page, queues: Queues) -> None:
    queues.make("keys-a")
    queues.make("keys-b")
    ann.get_by_label("Search by name").fill("keys-")
    expect(rows(ann, "Queues")).to_have_count(2)
    rows(ann, "Queues").first.focus()
    ann.keyboard.press("ArrowDown")
    ann.keyboard.press("Enter")
    expect(ann.get_by_role("heading", name="keys-b")).to_be_visible()


def test_a_queue_is_made_by_a_form_that_tells_what_was_refused(
    ann: Page, visitors: Visitors, queues: Queues
) -> None:
    visitors.expect("status of 400")
    button(ann, "New queue …").click()
    dialog = ann.get_by_role("dialog")
    dialog.get_by_label("Name").fill("<b>")
    button(dialog, "Make it").click()
    expect(dialog.get_by_role("alert")).to_contain_text("queue")
    dialog.get_by_label("Name").fill("made")
    button(dialog, "Make it").click()
    expect(ann.get_by_role("heading", name="made")).to_be_visible()
    assert queues.stats("made")["ready"] == 0


# One queue ------------------------------------------------------------------------------------


def test_a_job_is_enqueued_whole(ann: Page, queues: Queues) -> None:
    queues.make("enqueue")
    visit(ann, "#/queues/enqueue")
    button(ann, "Enqueue …").click()
    dialog = ann.get_by_role("dialog")
    dialog.get_by_label("Payload").fill('{"id": ')
    expect(button(dialog, "Enqueue")).to_be_disabled()
    expect(dialog).to_contain_text("This is no JSON")
    dialog.get_by_label("Payload").fill(f'{{"id": {LONG}}}')
    dialog.get_by_label("Key").fill("k")
    dialog.get_by_label("Priority").fill("7")
    dialog.get_by_label("Delay").fill("3600")
    dialog.get_by_label("Headers").fill('{"trace": "t"}')
    button(dialog, "Enqueue").click()
    told(ann, re.compile("Enqueued"))
    (job,) = queues.call("queue/browse", queue="enqueue", state="waiting")["jobs"]
    assert (job["data"], job["key"], job["priority"]) == ({"id": LONG}, "k", 7)
    assert job["headers"] == {"trace": "t"}
    assert job["due_ms"] - job["enqueued_ms"] == HOUR_MS
    expect(rows(ann, "Waiting jobs")).to_contain_text("delayed")
    expect(rows(ann, "Waiting jobs")).to_contain_text(str(LONG))


def test_a_queue_is_paused_and_resumed(ann: Page, queues: Queues) -> None:
    queues.make("pause")
    visit(ann, "#/queues/pause")
    button(ann, "Pause").click()
    expect(button(ann, "Resume")).to_be_visible()
    assert queues.stats("pause")["paused"]
    button(ann, "Resume").click()
    expect(button(ann, "Pause")).to_be_visible()
    assert not queues.stats("pause")["paused"]


def test_looking_at_a_job_does_not_touch_it_and_cancelling_removes_it(ann: Page, queues: Queues) -> None:
    first, second = queues.make("waiting", 2)
    before = queues.job(first)
    visit(ann, "#/queues/waiting")
    rows(ann, "Waiting jobs").first.click()
    dialog = ann.get_by_role("dialog")
    expect(dialog).to_contain_text('"n": 0')
    assert queues.job(first) == before
    ann.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    button(ann, f"Cancel {first}").click()
    button(ann.get_by_role("dialog"), "Cancel the job").click()
    told(ann, f"Cancelled {first}.")
    expect(rows(ann, "Waiting jobs")).to_have_count(1)
    assert queues.stats("waiting")["ready"] == 1
    rows(ann, "Waiting jobs").first.click()
    button(ann.get_by_role("dialog"), "Cancel the job").click()
    button(ann.get_by_role("dialog", name="Cancel this job?"), "Cancel the job").click()
    told(ann, f"Cancelled {second}.")
    assert queues.stats("waiting")["ready"] == 0


def test_what_is_in_flight_shows_its_worker_and_a_lease_that_runs_down(ann: Page, queues: Queues) -> None:
    queues.make("flight", 1)
    queues.call("queue/claim", queue="flight", worker="worker-7", lease_ms=HOUR_MS)
    visit(ann, "#/queues/flight?tab=leased")
    row = rows(ann, "Jobs in flight")
    expect(row).to_contain_text("worker-7")
    left = row.locator("td").nth(4)
    expect(left).to_have_text(re.compile(r"(1 h 0 min|59 min \d+ s)"))
    expect(left).to_have_text(re.compile(r"59 min \d+ s"))
    shown = left.inner_text()
    expect(left).not_to_have_text(shown)


def test_a_job_is_found_by_its_id_from_a_link_too(ann: Page, queues: Queues) -> None:
    (id,) = queues.make("find", 1)
    ann.get_by_label("Find a job by its id").fill(f" {id} ")
    button(ann, "Find").click()
    expect(ann.get_by_role("dialog")).to_contain_text(id)
    other = ann.context.new_page()
    open_console(other, queues.server, ann.url.split("/console/")[1])
    expect(other.get_by_role("dialog")).to_contain_text('"n": 0')
    visit(ann, "#/queues?job=1-0")
    expect(ann.get_by_role("dialog").get_by_role("alert")).to_be_visible()


def test_depth_and_age_are_drawn_over_time(ann: Page, queues: Queues) -> None:
    queues.make("a-plot", 3)
    visit(ann, "#/queues/a-plot?range=15m")
    depth = ann.get_by_role("group", name=re.compile("^Depth: ready 3, delayed 0, in flight 0, dead 0"))
    expect(depth).to_be_visible(timeout=25_000)
    expect(ann.get_by_role("group", name=re.compile(r"^Oldest job: age \d"))).to_be_visible()
    button(ann, "6 h").click()
    assert "range=6h" in ann.url
    expect(depth).to_be_visible()


def test_many_jobs_have_pages_that_links_lead_to(ann: Page, queues: Queues) -> None:
    ids = queues.make("pages", 120)
    visit(ann, "#/queues/pages")
    expect(rows(ann, "Waiting jobs")).to_have_count(50)
    ann.get_by_role("link", name="Next page").click()
    expect(rows(ann, "Waiting jobs").first).to_contain_text(ids[50])
    ann.get_by_role("link", name="Next page").click()
    expect(rows(ann, "Waiting jobs")).to_have_count(20)
    expect(ann.get_by_text("This is the last page.")).to_be_visible()
    ann.go_back()
    expect(rows(ann, "Waiting jobs").first).to_contain_text(ids[50])
    ann.get_by_role("link", name="First page").click()
    expect(rows(ann, "Waiting jobs").first).to_contain_text(ids[0])
    ann.get_by_role("link", name="Next page").click()
    ann.get_by_role("tab", name="Dead").click()
    assert "after=" not in ann.url


# Recurring ------------------------------------------------------------------------------------


def test_a_recurring_job_is_added_changed_and_removed(ann: Page, queues: Queues) -> None:
    queues.make("recurring")
    visit(ann, "#/queues/recurring?tab=recurring")
    button(ann, "Add a recurring job …").click()
    dialog = ann.get_by_role("dialog")
    dialog.get_by_label("Name").fill("nightly")
    dialog.get_by_label("Cron expression").fill("99 3 * * *")
    dialog.get_by_label("Payload").fill('{"report": true}')
    button(dialog, "Add it").click()
    expect(dialog.get_by_role("alert")).to_contain_text("99")
    dialog.get_by_label("Cron expression").fill("0 3 * * *")
    dialog.get_by_label("Time zone").fill("Europe/Berlin")
    button(dialog, "Add it").click()
    told(ann, "nightly recurs from now on.")
    row = rows(ann, "Recurring jobs")
    expect(row).to_contain_text("0 3 * * * Europe/Berlin")
    (kept,) = queues.call("queue/schedules")["schedules"]
    assert (kept["data"], kept["cron"]) == ({"report": True}, "0 3 * * *")
    button(ann, "Change nightly").click()
    dialog.get_by_label("Recurs").select_option("every")
    dialog.get_by_label("Every so many seconds").fill("600")
    button(dialog, "Change it").click()
    told(ann, "Changed nightly.")
    expect(row).to_contain_text("every 10 min")
    (kept,) = queues.call("queue/schedules")["schedules"]
    assert (kept["every_ms"], kept.get("cron", "")) == (600_000, "")
    button(ann, "Remove nightly").click()
    button(dialog, "Remove it").click()
    told(ann, "nightly recurs no more.")
    expect(ann.get_by_text("Nothing recurs in this queue")).to_be_visible()
    assert queues.call("queue/schedules") == {"schedules": []}


# Dead letters -----------------------------------------------------------------------------------


def test_a_dead_letter_tells_its_reason_and_traceback_and_is_redriven_edited(
    ann: Page, queues: Queues
) -> None:
    (id,) = queues.bury("edit", 1, reason="ValueError: <b>no</b>")
    visit(ann, "#/queues/edit?tab=dead")
    expect(rows(ann, "Dead letters")).to_contain_text("ValueError: <b>no</b>")
    rows(ann, "Dead letters").first.click()
    dialog = ann.get_by_role("dialog")
    expect(dialog.locator("pre").first).to_have_text(TRACEBACK)
    button(dialog, "Edit and redrive …").click()
    payload = dialog.get_by_label("Payload")
    expect(payload).to_have_value('{\n  "n": 0\n}')
    payload.fill("{no")
    expect(button(dialog, "Redrive with this payload")).to_be_disabled()
    payload.fill(f'{{"n": {LONG}}}')
    button(dialog, "Redrive with this payload").click()
    told(ann, re.compile("waits again, with the new payload"))
    job = queues.job(id)
    assert (job["state"], job["data"]) == ("waiting", {"n": LONG})
    expect(ann.get_by_text("Nothing died")).to_be_visible()


def test_one_dead_letter_is_redriven_or_removed(ann: Page, queues: Queues) -> None:
    first, second = queues.bury("one", 2)
    visit(ann, f"#/queues/one?tab=dead&job={first}")
    button(ann.get_by_role("dialog"), "Redrive").click()
    told(ann, f"{first} waits again.")
    assert queues.job(first)["state"] == "waiting"
    visit(ann, f"#/queues/one?tab=dead&job={second}")
    button(ann.get_by_role("dialog"), "Remove").click()
    button(ann.get_by_role("dialog", name="Remove this dead letter?"), "Remove it").click()
    told(ann, f"Removed {second}.")
    assert queues.stats("one")["dead"] == 0


def test_chosen_dead_letters_are_redriven_and_removed(ann: Page, queues: Queues) -> None:
    ids = queues.bury("chosen", 5)
    visit(ann, "#/queues/chosen?tab=dead")
    for id in ids[1:3]:
        ann.get_by_label(f"Choose {id}").check()
    button(ann, "Redrive 2 chosen").click()
    told(ann, "2 jobs wait again.")
    states = [queues.job(id)["state"] for id in ids]
    assert states == ["dead", "waiting", "waiting", "dead", "dead"]
    expect(rows(ann, "Dead letters")).to_have_count(3)
    button(ann, "Choose this page").click()
    button(ann, "Remove 3 chosen").click()
    button(ann.get_by_role("dialog"), "Remove them").click()
    told(ann, "Removed 3 dead letters.")
    assert queues.stats("chosen")["dead"] == 0


def redrive_all(page: Page, per_second: int) -> None:
    """Begin to redrive all."""
    button(page, "Redrive all …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("At most so many a second").fill(str(per_second))
    button(dialog, "Redrive them").click()


def test_ten_thousand_dead_letters_are_redriven_with_progress(ann: Page, queues: Queues) -> None:
    queues.bury("ten-thousand", 10_000)
    visit(ann, "#/queues/ten-thousand?tab=dead")
    redrive_all(ann, 4_000)
    running = ann.get_by_role("group", name="Redriving dead letters of ten-thousand")
    expect(running).to_contain_text(re.compile(r"[1-9],000 of 10,000 jobs, .* left"))
    expect(running).to_contain_text("only while this page is open")
    expect(button(ann, "Redrive all …")).to_be_disabled()
    ann.get_by_role("link", name="Overview").click()  # it goes on there
    expect(ann.get_by_role("heading", name="Overview")).to_be_visible()
    ann.go_back()
    expect(running).to_contain_text("10,000 of 10,000 jobs, in", timeout=30_000)
    found = queues.stats("ten-thousand")
    assert (found["dead"], found["ready"]) == (0, 10_000)
    button(running, "Dismiss").click()
    expect(running).to_be_hidden()
    records = queues.call("stream/audit", what="redrive", name="ten-thousand")["records"]
    assert {record["who"] for record in records} == {"console:ann"}


def test_redriving_keeps_to_its_rate_and_stops_when_told(ann: Page, queues: Queues) -> None:
    queues.bury("rate", 100)
    visit(ann, "#/queues/rate?tab=dead")
    redrive_all(ann, 10)
    running = ann.get_by_role("group", name="Redriving dead letters of rate")
    expect(running).to_contain_text("10 of 100 jobs")
    button(running, "Stop").click()
    expect(running).to_contain_text("Stopped after")
    found = queues.stats("rate")
    assert found["ready"] in (10, 20, 30)
    assert found["ready"] + found["dead"] == 100


# Ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["waiting", "dead", "done"])
def test_a_purge_takes_the_name_of_the_queue(ann: Page, queues: Queues, state: str) -> None:
    queue = f"purge-{state}"
    if state == "dead":
        queues.bury(queue, 2_500)
    else:
        queues.make(queue, 3)
    if state == "done":
        queues.call("queue/declare", queue=queue, options={"result_ms": HOUR_MS})
        jobs = queues.call("queue/claim", queue=queue, limit=3)["jobs"]
        acked = [{"id": job["id"], "fence": job["fence"], "deed": "ack"} for job in jobs]
        queues.call("queue/settle", settlements=acked)
    visit(ann, f"#/queues/{queue}?tab={state}")
    button(ann, "Purge all …").click()
    dialog = ann.get_by_role("dialog")
    dialog.get_by_label(re.compile("^Type")).fill("another")
    expect(button(dialog, "Purge")).to_be_disabled()
    dialog.get_by_label(re.compile("^Type")).fill(queue)
    button(dialog, "Purge").click()
    count = "2,500" if state == "dead" else "3"
    purging = ann.get_by_role("group", name=re.compile("^Purging"))
    expect(purging).to_contain_text(f"{count} of {count} jobs, in")
    found = queues.stats(queue)
    assert (found["ready"], found["dead"], found["done"]) == (0, 0, 0)


def test_a_queue_is_dropped_by_its_name(ann: Page, queues: Queues) -> None:
    queues.make("drop", 2)
    visit(ann, "#/queues/drop?tab=options")
    expect(ann.get_by_text("Tried again after")).to_be_visible()
    button(ann, "Drop the queue …").click()
    dialog = ann.get_by_role("dialog")
    expect(button(dialog, "Drop the queue")).to_be_disabled()
    dialog.get_by_label(re.compile("^Type")).fill("drop")
    button(dialog, "Drop the queue").click()
    told(ann, "Dropped drop with 2 jobs.")
    assert "drop" not in {each["queue"] for each in queues.call("queue/list")["queues"]}
    expect(ann.get_by_role("heading", name="Queues")).to_be_visible()


# Everybody ------------------------------------------------------------------------------------


def test_who_may_only_read_sees_all_and_can_press_nothing(page: Page, queues: Queues) -> None:
    (id,) = queues.bury("read", 1)
    (waiting,) = queues.make("read", 1)
    queues.call("queue/schedule", name="read", queue="read", every_ms=HOUR_MS, data=1)
    open_console(page, queues.server, "#/queues/read", as_name="bob")
    for name in ("Pause", f"Cancel {waiting}", "Purge all …"):
        expect(button(page, name)).to_be_disabled()
    expect(button(page, "Pause")).to_have_attribute("title", re.compile("read-only"))
    page.get_by_role("tab", name="Dead").click()
    page.get_by_label(f"Choose {id}").check()
    for name in ("Redrive 1 chosen", "Remove 1 chosen", "Redrive all …", "Purge all …"):
        expect(button(page, name)).to_be_disabled()
    visit(page, f"#/queues/read?tab=dead&job={id}")
    for name in ("Redrive", "Edit and redrive …", "Remove"):
        expect(button(page.get_by_role("dialog"), name)).to_be_disabled()
    visit(page, "#/queues/read?tab=recurring")
    expect(button(page, "Remove read")).to_be_disabled()
    visit(page, "#/queues/read?tab=options")
    expect(button(page, "Drop the queue …")).to_be_disabled()
    button(page, "Enqueue …").click()
    expect(button(page.get_by_role("dialog"), "Enqueue")).to_be_disabled()
    queues.call("queue/unschedule", name="read")


@pytest.mark.parametrize("text", HOSTILE, ids=["image", "script", "direction", "long"])
def test_what_others_wrote_stays_text(ann: Page, queues: Queues, text: str) -> None:
    queue = f"hostile-{HOSTILE.index(text)}"
    queues.make(queue)
    job = {"key": text, "data": {text: text}, "headers": {text: text}, "message_id": text[:60]}
    queues.call("queue/enqueue", jobs=[{"queue": queue, **job}])
    (claimed,) = queues.call("queue/claim", queue=queue, worker=text)["jobs"]
    visit(ann, f"#/queues/{queue}?tab=leased")
    expect(rows(ann, "Jobs in flight")).to_contain_text(text)
    died = {"id": claimed["id"], "fence": claimed["fence"], "deed": "bury", "reason": text, "details": text}
    queues.call("queue/settle", settlements=[died])
    visit(ann, f"#/queues/{queue}?tab=dead&job={claimed['id']}")
    dialog = ann.get_by_role("dialog")
    expect(dialog.locator("pre").first).to_have_text(text)
    expect(dialog.locator("img, script, b")).to_have_count(0)
    assert ann.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ann.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    ann.keyboard.press("Escape")
    expect(rows(ann, "Dead letters")).to_contain_text(text)
    assert ann.evaluate("document.documentElement.scrollWidth <= innerWidth")


VIEWS = ["", "/looks", *(f"/looks?tab={tab}" for tab in ("leased", "dead", "done", "recurring", "options"))]


@pytest.fixture(scope="module")
def looks(queues: Queues) -> str:
    """A queue with something in each place; the id of a dead letter."""
    (dead,) = queues.bury("looks", 1)
    queues.make("looks", 4)
    queues.make("looks", 1, delay_ms=HOUR_MS)
    queues.call("queue/declare", queue="looks", options={"result_ms": HOUR_MS})
    done, _ = queues.call("queue/claim", queue="looks", worker="worker-1", limit=2)["jobs"]
    acked = {"id": done["id"], "fence": done["fence"], "deed": "ack", "result": {"sent": True}}
    queues.call("queue/settle", settlements=[acked])
    queues.call("queue/schedule", name="looks", queue="looks", cron="0 3 * * *", data={"n": 1})
    return dead


def test_every_view_can_be_used_by_everybody_wide_narrow_and_dark(
    visitors: Visitors, queues: Queues, entered: str, looks: str
) -> None:
    for size, scheme in (((1280, 800), "light"), (NARROW, "dark")):
        page = visitors.page(size, color_scheme=scheme)
        page.context.add_init_script(entered)
        open_console(page, queues.server, "#/queues")
        for view in [*VIEWS, f"/looks?tab=dead&job={looks}"]:
            visit(page, f"#/queues{view}")
            expect(page.locator("table, dl.facts").last).to_be_visible()
            axe(page)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (size, view)


def test_the_forms_can_be_used_by_everybody(ann: Page, queues: Queues, looks: str) -> None:
    for view, opener in (
        ("", "New queue …"),
        ("/looks", "Enqueue …"),
        ("/looks?tab=dead", "Redrive all …"),
        ("/looks?tab=dead", "Purge all …"),
        ("/looks?tab=recurring", "Change looks"),
    ):
        visit(ann, f"#/queues{view}")
        button(ann, opener).click()
        expect(ann.get_by_role("dialog")).to_be_visible()
        axe(ann)
        ann.keyboard.press("Escape")
        expect(ann.get_by_role("dialog")).to_be_hidden()
        expect(button(ann, opener)).to_be_focused()
