"""The connections of the console: who is here, what is done to them, and the story of each."""

import re
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.acceptance.raw import RawClient
from tests.acceptance.stock import publish_many
from tests.browser.screens import HOSTILE, call
from tests.browser.seeding import until
from tests.browser.servers import SECRET, SERVED, open_console
from tests.browser.visitors import NARROW, Visitors, axe
from tests.program import Program

NAMESPACES = [
    {
        "name": "short",
        "history_size": 10,
        "history_ttl": "10m",
        "force_recovery": True,
        "allow_subscribe_for_client": True,
    }
]
PAGE = 50
BIG = "x" * 60_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A server that remembers what happens to connections."""
    with Program(
        tmp_path_factory.mktemp("connections"), SERVED, {"channel": {"namespaces": NAMESPACES}}
    ) as server:
        yield server


class Person(RawClient):
    """Somebody with an SDK that says what it is."""

    def __init__(self, server: Program, user: str, *, takes_bytes: int = 0) -> None:
        super().__init__(server.port, takes_bytes=takes_bytes)
        token = jwt.encode({"sub": user}, SECRET, "HS256")
        self.id: str = self.call("connect", token=token, name="js", version="5.8.0")["connect"]["client"]

    def follow(self, channel: str, since: dict[str, Any] | None = None) -> dict[str, Any]:
        """Follow a channel, from a position if it has one; return where."""
        more = {"recover": True, **since} if since else {}
        told = self.call("subscribe", channel=channel, positioned=True, recoverable=True, **more)
        answer: dict[str, Any] = told["subscribe"]
        return {"offset": answer.get("offset", 0), "epoch": answer["epoch"]}


def of(server: Program, **whom: str) -> list[dict[str, Any]]:
    """Return connections as the API tells of them."""
    found: list[dict[str, Any]] = call(server, "connection/list", **whom)["connections"]
    return found


def cut(server: Program, person: Person) -> None:
    """Cut somebody off, and wait until the server has seen it."""
    person.close()
    until(lambda: not of(server, client=person.id))


def open_at(page: Page, server: Program, route: str, as_name: str = "ann") -> None:
    """Open a place among the connections."""
    open_console(page, server, f"#/connections{route}", as_name=as_name)


def rows(page: Page, name: str = "Connections") -> Locator:
    """Return the rows of a list."""
    return page.get_by_role("table", name=name).get_by_role("row")


def fits(page: Page) -> None:
    """Assert that the page does not scroll sideways."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# The list -----------------------------------------------------------------------------------------


def test_the_list_tells_who_is_here_and_marks_who_looks(page: Page, server: Program) -> None:
    publish_many(server, "facts", [1, 2, 3])
    with Person(server, "ada") as ada:
        ada.follow("facts")
        open_at(page, server, "")
        row = rows(page).filter(has_text=ada.id[:8])
        for told in ("ada", "127.0.0.1", "centrifuge-js 5.8.0", "websocket", "json", "ms"):
            expect(row).to_contain_text(told)
        looking = rows(page).filter(has_text="console:ann")
        expect(looking).to_contain_text("gapless-console")
        expect(looking.get_by_text("console", exact=True)).to_be_visible()
        expect(page.get_by_text("2 connections")).to_be_visible()
        row.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("ada")


def test_connections_are_found_by_user_and_by_channel(
    page: Page, visitors: Visitors, server: Program
) -> None:
    with Person(server, "ada") as ada, Person(server, "bob") as bob:
        ada.follow("left")
        bob.follow("right")
        open_at(page, server, "")
        page.get_by_label("Of a user").fill("ada")
        expect(rows(page)).to_have_count(2)
        expect(rows(page).nth(1)).to_contain_text(ada.id[:8])
        page.get_by_label("Of a user").fill("")
        page.get_by_label("Who follows a channel").fill("right")
        expect(rows(page).nth(1)).to_contain_text(bob.id[:8])
        expect(rows(page)).to_have_count(2)
        other = visitors.page()
        open_console(other, server, page.url.partition("/console/")[2], as_name="bob")
        expect(rows(other).nth(1)).to_contain_text(bob.id[:8])
        page.get_by_label("Of a user").fill("nobody")
        expect(page.get_by_role("heading", name="Nobody who is connected fits")).to_be_visible()


