"""The demo: two phones on a train, a tunnel, and what each of them shows afterwards."""

import http.client
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.servers import Dev
from tests.browser.train import (
    BOTH,
    NEVER_STOOD_STILL,
    WATCH_TASKS,
    Phone,
    board,
    hears_more,
    history,
    ids_of,
    in_tunnel,
    is_slice,
    out_again,
    ride,
    say_much,
    texts,
    until,
    write,
)
from tests.browser.visitors import Visitors, axe
from tests.program import Program

WEB = Path(__file__).parents[2] / "src/gapless/web/demo"
MISSED_MIN = 4
SCROLLED = 2_000
STEP_PX = 3_000
SHOWN_MAX = 160
BURST = 2_000
KEPT_MAX = 5_000


# The tunnel -----------------------------------------------------------------------------------


def test_what_a_tunnel_takes_from_one_phone_the_other_gets_back_in_order(page: Page, dev: Dev) -> None:
    plain, kept = board(page, dev)
    in_tunnel(page)
    before = plain.ids()
    hears_more(page, dev, MISSED_MIN)
    assert plain.ids() == before, "a phone heard something in the tunnel"
    out_again(page, kept)
    until(page, lambda: plain.ids()[-1] not in before)

    sent = ids_of(history(dev))
    left, right = plain.ids(), kept.ids()
    assert is_slice(right, sent), "the right phone has a hole, or another order"
    assert right[-1] in sent[-3:]
    first_after = next(id for id in left if id not in before)
    between = sent[sent.index(before[-1]) + 1 : sent.index(first_after)]
    assert len(between) >= MISSED_MIN
    assert not set(between) & set(left)
    assert set(between) <= set(right)
    gap = plain.all.locator(".line.gap")
    expect(gap).to_have_text(f"{len(between)} messages never arrived")
    expect(plain.all.locator(".result")).to_have_text(f"{len(between)} never arrived")


def test_the_mark_counts_what_was_recovered(page: Page, dev: Dev) -> None:
    _, kept = board(page, dev)
    in_tunnel(page)
    before = kept.ids()
    hears_more(page, dev, MISSED_MIN)
    out_again(page, kept)
    sent = ids_of(history(dev))
    start = sent.index(before[-1]) + 1
    marked = kept.ids(".recovered")
    assert marked == sent[start : start + len(marked)]
    mark = kept.all.locator(".line.recovery")
    expect(mark).to_have_text(re.compile(f"^{len(marked)} messages recovered in"))
    follows = mark.evaluate("line => line.nextElementSibling.dataset.id")
    assert follows == marked[0]


def test_the_connections_are_really_cut(page: Page, dev: Dev) -> None:
    board(page, dev)
    assert len(connections(dev)) == 2
    page.get_by_role("button", name="How it works").click()
    page.get_by_role("button", name="The wire").click()
    in_tunnel(page)
    until(page, lambda: not connections(dev))
    expect(page.get_by_text("socket gone (1006)")).to_have_count(2)
    ride(page, "Out of")
    expect(page.locator(".frame.kept .kind", has_text="recover from").first).to_be_visible()


def connections(dev: Dev) -> list[Any]:
    found: list[Any] = dev.api("connection/list")["result"]["connections"]
    return [each for each in found if each["name"] == "gapless-demo"]


# A long tunnel --------------------------------------------------------------------------------


@pytest.fixture
def busy(tmp_path: Path) -> Any:
    """A server of its own, where much is said."""
    with Dev(tmp_path) as dev:
        yield dev


def test_thousands_that_were_missed_come_back_in_order_without_stopping_the_page(
    page: Page, busy: Dev
) -> None:
    _, kept = board(page, busy)
    in_tunnel(page)
    before = kept.ids()[-1]
    say_much(busy, BURST)
    page.evaluate(WATCH_TASKS)
    ride(page, "Out of")
    mark = kept.all.locator(".result")
    expect(mark).to_have_text(re.compile(r"^2,0\d\d recovered in [\d.,]+ ms$"))
    count = int(mark.inner_text().split()[0].replace(",", ""))

    chat = kept.all.locator(".chat").element_handle()
    recovered = set(kept.ids(".recovered"))
    shown = [kept.ids()]
    while not kept.all.locator(".line.recovery").count():
        shown.append(page.evaluate(SCROLL, [chat, -STEP_PX])["ids"])
        recovered.update(kept.ids(".recovered"))
    whole = ids_of(history(busy))
    assert all(is_slice(step, whole) for step in shown), "something is doubled, or left out"
    start = whole.index(before) + 1
    assert recovered == set(whole[start : start + count])
    assert {f"old-{number}" for number in range(BURST)} <= recovered
    assert page.evaluate(NEVER_STOOD_STILL)


