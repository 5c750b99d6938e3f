"""The failure lab in a browser: something breaks, and what one watches is neither lost nor doubled."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.seeding import until
from tests.browser.servers import SERVED, Dev, open_console
from tests.browser.sessions import call_as, log_in
from tests.browser.visitors import NARROW, WIDE, Visitors, axe

CUT = "WebSocket connection to"
BREAKS: dict[str, dict[str, Any]] = {
    "lab/cut": {"user": "console:bob"},
    "lab/delay_store": {"delay_ms": 100, "for_ms": 1_000},
    "lab/drop_bus": {"for_ms": 1_000},
    "lab/start_worker": {},
    "lab/stop_worker": {"kill": True},
}


@pytest.fixture
def lab(page: Page, visitors: Visitors, dev: Dev) -> Iterator[Page]:
    """The lab, with a reader that watches."""
    visitors.expect(CUT)
    open_console(page, dev, "#/lab")
    page.get_by_role("button", name="Watch", exact=True).click()
    until(lambda: number(page, "Received") >= 3)
    yield page
    page.get_by_role("button", name="Stop watching").click()
    until(lambda: number(page, "Missing now") == 0)


def number(page: Page, label: str) -> int:
    """Return a number of the lab."""
    stat = page.locator(".stat", has=page.get_by_text(label, exact=True))
    return int(stat.locator("dd").first.inner_text().replace(",", ""))


def card(page: Page, title: str) -> Locator:
    """Return the card of a fault."""
    return page.locator("section.panel", has=page.get_by_role("heading", name=title, exact=True))


def holds(page: Page) -> None:
    """Wait until nothing is missing, and see that all came once and in order."""
    sent = number(page, "Sent")
    until(lambda: number(page, "Received") >= sent + 2 and number(page, "Missing now") == 0)
    assert (number(page, "Twice"), number(page, "Out of order")) == (0, 0)


def connections(dev: Dev) -> list[dict[str, Any]]:
    """Return who is connected for the lab."""
    told: list[dict[str, Any]] = dev.api("connection/list")["result"]["connections"]
    return [connection for connection in told if connection["name"] == "gapless-lab"]


def test_a_reader_that_is_cut_recovers_what_it_missed(lab: Page, dev: Dev) -> None:
    [before] = connections(dev)
    expect(lab.get_by_label("Whose connection")).to_have_value(before["client"])
    lab.get_by_role("button", name="Cut it").click()
    until(lambda: number(lab, "Recovered") > 0)
    [after] = connections(dev)
    assert after["client"] != before["client"]
    holds(lab)
    expect(lab.get_by_role("img", name=re.compile(r"[1-9]\d* were recovered"))).to_be_visible()


def test_anybody_can_be_picked_to_be_cut(lab: Page, visitors: Visitors, dev: Dev) -> None:
    other = visitors.page()
    open_console(other, dev, "#/settings?tab=nodes")
    expect(other.get_by_role("status").first).to_have_text("live")
    consoles = {c["client"] for c in dev.api("connection/list")["result"]["connections"] if c["watches"]}
    picked = lab.get_by_label("Whose connection")
    until(lambda: picked.locator("option", has_text="a console").count() >= 2)
    client = picked.locator("option", has_text="a console").last.get_attribute("value")
    assert client in consoles
    picked.select_option(client)
    lab.get_by_role("button", name="Cut it").click()
    until(lambda: client not in {c["client"] for c in dev.api("connection/list")["result"]["connections"]})
    holds(lab)


def test_the_numbers_are_those_of_the_channel(lab: Page, dev: Dev) -> None:
    lab.get_by_role("button", name="Stop watching").click()
    received = number(lab, "Received")
    told = dev.api("history", channel="lab-numbers", limit=1, reverse=True)["result"]["publications"]
    run = told[0]["data"]["run"]
    kept = dev.api("history", channel="lab-numbers", limit=1000)["result"]["publications"]
    numbers = [message["data"]["n"] for message in kept if message["data"]["run"] == run]
    assert numbers[:received] == list(range(1, received + 1))
    lab.get_by_role("button", name="Watch", exact=True).click()


def test_what_is_published_meanwhile_by_others_is_not_counted(lab: Page, dev: Dev) -> None:
    for data in ({"run": "another", "n": 1}, "no number", None):
        dev.api("publish", channel="lab-numbers", data=data)
    holds(lab)


def test_not_each_number_stands_in_the_audit_stream(lab: Page, dev: Dev) -> None:
    holds(lab)
    assert dev.api("stream/audit", what="publish")["result"]["records"] == []


def test_a_late_store_loses_nothing_and_keeps_the_order(lab: Page, dev: Dev) -> None:
    late = card(lab, "Delay the store")
    late.get_by_label("Delay", exact=True).select_option("2 s")
    late.get_by_label("For", exact=True).select_option("5 s")
    late.get_by_role("button", name="Delay it").click()
    expect(late.locator(".badge")).to_contain_text("on, for")
    assert dev.api("lab/faults")["result"]["faults"]["delay_store"]["delay_ms"] == 2_000
    expect(lab.get_by_text("wait to be sent")).to_be_visible()
    expect(late.locator(".badge")).to_have_count(0, timeout=15_000)
    holds(lab)


def test_a_bus_that_is_dropped_loses_nothing(lab: Page, dev: Dev) -> None:
    drop = card(lab, "Drop the bus")
    drop.get_by_label("For", exact=True).select_option("5 s")
    drop.get_by_role("button", name="Drop it").click()
    expect(drop.locator(".badge")).to_contain_text("on, for")
    assert dev.api("lab/faults")["result"]["faults"]["drop_bus"]["until_ms"] > 0
    until(lambda: number(lab, "Missing now") > 1)
    holds(lab)
    expect(drop.locator(".badge")).to_have_count(0, timeout=15_000)
    holds(lab)


def test_a_job_whose_worker_is_killed_is_done_all_the_same_and_once(page: Page, dev: Dev) -> None:
    open_console(page, dev, "#/lab")
    jobs = card(page, "Stop or kill a worker")
    jobs.get_by_role("button", name="Enqueue jobs").click()
    jobs.get_by_role("button", name="Start a worker").click()
    expect(jobs.get_by_text("a worker runs", exact=True)).to_be_visible()
    until(lambda: number(page, "Being done") > 0)
    killed = worker(dev)["pid"]
    jobs.get_by_role("button", name="Kill it").click()
    expect(jobs.get_by_text("no worker runs")).to_be_visible()
    until(lambda: not psutil.pid_exists(killed))
    jobs.get_by_role("button", name="Start a worker").click()
    until(lambda: number(page, "Begun again") > 0)
    jobs.get_by_role("button", name="Stop enqueuing").click()
    enqueued = number(page, "Enqueued")
    until(lambda: number(page, "Done") >= enqueued and number(page, "Being done") == 0)
    assert number(page, "Done twice") == 0
    [queue] = dev.api("queue/stats", queue="lab-jobs")["result"]["queues"]
    assert (queue["acked"], queue["ready"], queue["dead"]) == (number(page, "Done"), 0, 0)
    jobs.get_by_role("button", name="Stop it").click()
    expect(jobs.get_by_text("no worker runs")).to_be_visible()
    assert not worker(dev)["running"]


def test_a_job_that_ended_twice_would_be_seen_while_others_wait(page: Page, dev: Dev) -> None:
    open_console(page, dev, "#/lab")
    card(page, "Stop or kill a worker").get_by_role("button", name="Enqueue jobs").click()
    until(lambda: number(page, "Waiting") > 0)
    assert number(page, "Done twice") == 0

    def doubled(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        told["result"]["queues"][0]["acked"] += 1
        route.fulfill(response=answer, json=told)

    page.route("**/api/queue/stats", doubled)
    until(lambda: number(page, "Done twice") == 1)
    page.unroute_all(behavior="wait")


def worker(dev: Dev) -> dict[str, Any]:
    """Return how the worker of the lab is."""
    told: dict[str, Any] = dev.api("lab/faults")["result"]["faults"]["worker"]
    return told


def test_a_full_queue_refuses_and_says_so(page: Page, dev: Dev) -> None:
    open_console(page, dev, "#/lab")
    full = card(page, "Fill a queue")
    full.get_by_role("button", name="Fill it").click()
    expect(full.get_by_role("status")).to_contain_text("100 more were taken, then 20 refused. Error 106:")
    [queue] = dev.api("queue/stats", queue="lab-full")["result"]["queues"]
    assert queue["ready"] == 100
    full.get_by_role("button", name="Fill it").click()
    expect(full.get_by_role("status")).to_contain_text("0 more were taken, then 30 refused")
    full.get_by_role("button", name="Remove the queue").click()
    expect(page.get_by_text("Removed the queue lab-full with its 100 jobs.")).to_be_visible()
    assert dev.api("queue/stats", queue="lab-full")["error"]["code"] == 1003


@pytest.mark.parametrize(
    ("arrives", "found"),
    [
        ([1, 2, 3, 4, 5], {"missing": 0, "duplicates": 0, "disordered": 0}),
        ([1, 2, 4], {"missing": 2, "duplicates": 0, "disordered": 0}),
        ([1, 2, 2, 3, 4, 5, 1], {"missing": 0, "duplicates": 2, "disordered": 0}),
        ([1, 3, 2, 4, 5], {"missing": 0, "duplicates": 0, "disordered": 1}),
        ([], {"missing": 5, "duplicates": 0, "disordered": 0}),
    ],
)
def test_the_reader_would_find_what_is_lost_doubled_or_out_of_order(
    page: Page, dev: Dev, arrives: list[int], found: dict[str, int]
) -> None:
    open_console(page, dev, "#/lab")
    counted = page.evaluate(
        """async (arrives) => {
          const { Counting } = await import("./screens/lab/counting.js");
          const counting = new Counting();
          for (const number of arrives) counting.take(number);
          const { duplicates, disordered } = counting;
          return { missing: counting.missing(5), duplicates, disordered };
        }""",
        arrives,
    )
    assert counted == found


def test_a_reader_breaks_nothing(page: Page, tmp_path: Path) -> None:
    users = json.dumps(SERVED["console"]["users"])
    server = Dev(tmp_path, {"console.insecure": "false", "console.users": users})
    server.start()
    try:
        open_console(page, server, "#/lab", as_name="bob")
        expect(page.get_by_role("heading", level=1)).to_have_text("Failure lab")
        for name in ("Watch", "Cut it", "Delay it", "Drop it", "Fill it", "Enqueue jobs", "Start a worker"):
            expect(page.get_by_role("button", name=name, exact=True)).to_be_disabled()
        bob = log_in(server, "bob")
        for method, request in BREAKS.items():
            assert call_as(server, bob, method, **request)["error"]["code"] == 103, method
        assert server.api("lab/faults")["result"]["faults"] == {"worker": {"running": False}}
    finally:
        server.close()


def test_it_can_be_used_by_all_and_fits_on_a_phone(visitors: Visitors, dev: Dev) -> None:
    for size, scheme in ((WIDE, "light"), (NARROW, "dark")):
        page = visitors.page(size, color_scheme=scheme)
        open_console(page, dev, "#/lab")
        page.get_by_role("button", name="Watch", exact=True).click()
        expect(page.get_by_text("reads live")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        axe(page)