def test_connections_are_paged(page: Page, server: Program) -> None:
    people = [Person(server, "many") for _ in range(PAGE + 2)]
    ids = sorted(person.id for person in people)
    open_at(page, server, "?user=many")
    expect(rows(page)).to_have_count(PAGE + 1)
    expect(page.get_by_text(f"{PAGE + 2} connections")).to_be_visible()
    page.get_by_role("link", name="Next page").click()
    expect(rows(page)).to_have_count(3)
    expect(rows(page).nth(1)).to_contain_text(ids[PAGE][:8])
    page.get_by_role("link", name="First page").click()
    expect(rows(page).nth(1)).to_contain_text(ids[0][:8])
    for person in people:
        person.close()


def test_laggards_are_found_and_say_how_far_they_are_behind(page: Page, server: Program) -> None:
    with Person(server, "slow", takes_bytes=4_096) as slow, Person(server, "quick"):
        slow.follow("big")

        def lags() -> bool:
            publish_many(server, "big", [BIG] * 10)
            (told,) = of(server, client=slow.id)
            return bool(told["subscriptions"][0]["behind"])

        until(lags)
        open_at(page, server, "?behind=1")
        expect(rows(page)).to_have_count(2)
        expect(rows(page).nth(1)).to_contain_text("slow")
        expect(rows(page).nth(1).get_by_text("full socket")).to_be_visible()
        page.get_by_label("Only laggards").uncheck()
        expect(rows(page).filter(has_text="quick")).to_be_visible()
        page.get_by_role("link", name="slow").click()
        expect(rows(page, "Subscriptions").nth(1)).to_contain_text("behind")
        expect(page.get_by_role("list", name="Story")).to_contain_text("Its socket was full")
    page.goto(f"{server.origin}/console/#/connections?behind=1")
    expect(page.get_by_role("heading", name="Nobody lags behind")).to_be_visible()


# One ----------------------------------------------------------------------------------------------


def test_a_connection_tells_what_it_is_and_follows(page: Page, server: Program) -> None:
    publish_many(server, "known", list(range(7)))
    with Person(server, "ada") as ada:
        ada.follow("known")
        open_at(page, server, f"/{ada.id}")
        (told,) = of(server, client=ada.id)
        node = call(server, "info")["nodes"][0]["name"]
        for fact in ("ada", told["address"], "centrifuge-js 5.8.0", "websocket, json", node):
            expect(page.locator("dl.facts")).to_contain_text(fact)
        row = rows(page, "Subscriptions").nth(1)
        expect(row).to_contain_text("known")
        row.get_by_role("link", name="7").click()
        expect(page.locator("#history-rows [aria-current] .offset")).to_have_text("7")


def test_a_subscription_is_ended(page: Page, server: Program) -> None:
    with Person(server, "ada") as ada:
        ada.follow("kept")
        ada.follow("ended")
        open_at(page, server, f"/{ada.id}")
        page.get_by_role("button", name="Unsubscribe from ended").click()
        page.get_by_role("dialog").get_by_role("button", name="Unsubscribe").click()
        expect(page.get_by_text("Unsubscribed from ended.")).to_be_visible()
        assert ada.push("ended")["unsubscribe"]["code"] == 2000
        expect(rows(page, "Subscriptions")).to_have_count(2)
        (told,) = of(server, client=ada.id)
        assert [each["channel"] for each in told["subscriptions"]] == ["kept"]
        expect(page.get_by_role("list", name="Story")).to_contain_text("Was unsubscribed from ended")


