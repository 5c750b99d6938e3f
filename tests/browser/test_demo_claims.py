"""What the demo claims, at its limits: nothing written is dropped, no loss is made up, no word too wide."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.servers import Dev
from tests.browser.train import (
    BOTH,
    NEVER_STOOD_STILL,
    WATCH_TASKS,
    board,
    hears_more,
    history,
    in_tunnel,
    out_again,
    ride,
    say_much,
    texts,
    until,
    write,
)
from tests.browser.visitors import NARROW, WIDE, Visitors, axe

WAITING_MAX = 1_000
SHOWN_ON_THE_LEFT = 300
MANY = 2_000
FIELD = "Message, sent from both phones"

# As somebody types and presses Enter, without a journey to the browser for each.
WRITE_ALL = """
(texts) => {
  const field = document.querySelector("#text");
  for (const text of texts) {
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.form.requestSubmit();
  }
}
"""
# How many publications of the right phone were on their way at once, by what goes over its wire.
WATCH_WIRE = """
(() => {
  const waiting = new Set();
  window.atOnceMax = 0;
  const send = WebSocket.prototype.send;
  const commands = (data) => data.split("\\n").filter(Boolean).map((line) => JSON.parse(line));
  WebSocket.prototype.send = function (data) {
    for (const { id, rpc } of commands(data)) if (rpc) waiting.add(id);
    window.atOnceMax = Math.max(window.atOnceMax, waiting.size);
    this.answers ??= this.addEventListener("message", ({ data }) => {
      for (const { id, rpc } of commands(data)) if (rpc) waiting.delete(id);
    }) ?? true;
    return send.call(this, data);
  };
})()
"""


# What is written inside -------------------------------------------------------------------------


def test_a_thousand_written_in_the_tunnel_arrive_once_in_order_and_the_next_is_refused_aloud(
    page: Page, dev: Dev
) -> None:
    page.add_init_script(WATCH_WIRE)
    _, kept = board(page, dev)
    in_tunnel(page)
    page.evaluate(WATCH_TASKS)
    said = [f"one of many, {number}" for number in range(WAITING_MAX)]
    page.evaluate(WRITE_ALL, said)
    expect(kept.all.locator(".waiting")).to_have_count(WAITING_MAX)
    field = page.get_by_label(FIELD)
    expect(field).to_have_value("")
    alert = page.get_by_role("alert")
    expect(alert).to_have_count(0)

    write(page, "one too many")
    told = "1,000 messages wait. One of them has to go out before you can write another."
    expect(alert).to_have_text(told)
    expect(field).to_have_value("one too many")
    expect(kept.saying("one too many")).to_have_count(0)
    axe(page)

    hears_more(page, dev, 1)
    ride(page, "Out of")
    expect(kept.all.locator(".waiting, .sending")).to_have_count(0, timeout=30_000)
    expect(alert).to_have_count(0)
    page.get_by_role("button", name="Send").click()
    expect(field).to_have_value("")
    until(page, lambda: "one too many" in texts(dev))
    arrived = [text for text in texts(dev) if text.startswith("one ")]
    assert arrived == [*said, "one too many"]
    assert 1 < page.evaluate("window.atOnceMax") <= 50
    assert page.evaluate(NEVER_STOOD_STILL)


def test_what_waited_is_sent_once_when_the_signal_goes_again_amid_it(page: Page, dev: Dev) -> None:
    _, kept = board(page, dev)
    in_tunnel(page)
    said = [f"on and off, {number}" for number in range(300)]
    page.evaluate(WRITE_ALL, said)
    ride(page, "Out of")
    until(page, lambda: said[20] in texts(dev))
    in_tunnel(page)
    expect(kept.all.locator(".waiting").first).to_be_attached()
    ride(page, "Out of")
    expect(kept.all.locator(".waiting, .sending")).to_have_count(0, timeout=30_000)
    assert [text for text in texts(dev) if text in said] == said


def test_what_was_written_inside_hides_no_loss_on_the_left_and_is_none(page: Page, dev: Dev) -> None:
    plain, kept = board(page, dev)
    in_tunnel(page)
    before = plain.ids()
    page.evaluate(WRITE_ALL, [f"not lost, {number}" for number in range(SHOWN_ON_THE_LEFT + 20)])
    hears_more(page, dev, 3)
    ride(page, "Out of")
    expect(kept.all.locator(".waiting, .sending")).to_have_count(0, timeout=30_000)
    arrived = plain.messages.and_(page.locator(":not(.mine)"))
    expect(arrived).not_to_have_count(0)
    sent = [
        item["data"]["id"] for item in history(dev) if not item["data"].get("text", "").startswith("not lost")
    ]
    first = arrived.first.get_attribute("data-id") or ""
    between = sent[sent.index(before[-1]) + 1 : sent.index(first)]
    expect(plain.all.locator(".result")).to_have_text(f"{len(between)} never arrived")


# What is told ------------------------------------------------------------------------------------


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Dev]:
    """A server of its own, to be stopped and started again."""
    with Dev(tmp_path) as dev:
        yield dev


def test_a_new_absence_wipes_what_the_one_before_it_cost(visitors: Visitors, restarted: Dev) -> None:
    page, dev = visitors.page(), restarted
    visitors.expect("ERR_CONNECTION_REFUSED")
    plain, kept = board(page, dev)
    in_tunnel(page)
    hears_more(page, dev, 3)
    out_again(page, kept)
    mark = kept.all.locator(".line.recovery")
    expect(mark).to_have_count(1)
    result = kept.all.locator(".result")
    dev.stop()
    expect(page.get_by_text("Connecting", exact=True)).to_have_count(2)
    expect(result).to_have_text("")
    expect(mark).to_have_count(1)
    before = plain.ids()[-1]
    dev.start()
    expect(page.get_by_text("Online", exact=True)).to_have_count(2)
    until(page, lambda: plain.ids()[-1] != before)
    told = page.evaluate(SINCE, before)
    assert told["result"] == told["lines"], "the left still tells of the ride before"


# The last line of what never arrived after a message on the left, in the words of the result.
SINCE = """
(id) => {
  const row = document.querySelector(`#plain [data-id="${id}"]`);
  const lines = [...document.querySelectorAll("#plain .line.gap")]
    .filter((line) => row.compareDocumentPosition(line) & Node.DOCUMENT_POSITION_FOLLOWING);
  return {
    result: document.querySelector("#plain .result").textContent,
    lines: (lines.at(-1)?.textContent ?? "").replace(/ messages?/, ""),
  };
}
"""


@pytest.mark.parametrize("count", [5, SHOWN_ON_THE_LEFT])
def test_what_has_no_id_is_not_missing_where_it_arrived(page: Page, dev: Dev, count: int) -> None:
    plain, kept = board(page, dev)
    for number in range(count):
        dev.api("broadcast", channels=BOTH, data={"text": f"nameless {count}.{number}"})
    for phone in (plain, kept):
        expect(phone.saying(f"nameless {count}.{count - 1}")).to_have_count(1)
    dev.api("broadcast", channels=BOTH, data={"id": f"named-{count}", "text": "!"})
    for phone in (plain, kept):
        expect(phone.all.locator(f"[data-id=named-{count}]")).to_have_count(1)
    expect(plain.all.locator(".line.gap")).to_have_count(0)
    expect(plain.all.locator(".result")).to_have_text("")


# What is long ------------------------------------------------------------------------------------

TOO_WIDE = """
() => [document.documentElement, ...document.querySelectorAll(".chat, .phone, .caption, .bar")]
  .filter((each) => each.scrollWidth > each.clientWidth)
  .map((each) => `${each.className || each.tagName}: ${each.scrollWidth} in ${each.clientWidth}`)