def test_a_burst_outside_arrives_on_both_phones_without_stopping_the_page(page: Page, busy: Dev) -> None:
    phones = board(page, busy)
    page.evaluate(WATCH_TASKS)
    say_much(busy, BURST)
    for phone in phones:
        expect(phone.all.locator(f"[data-id=old-{BURST - 1}]")).to_be_visible()
        expect(phone.all.locator(".line.gap")).to_have_count(0)
    assert page.evaluate(NEVER_STOOD_STILL)


def test_a_position_that_is_gone_is_told_on_both_phones(page: Page, busy: Dev) -> None:
    plain, kept = board(page, busy)
    in_tunnel(page)
    last = int(kept.messages.last.get_attribute("data-key") or 0)
    say_much(busy, KEPT_MAX + 300)
    ride(page, "Out of")
    expect(kept.all.locator(".result")).to_have_text("Could not recover")
    line = kept.all.locator(".line.not-recovered")
    told = r"^Could not recover: the position is gone\. (3\d\d) messages or more are not kept any more$"
    expect(line).to_have_text(re.compile(told))
    found = re.match(told, line.inner_text())
    assert found
    assert 300 <= int(found[1]) <= history(busy)[0]["offset"] - last - 1
    expect(plain.all.locator(".line.gap")).to_have_text(re.compile(r"^about 5,3\d\d messages never arrived$"))
    expect(plain.all.locator(".result")).to_have_text(re.compile(r"^about 5,3\d\d never arrived$"))

    chat = kept.all.locator(".chat").element_handle()
    shown = [page.evaluate(SCROLL, [chat, -STEP_PX])["ids"] for _ in range(3)]
    whole = ids_of(history(busy))
    assert all(is_slice(step, whole) for step in shown), "something is doubled, or left out"
    in_tunnel(page)
    hears_more(page, busy, 1)
    out_again(page, kept)


def test_another_history_is_told_on_both_phones(page: Page, busy: Dev) -> None:
    plain, kept = board(page, busy)
    in_tunnel(page)
    busy.stop()
    for path in busy.folder.glob("gapless.db*"):
        path.unlink()
    busy.start()
    ride(page, "Out of")
    expect(kept.all.locator(".line.not-recovered")).to_have_text(
        "Could not recover: the channel has another history now"
    )
    expect(plain.all.locator(".line.gap")).to_have_text("nobody can tell how many never arrived")


# Sending --------------------------------------------------------------------------------------


def test_what_is_written_outside_arrives_on_both_phones_once(page: Page, dev: Dev) -> None:
    plain, kept = board(page, dev)
    write(page, "hello from outside")
    for phone in (plain, kept):
        expect(phone.saying("hello from outside")).to_have_count(1)
        expect(phone.saying("hello from outside").locator(".when")).to_have_text(re.compile(r"^\d\d:\d\d$"))
    assert texts(dev).count("hello from outside") == 1


def test_what_is_written_in_the_tunnel_waits_and_arrives_once(page: Page, dev: Dev) -> None:
    plain, kept = board(page, dev)
    in_tunnel(page)
    said = [f"from the tunnel, {number}" for number in range(3)]
    for text in said:
        write(page, text)
        expect(kept.saying(text)).to_contain_text("waits for a signal")
        expect(plain.saying(text)).to_contain_text("not sent")
    hears_more(page, dev, 1)
    out_again(page, kept)
    expect(kept.all.locator(".waiting, .sending")).to_have_count(0)
    assert [text for text in texts(dev) if text in said] == said
    for text in said:
        expect(kept.saying(text)).to_have_count(1)
        expect(plain.saying(text)).to_contain_text("not sent")


def test_what_was_sent_is_not_doubled_when_its_answer_was_lost(page: Page, dev: Dev) -> None:
    cut: list[str] = []

    def between(route: Any) -> None:
        server = route.connect_to_server()

        def from_server(message: str) -> None:
            if '"rpc"' in message and not cut:
                cut.append(message)
                route.close(code=1012)
                server.close()
            else:
                route.send(message)

        server.on_message(from_server)

    page.route_web_socket(re.compile("/connection/websocket"), between)
    _, kept = board(page, dev)
    write(page, "only once, please")
    until(page, lambda: bool(cut))
    out = kept.all.locator(".waiting, .sending")
    expect(out).to_have_count(0)
    until(page, lambda: page.evaluate("sessionStorage.getItem('gapless.demo.outbox')") == "[]")
    assert texts(dev).count("only once, please") == 1
    expect(kept.saying("only once, please")).to_have_count(1)


def test_what_waits_outlasts_a_reload(page: Page, dev: Dev) -> None:
    board(page, dev)
    in_tunnel(page)
    write(page, "written before the reload")
    page.reload()
    expect(Phone(page, "kept").saying("written before the reload")).to_have_count(1)
    until(page, lambda: texts(dev).count("written before the reload") == 1)