def test_a_connection_is_ended_with_a_code_and_a_reason(page: Page, server: Program) -> None:
    with Person(server, "ada") as ada:
        open_at(page, server, f"/{ada.id}")
        page.get_by_role("button", name="Disconnect").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("it stays away")).to_be_visible()
        dialog.get_by_label("Code").fill("4100")
        expect(dialog.get_by_text("it comes back by itself")).to_be_visible()
        dialog.get_by_label("Reason").fill("go home")
        dialog.get_by_role("button", name="Disconnect").click()
        assert ada.end() == 4100
        expect(page.get_by_text("This connection is gone.")).to_be_visible()
        expect(page.get_by_role("list", name="Story")).to_contain_text(
            "Disconnected by the server: go home (4100)"
        )
        expect(page.get_by_role("button", name="Disconnect")).to_have_count(0)
    assert not of(server, client=ada.id)


def test_a_code_that_is_none_is_not_sent(page: Page, server: Program) -> None:
    with Person(server, "ada") as ada:
        open_at(page, server, f"/{ada.id}")
        page.get_by_role("button", name="Disconnect").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Code").fill("12")
        dialog.get_by_role("button", name="Disconnect").click()
        expect(dialog).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        assert len(of(server, client=ada.id)) == 1


# Stories ------------------------------------------------------------------------------------------


def came_back(server: Program, user: str, channel: str, missed: int) -> tuple[str, Person]:
    """Let somebody be cut at offset 41, miss messages, and come back; return the id before, and who came."""
    publish_many(server, channel, list(range(41)))
    first = Person(server, user)
    position = first.follow(channel)
    cut(server, first)
    publish_many(server, channel, list(range(missed)))
    again = Person(server, user)
    again.follow(channel, position)
    return first.id, again


def test_a_story_tells_of_a_cut_and_what_was_recovered(page: Page, server: Program) -> None:
    before, noor = came_back(server, "noor", "story", 17)
    with noor:
        open_at(page, server, f"/{noor.id}")
        story = page.get_by_role("list", name="Story")
        moments = story.locator(".moment p")
        expect(moments).to_have_count(5)
        said = " ".join(moments.all_text_contents())
        assert re.fullmatch(
            r"Connected from 127\.0\.0\.1 with centrifuge-js 5\.8\.0, json Followed story from offset 41 "
            r"Cut by the network at offset 41 of story Connected from \S+ with centrifuge-js 5\.8\.0, json "
            r"Came back to story with offset 41 of 58: recovered 17 messages in [\w .]+, from \w+( \w+)?",
            re.sub(r"\s+", " ", said).strip(),
        ), said
        summary = ["2 connections", "1 cut", "17 messages recovered", "no gap"]
        expect(page.get_by_role("list", name="In short").get_by_role("listitem")).to_have_text(summary)
        expect(story).to_contain_text("away for")
        story.get_by_role("link", name="17 messages").click()
        expect(page.locator("#history-rows [aria-current] .offset")).to_have_text("42")
        page.go_back()
        story.get_by_role("link", name=before[:8]).click()
        expect(page.get_by_text("This connection is gone.")).to_be_visible()
        page.get_by_role("link", name=f"It came back as {noor.id[:8]}").click()
        expect(page.get_by_role("list", name="In short")).to_contain_text("2 connections")


def test_a_story_tells_why_a_position_was_lost(page: Page, server: Program) -> None:
    _, ada = came_back(server, "ada", "short:lost", 88)
    with ada:
        open_at(page, server, f"/{ada.id}")
        story = page.get_by_role("list", name="Story")
        expect(story).to_contain_text(
            "Could not recover short:lost, which ended at offset 129: "
            "what followed offset 41 is not kept any more (oldest is 120)"
        )
        expect(page.get_by_role("list", name="In short")).to_contain_text("1 gap")