"""
IS_CUT = "title => title.scrollWidth > title.clientWidth || title.scrollHeight > title.clientHeight + 1"


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_no_word_and_no_name_is_wider_than_a_phone(visitors: Visitors, dev: Dev, size: Any) -> None:
    page = visitors.page(size)
    page.add_init_script(f"sessionStorage.setItem('gapless.demo.name', '{'M' * 300}')")
    plain, kept = board(page, dev)
    long = f"long-{size[0]}"
    dev.api("broadcast", channels=BOTH, data={"id": long, "name": "W" * 300, "text": "W" * 5_000, "at": 1e12})
    dev.api("broadcast", channels=BOTH, data={"id": f"{long}-2", "name": "Noor", "text": "i" * 5_000})
    said = str(size) + "M" * 480
    write(page, said)
    for phone in (plain, kept):
        expect(phone.messages.and_(page.locator(f"[data-id={long}-2]"))).to_have_count(1)
        expect(phone.saying(said)).to_have_count(1)
        when = phone.all.locator(f"[data-id={long}] .when")
        assert when.evaluate("when => when.getBoundingClientRect().right") <= phone.all.evaluate(
            "phone => phone.getBoundingClientRect().right"
        ), "the name hides the time"
    assert page.evaluate(TOO_WIDE) == []


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_a_title_is_whole_beside_a_long_result(visitors: Visitors, dev: Dev, size: Any) -> None:
    page = visitors.page(size)
    plain, kept = board(page, dev)
    in_tunnel(page)
    say_much(dev, MANY)
    ride(page, "Out of")
    expect(kept.all.locator(".result")).to_have_text(re.compile(r"^2,0\d\d recovered in [\d.,]+ ms$"))
    expect(plain.all.locator(".result")).to_have_text(re.compile(r"^2,0\d\d never arrived$"))
    for phone in (plain, kept):
        for part in phone.all.locator("h2, .result").all():
            assert not part.evaluate(IS_CUT), part.inner_text()
