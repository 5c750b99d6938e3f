"""The playground in a browser: tokens are made and checked, and what a user may do is tried for real."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.servers import SECRET, SERVED, Dev, open_console
from tests.browser.visitors import NARROW, WIDE, Visitors, axe
from tests.conftest import ROOT
from tests.program import API_KEY, Program

CHANNEL = "news"
HOSTILE = ('"><script>alert(1)</script>', "<img src=x onerror=alert(1)>", "\u202eswen", "x" * 255)
RULES = {
    "channel": {
        "namespaces": [
            {"name": "closed"},
            {
                "name": "members",
                "allow_subscribe_for_client": True,
                "allow_publish_for_subscriber": True,
                "allow_history_for_subscriber": True,
                "allow_presence_for_subscriber": True,
                "presence": True,
                "history_size": 100,
                "history_ttl": "1h",
                "force_recovery": True,
            },
        ]
    }
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A server whose namespaces allow different things."""
    with Program(tmp_path_factory.mktemp("playground"), SERVED, RULES) as server:
        yield server


def panel(page: Page, title: str) -> Locator:
    """Return a panel by its heading."""
    return page.locator("section.panel", has=page.get_by_role("heading", name=title, exact=True))


def steps(page: Page) -> Locator:
    """Return what the server answered, step by step."""
    return page.locator(".transcript li")


def open_at(page: Page, server: Program, query: str, *, as_name: str = "ann") -> None:
    """Open the playground."""
    open_console(page, server, f"#/playground?{query}", as_name=as_name)


# Tokens --------------------------------------------------------------------------------------


def made(page: Page) -> dict[str, Any]:
    """Make a token, and return what it says, held against the secret of the server."""
    page.get_by_role("button", name="Make a token").click()
    field = panel(page, "The token").get_by_label("Token", exact=True)
    expect(field).to_have_value(re.compile(r"[\w-]+\.[\w-]+\.[\w-]+"))
    told: dict[str, Any] = jwt.decode(field.input_value(), SECRET, ["HS256"])
    return told


def test_a_token_is_made_with_all_that_is_asked_for(page: Page, server: Program) -> None:
    open_at(page, server, "tab=make")
    page.get_by_label("User", exact=True).fill("maria")
    page.get_by_label("Good for").select_option("an hour")
    page.get_by_label("Info").fill('{"name": "Maria"}')
    page.get_by_label("Further claims").fill('{"channels": ["news"]}')
    claims = made(page)
    assert claims["sub"] == "maria"
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["info"] == {"name": "Maria"}
    assert claims["channels"] == ["news"]
    expect(panel(page, "The token")).to_contain_text("Good until")


def test_in_development_tokens_are_made_without_a_word_of_configuration(page: Page, tmp_path: Path) -> None:
    with Dev(tmp_path, {}) as dev:
        open_at(page, dev, "tab=make", as_name="")
        page.get_by_label("User", exact=True).fill("ada")
        page.get_by_role("button", name="Make a token").click()
        expect(panel(page, "The token").get_by_label("Token", exact=True)).to_have_value(
            re.compile(r"\w+\.\w+\.")
        )
        open_at(page, dev, "user=ada&channel=chat", as_name="")
        page.get_by_role("button", name="Try it").click()
        expect(steps(page).last).to_contain_text("subscribed", ignore_case=True)


def test_a_subscription_token_names_its_channel(page: Page, server: Program) -> None:
    open_at(page, server, "tab=make&user=maria&channel=closed:1")
    page.get_by_label("A token for").select_option("subscription")
    assert made(page)["channel"] == "closed:1"


def test_what_is_no_json_is_told_while_it_is_typed(page: Page, server: Program) -> None:
    open_at(page, server, "tab=make")
    page.get_by_label("Further claims").fill("[1]")
    expect(page.get_by_text("This is no JSON object")).to_be_visible()
    expect(page.get_by_role("button", name="Make a token")).to_be_disabled()
    page.get_by_label("Further claims").fill("{")
    expect(page.get_by_text("This is no JSON:")).to_be_visible()
    page.get_by_label("Further claims").fill("")
    expect(page.get_by_role("button", name="Make a token")).to_be_enabled()