def test_other_connections_of_a_user_are_not_in_a_story(page: Page, server: Program) -> None:
    with Person(server, "two") as other, Person(server, "two") as one:
        other.follow("elsewhere")
        one.follow("here")
        open_at(page, server, f"/{one.id}")
        story = page.get_by_role("list", name="Story")
        expect(story).to_contain_text("Followed here")
        expect(story).not_to_contain_text("elsewhere")
        page.get_by_role("link", name="All that happened to two").click()
        expect(rows(page, "Stories").filter(has_text="elsewhere")).to_be_visible()


def test_the_latest_stories_are_told_of_all(page: Page, visitors: Visitors, server: Program) -> None:
    before, back = came_back(server, "eva", "told", 3)
    with back:
        open_at(page, server, "?tab=stories")
        stories = rows(page, "Stories")
        expect(stories.filter(has_text=before[:8]).filter(has_text="Cut by the network")).to_be_visible()
        page.get_by_label("What happened").select_option("returns")
        expect(stories.filter(has_text="Connected")).to_have_count(0)
        page.get_by_label("Of a user").fill("eva")
        expect(stories).to_have_count(2)
        expect(stories.nth(1)).to_contain_text("recovered 3 messages")
        other = visitors.page()
        open_console(other, server, page.url.partition("/console/")[2], as_name="bob")
        expect(rows(other, "Stories")).to_have_count(2)
        page.get_by_label("What happened").select_option("lost")
        expect(page.get_by_role("heading", name="Nothing of that happened lately")).to_be_visible()
        page.get_by_role("link", name="Show everything").click()
        stories.filter(has_text=before[:8]).first.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("This connection is gone.")).to_be_visible()


def test_who_was_never_here_has_no_story(page: Page, server: Program) -> None:
    open_at(page, server, "/never-was")
    expect(page.get_by_text("There is no such connection")).to_be_visible()
    expect(page.get_by_role("heading", name="No story")).to_be_visible()


# Everybody ----------------------------------------------------------------------------------------


def test_who_may_only_look_cannot_act(page: Page, server: Program) -> None:
    with Person(server, "ada") as ada:
        ada.follow("looked-at")
        open_at(page, server, f"/{ada.id}", as_name="bob")
        for name in ("Disconnect", "Unsubscribe from looked-at"):
            button = page.get_by_role("button", name=name)
            expect(button).to_be_disabled()
            expect(button).to_have_attribute("title", re.compile("read-only"))


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_text(page: Page, server: Program, name: str) -> None:
    with Person(server, name) as person:
        open_at(page, server, f"?user={name}")
        page.goto(f"{server.origin}/console/#/connections")
        row = rows(page).filter(has_text=person.id[:8])
        expect(row).to_contain_text(name)
        row.get_by_role("link").first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(name)
        expect(page.get_by_role("list", name="Story")).to_contain_text("Connected")
        page.get_by_role("button", name="Disconnect").click()
        expect(page.get_by_role("dialog")).to_contain_text(name)
        page.keyboard.press("Escape")
        fits(page)
        page.get_by_role("link", name="All that happened to").click()
        expect(rows(page, "Stories").nth(1)).to_contain_text(name)
        fits(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_screens_are_for_everybody(visitors: Visitors, server: Program, scheme: str) -> None:
    _, person = came_back(server, f"phone-{scheme}", f"phone-{scheme}", 2)
    page = visitors.page(NARROW, color_scheme=scheme)
    with person:
        open_at(page, server, "")
        row = rows(page).filter(has_text=f"phone-{scheme}")
        expect(row).to_be_visible()
        axe(page)
        fits(page)
        row.get_by_role("link").first.click()
        expect(page.get_by_role("list", name="Story")).to_contain_text("recovered 2 messages")
        axe(page)
        fits(page)
        page.get_by_role("button", name="Disconnect").click()
        axe(page)
        page.keyboard.press("Escape")
        page.goto(f"{server.origin}/console/#/connections?tab=stories")
        expect(rows(page, "Stories").nth(1)).to_be_visible()
        axe(page)
        fits(page)
