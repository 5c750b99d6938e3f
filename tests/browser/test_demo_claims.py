"""What the demo claims, at its limits: nothing written is dropped, no loss is made up, no word too wide."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.servers import Dev
from tests.browser.train import (
    BOTH,
    board,
    in_tunnel,
    ride,
    say_much,
    write,
)
from tests.browser.visitors import NARROW, WIDE, Visitors

MANY = 2_000


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