def test_a_token_is_copied(visitors: Visitors, server: Program) -> None:
    page = visitors.page(permissions=["clipboard-read", "clipboard-write"])
    open_at(page, server, "tab=make&user=maria")
    made(page)
    page.get_by_role("button", name="Copy the token").click()
    expect(page.get_by_text("Copied the token.")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert jwt.decode(copied, SECRET, ["HS256"])["sub"] == "maria"


@pytest.mark.parametrize(
    ("claims", "key", "said"),
    [
        ({"sub": "maria"}, SECRET, "it connects user 'maria'"),
        ({"sub": "maria", "exp": 1_000_000_000}, SECRET, "expired"),
        ({"sub": "maria"}, "a secret that nobody here has ever heard of", "signature"),
    ],
)
def test_a_token_is_checked_and_why_not_is_said_in_words(
    page: Page, server: Program, claims: dict[str, Any], key: str, said: str
) -> None:
    open_at(page, server, "tab=check", as_name="bob")
    page.get_by_label("Token", exact=True).fill(jwt.encode(claims, key, "HS256"))
    verdict = panel(page, "What the server says of it")
    expect(verdict).to_contain_text(said)
    expect(verdict.locator(".badge")).to_have_text("valid" if "connects" in said else "not valid")
    expect(verdict.locator("pre")).to_contain_text('"sub": "maria"')


def test_what_is_no_token_at_all_is_said_too(page: Page, server: Program) -> None:
    open_at(page, server, "tab=check", as_name="bob")
    for text in ("no token", *HOSTILE):
        page.get_by_label("Token", exact=True).fill(text)
        expect(panel(page, "What the server says of it").locator(".badge")).to_have_text("not valid")


def test_no_token_ever_stands_in_the_address(page: Page, server: Program) -> None:
    open_at(page, server, "tab=make&user=maria")
    made(page)
    token = panel(page, "The token").get_by_label("Token", exact=True).input_value()
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_label("Connection token")).to_have_value(token)
    page.get_by_role("tab", name="Check a token").click()
    page.get_by_label("Token", exact=True).fill(token)
    expect(panel(page, "What the server says of it")).to_contain_text("valid")
    addresses = page.evaluate("[location.href, ...performance.getEntriesByType('resource').map(e => e.name)]")
    assert token not in "".join(addresses)


# Trying --------------------------------------------------------------------------------------


def test_a_user_is_tried_for_real_and_follows_what_comes(page: Page, server: Program) -> None:
    open_at(page, server, f"user=maria&channel={CHANNEL}")
    expect(panel(page, "Why")).to_contain_text("allow_subscribe_for_client")
    expect(panel(page, "Why").locator(".badge")).to_have_text("allowed")
    page.get_by_role("button", name="Try it").click()
    expect(steps(page).filter(has_text="Subscribed")).to_contain_text("recoverable: true")
    presence = server.api("presence", channel=CHANNEL)["result"]["presence"]
    assert [client["user"] for client in presence.values()] == ["maria"]
    server.api("publish", channel=CHANNEL, data={"text": HOSTILE[1]})
    expect(steps(page).last).to_contain_text(HOSTILE[1])
    assert page.locator("main img").count() == 0
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("button", name="Leave")).to_be_disabled()


def test_a_refusal_is_told_with_its_code_and_the_option_that_decides(page: Page, server: Program) -> None:
    open_at(page, server, "user=maria&channel=closed:1")
    why = panel(page, "Why")
    expect(why.locator(".badge")).to_have_text("refused")
    expect(why).to_contain_text("channel.namespaces[0].allow_subscribe_for_client")
    page.get_by_role("button", name="Try it").click()
    expect(steps(page).last).to_contain_text("code: 103")
    why.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings")