# Scrolling ------------------------------------------------------------------------------------

SCROLL = """
async ([list, byPx]) => {
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const top = list.getBoundingClientRect().top;
  const rows = () => [...list.querySelectorAll(".message")];
  const row = rows().find((each) => each.getBoundingClientRect().bottom > top);
  const beforePx = row.getBoundingClientRect().top;
  const room = byPx < 0 ? list.scrollTop : list.scrollHeight - list.clientHeight - list.scrollTop;
  const movedPx = Math.min(Math.abs(byPx), room);
  list.scrollBy(0, byPx);
  for (let frame = 0; frame < 3 || document.querySelector("[aria-busy=true]"); frame++) await painted();
  return {
    jumpPx: row.isConnected ? Math.abs(Math.abs(row.getBoundingClientRect().top - beforePx) - movedPx) : -1,
    ids: rows().map((each) => each.dataset.id),
    isBeginning: Boolean(list.querySelector(".past")?.textContent.includes("The beginning")),
    restPx: list.scrollHeight - list.clientHeight - list.scrollTop,
  };
}
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server whose conversation is long already."""
    with Dev(tmp_path_factory.mktemp("old")) as dev:
        say_much(dev, SCROLLED)
        yield dev


def test_scrolling_back_shows_each_message_once_and_never_jumps(page: Page, old: Dev) -> None:
    _, kept = board(page, old)
    chat = kept.all.locator(".chat").element_handle()
    shown = [page.evaluate(SCROLL, [chat, -STEP_PX])]
    while not shown[-1]["isBeginning"]:
        shown.append(page.evaluate(SCROLL, [chat, -STEP_PX]))
    while shown[-1]["restPx"] > 1 or page.locator(".to-newest").count():
        shown.append(page.evaluate(SCROLL, [chat, STEP_PX]))
    whole = ids_of(history(old))
    for step in shown:
        assert is_slice(step["ids"], whole), "something is doubled, or left out"
        assert len(step["ids"]) <= SHOWN_MAX
        assert 0 <= step["jumpPx"] <= 1, "the conversation jumped"
    assert {f"old-{number}" for number in range(SCROLLED)} <= {id for step in shown for id in step["ids"]}
    hears_more(page, old, 1)
    until(page, lambda: kept.ids()[-1] in ids_of(history(old))[-2:])


def test_somebody_who_reads_what_was_said_is_told_of_what_is_new(page: Page, old: Dev) -> None:
    _, kept = board(page, old)
    chat = kept.all.locator(".chat").element_handle()
    page.evaluate(SCROLL, [chat, -STEP_PX])
    page.evaluate(SCROLL, [chat, -STEP_PX])
    shown = kept.ids()
    to_newest = kept.all.get_by_role("button", name=re.compile("new message"))
    expect(to_newest).to_be_visible()
    assert kept.ids()[-1] == shown[-1]
    to_newest.click()
    until(page, lambda: kept.ids()[-1] in ids_of(history(old))[-2:])
    expect(to_newest).to_have_count(0)


# People, the drawer, small screens ------------------------------------------------------------


def test_two_people_see_each_other_come_talk_and_go(page: Page, visitors: Visitors, dev: Dev) -> None:
    _, kept = board(page, dev)
    other = visitors.page()
    _, others = board(other, dev)
    for phone in (kept, others):
        expect(phone.all.get_by_text("2 online")).to_be_visible()
    name = other.locator(".me strong").inner_text()
    expect(kept.all.get_by_role("img", name=re.compile(f"2 people online: .*{name}"))).to_be_visible()
    write(other, "do you see me?")
    expect(kept.saying("do you see me?").locator(".author")).to_contain_text(name)
    in_tunnel(other)
    expect(kept.all.get_by_text("1 online")).to_be_visible()
    ride(other, "Out of")
    expect(kept.all.get_by_text("2 online")).to_be_visible()
    other.close()
    expect(kept.all.get_by_text("1 online")).to_be_visible()


def test_the_drawer_shows_the_very_lines_that_run(page: Page, dev: Dev) -> None:
    board(page, dev)
    button = page.get_by_role("button", name="How it works")
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("heading", name="How it works")).to_be_focused()
    page.locator(".steps details:not([open]) summary").evaluate_all("all => all.forEach(one => one.click())")
    parts = page.locator(".code")
    expect(parts).to_have_count(11)
    for part in parts.all():
        source = (WEB / part.locator("figcaption").inner_text()).read_text()
        lines = {line.strip() for line in source.splitlines()}
        expect(part.locator("code")).not_to_be_empty()
        shown = [line.strip() for line in part.locator("code").inner_text().splitlines() if line.strip()]
        assert shown
        assert set(shown) <= lines
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="How it works")).to_have_count(0)
    expect(button).to_be_focused()