def test_a_subscription_token_opens_what_is_closed(page: Page, server: Program) -> None:
    open_at(page, server, "tab=make&user=maria&channel=closed:1")
    page.get_by_label("A token for").select_option("subscription")
    made(page)
    page.get_by_role("button", name="Try it").click()
    expect(panel(page, "Why")).to_contain_text("the subscription token grants it")
    page.get_by_role("button", name="Try it").click()
    expect(steps(page).filter(has_text="Subscribed")).to_be_visible()


@pytest.mark.parametrize("act", ["publish", "history", "presence"])
def test_some_things_only_subscribers_may(page: Page, server: Program, act: str) -> None:
    channel = f"members:{act}"
    open_at(page, server, f"user=maria&channel={channel}&act={act}")
    expect(panel(page, "Why").locator(".badge")).to_have_text("allowed")
    page.get_by_role("button", name="Try it").click()
    expect(steps(page).filter(has_text="Subscribed")).to_be_visible()
    expect(steps(page).filter(has_text="Refused")).to_have_count(0)
    expect(
        steps(page).filter(has_text={"publish": "Published"}.get(act, f"{act.title()} read"))
    ).to_be_visible()
    page.get_by_label("Subscribe first").uncheck()
    page.get_by_role("button", name="Try it").click()
    expect(steps(page).last).to_contain_text("code: 103")


def test_what_is_published_as_a_user_is_stored_with_its_payload(page: Page, server: Program) -> None:
    open_at(page, server, "user=maria&channel=members:stored&act=publish")
    page.get_by_label("Payload").fill("{")
    expect(page.get_by_role("button", name="Try it")).to_be_disabled()
    page.get_by_label("Payload").fill('{"text": "by maria"}')
    page.get_by_role("button", name="Try it").click()
    expect(steps(page).filter(has_text="Published")).to_be_visible()
    [stored] = server.api("history", channel="members:stored", limit=10)["result"]["publications"]
    assert stored["data"] == {"text": "by maria"}
    assert stored["info"]["user"] == "maria"


def test_a_token_that_does_not_hold_is_refused_for_good(page: Page, server: Program) -> None:
    open_at(page, server, f"channel={CHANNEL}&with=pasted")
    expect(page.get_by_role("button", name="Try it")).to_be_disabled()
    page.get_by_label("Connection token").fill(jwt.encode({"sub": "maria"}, "x" * 32, "HS256"))
    expect(panel(page, "Why")).to_contain_text("the connection token:")
    page.get_by_role("button", name="Try it").click()
    expect(steps(page).last).to_contain_text("code: 3500")


def test_hostile_names_stay_text(page: Page, server: Program) -> None:
    open_at(page, server, "")
    for name in HOSTILE:
        page.get_by_label("User", exact=True).fill(name)
        page.get_by_label("Channel", exact=True).fill(name)
        expect(panel(page, "Why")).to_contain_text(name)
        page.get_by_role("button", name="Try it").click()
        expect(steps(page).filter(has_text=f"A token is made for {name},")).to_be_visible()
        expect(steps(page).filter(has_text="Connected")).to_be_visible()
        assert page.locator("main img, main script").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDE[0]


# For all -------------------------------------------------------------------------------------


def test_a_reader_may_look_with_a_token_and_not_act(page: Page, server: Program) -> None:
    open_at(page, server, f"user=maria&channel={CHANNEL}&with=made", as_name="bob")
    expect(page.get_by_role("button", name="Try it")).to_be_disabled()
    expect(page.get_by_role("button", name="Try it")).to_have_attribute(
        "title", "Your role is read-only: an operator can do this."
    )
    page.get_by_label("Connects with").select_option("pasted")
    page.get_by_label("Connection token").fill(jwt.encode({"sub": "maria"}, SECRET, "HS256"))
    page.get_by_role("button", name="Try it").click()
    expect(steps(page).filter(has_text="Subscribed")).to_be_visible()
    page.get_by_role("button", name="publish").click()
    expect(page.get_by_role("button", name="Try it")).to_be_disabled()
    page.get_by_role("tab", name="Make a token").click()
    expect(page.get_by_role("button", name="Make a token")).to_be_disabled()


@pytest.mark.parametrize("tab", ["try", "make", "check"])
def test_it_can_be_used_by_all_and_fits_on_a_phone(visitors: Visitors, server: Program, tab: str) -> None:
    for size, scheme in ((WIDE, "light"), (NARROW, "dark")):
        page = visitors.page(size, color_scheme=scheme)
        open_at(page, server, f"tab={tab}&user=maria&channel={CHANNEL}")
        expect(page.get_by_role("tab", selected=True)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        axe(page)


def test_a_link_shows_a_colleague_the_same(visitors: Visitors, server: Program) -> None:
    page, colleague = visitors.page(), visitors.page()
    open_at(page, server, "")
    page.get_by_label("User", exact=True).fill("maria")
    page.get_by_label("Channel", exact=True).fill("members:1")
    page.get_by_role("button", name="history", exact=True).click()
    page.get_by_label("Subscribe first").uncheck()
    page.get_by_role("button", name="JavaScript").click()
    open_console(colleague, server, page.url.partition("/console/")[2], as_name="bob")
    expect(colleague.get_by_label("User", exact=True)).to_have_value("maria")
    expect(colleague.get_by_label("Channel", exact=True)).to_have_value("members:1")
    expect(colleague.get_by_label("Subscribe first")).not_to_be_checked()
    expect(colleague.get_by_role("button", name="history", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(colleague.get_by_label("Code", exact=True)).to_contain_text('from "centrifuge"')


# As code -------------------------------------------------------------------------------------

RUN = {
    "curl": ["sh", "-c"],
    "Python (centrifuge-python)": [sys.executable, "-c"],
    "Python (gapless)": [sys.executable, "-c"],
    "JavaScript": ["node", "--experimental-websocket", "--input-type=module", "-e"],  # until Node 22
}


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("language", RUN)
@pytest.mark.parametrize("name", ["code", "co\"de'$(id)`"])
def test_the_code_does_what_was_tried(page: Page, server: Program, language: str, name: str) -> None:
    channel, data = f"members:{name}", {"it's": [True, None, 'a "quote" $HOME \\ `id`', "ü\u202e"]}
    open_at(page, server, "user=maria&act=publish")
    page.get_by_label("Channel", exact=True).fill(channel)
    page.get_by_label("Payload").fill(json.dumps(data, ensure_ascii=False))
    page.get_by_role("button", name=language).click()
    code = page.get_by_label("Code", exact=True).inner_text()
    assert "GAPLESS_KEY" in code or "GAPLESS_TOKEN" in code
    before = stored(server, channel)
    run(language, code)
    assert stored(server, channel) == [*before, data]


def run(language: str, code: str) -> str:
    """Run what one took along, with a token and a key in the environment."""
    path = Path(sys.executable).parent
    told = subprocess.run(
        [*RUN[language], code],
        cwd=ROOT / "tests/acceptance/node",
        env={
            "PATH": f"{path}:/usr/local/bin:/usr/bin:/bin",
            "GAPLESS_TOKEN": jwt.encode({"sub": "maria"}, SECRET, "HS256"),
            "GAPLESS_KEY": API_KEY,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def stored(server: Program, channel: str) -> list[Any]:
    """Return what a channel keeps."""
    answer = server.api("history", channel=channel, limit=100)["result"]
    return [publication["data"] for publication in answer["publications"]]


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("language", RUN)
def test_the_code_reads_what_was_tried(page: Page, server: Program, language: str) -> None:
    server.api("publish", channel="members:read", data="to be read")
    open_at(page, server, "user=maria&act=history&channel=members:read")
    page.get_by_role("button", name=language).click()
    assert "to be read" in run(language, page.get_by_label("Code", exact=True).inner_text())