def test_the_wire_is_shown_as_it_was_and_bounded(page: Page, dev: Dev) -> None:
    board(page, dev)
    page.get_by_role("button", name="How it works").click()
    page.get_by_role("button", name="The wire").click()
    for number in range(3):
        commands = [
            {"broadcast": {"channels": BOTH, "data": {"id": f"wire-{number}-{n}", "text": "!"}}}
            for n in range(60)
        ]
        dev.api("batch", commands=commands)
    expect(page.locator(".frame", has_text="message").nth(150)).to_be_attached()
    assert page.locator(".frame").count() <= 200
    frame = page.locator(".frame.kept", has_text=re.compile(r"message \d+")).first
    frame.locator("summary").click()
    expect(frame.locator("pre")).to_contain_text('"push"')


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_keeps_anybody_out(visitors: Visitors, dev: Dev, scheme: Any) -> None:
    page = visitors.page(color_scheme=scheme, reduced_motion="reduce")
    _, kept = board(page, dev)
    axe(page)
    in_tunnel(page)
    write(page, f"from a tunnel that is {scheme}")
    expect(kept.saying(f"from a tunnel that is {scheme}")).to_be_visible()
    axe(page)
    hears_more(page, dev, 1)
    out_again(page, kept)
    page.get_by_role("button", name="How it works").click()
    axe(page)


def test_one_phone_at_a_time_fits_on_a_phone(narrow_page: Page, dev: Dev) -> None:
    board(narrow_page, dev)
    assert narrow_page.evaluate("document.documentElement.scrollWidth") <= 380
    assert narrow_page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    kept = narrow_page.locator("#kept")
    expect(kept).not_to_be_in_viewport()
    front = narrow_page.get_by_role("group", name="Phone in front")
    front.get_by_role("button", name="gapless").click()
    expect(kept).to_be_in_viewport(ratio=0.95)
    expect(front.get_by_role("button", name="gapless")).to_have_attribute("aria-pressed", "true")
    in_tunnel(narrow_page)
    hears_more(narrow_page, dev, MISSED_MIN)
    out_again(narrow_page, Phone(narrow_page, "kept"))
    expect(kept.locator(".recovered").last).to_be_in_viewport()
    expect(kept.locator(".to-newest")).to_have_count(0)
    narrow_page.get_by_role("button", name="How it works").click()
    assert narrow_page.evaluate("document.documentElement.scrollWidth") <= 380
    axe(narrow_page)


def test_the_train_is_driven_by_the_keyboard_too(page: Page, dev: Dev) -> None:
    board(page, dev)
    button = page.get_by_role("button", name="Into the tunnel")
    button.focus()
    page.keyboard.press("Enter")
    out = page.get_by_role("button", name="Out of the tunnel")
    expect(out).to_be_focused()
    expect(page.get_by_role("region", name="The train").get_by_role("status")).to_contain_text(
        "No signal for"
    )
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Into the tunnel")).to_be_focused()


# What is hostile ------------------------------------------------------------------------------

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
HOSTILE: list[Any] = [
    {"id": "same", "name": MARKUP, "text": MARKUP},
    {"id": "same", "name": "Twin", "text": "the same id again"},
    {"id": 7, "name": {"toString": 1}, "text": ["a"], "at": "soon"},
    {"id": "__proto__", "name": "constructor", "text": "\u202egnirts", "at": 1e308},
    {"name": "N" * 5_000, "text": "T" * 50_000},
    "text alone",
    7,
    [],
    {},
]


def test_what_is_hostile_stays_text(visitors: Visitors, dev: Dev) -> None:
    page = visitors.page()
    page.add_init_script(f"sessionStorage.setItem('gapless.demo.name', {json.dumps(MARKUP)})")
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    plain, kept = board(page, dev)
    for data in HOSTILE:
        dev.api("broadcast", channels=BOTH, data=data)
    expect(kept.saying("the same id again")).to_have_count(1)
    for phone in (plain, kept):
        expect(phone.saying("text alone")).to_have_count(1)
        expect(phone.messages.locator("img, script")).to_have_count(0)
    expect(kept.saying(MARKUP)).to_have_count(1)
    write(page, MARKUP)
    expect(kept.saying(MARKUP)).to_have_count(2)
    in_tunnel(page)
    hears_more(page, dev, 1)
    out_again(page, kept)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_server_that_is_run_for_others_has_neither_demo_nor_lab(served: Program) -> None:
    for method, path in (("GET", "/demo"), ("GET", "/demo/"), ("GET", "/demo/about.json")):
        assert status(served, method, path) == 404
    for name in ("faults", "cut", "delay_store", "drop_bus", "start_worker", "stop_worker"):
        assert status(served, "POST", f"/api/lab/{name}") == 404


def status(server: Program, method: str, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, b"{}", {"X-API-Key": "key"})
        return connection.getresponse().status
    finally:
        connection.close()
