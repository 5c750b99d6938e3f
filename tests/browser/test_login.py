"""Who comes in to the console and what they may do there; no code of others, and no other page, does."""

import copy
import http.client
import os
import re
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from gapless.core.limits import CONSOLE_WRONG_PER_MINUTE
from gapless.server.console import roles
from tests.browser.seeding import until
from tests.browser.servers import PASSWORDS, SERVED, open_console
from tests.browser.sessions import call_as, log_in, post
from tests.browser.visitors import NARROW, Visitors, axe
from tests.program import API_KEY, Program

HELD = "JSON.parse(sessionStorage.getItem('gapless.session'))"
REFUSED = "status of 401"


@pytest.fixture
def another(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A server for one test, which leaves it otherwise than it was."""
    with Program(tmp_path_factory.mktemp("another"), copy.deepcopy(SERVED)) as another:
        yield another


def try_to_log_in(page: Page, name: str, password: str) -> None:
    """Fill in the form, and send it."""
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def at_the_door(page: Page) -> None:
    """Wait for the form that asks who one is."""
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    expect(page.locator("#main")).to_have_count(0)


# Coming in -----------------------------------------------------------------------------------


def test_the_form_can_be_used_by_all_and_fits_on_a_phone(visitors: Visitors, served: Program) -> None:
    for scheme in ("light", "dark"):
        page = visitors.page(NARROW, color_scheme=scheme)
        page.goto(f"{served.origin}/console/")
        at_the_door(page)
        axe(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]


def test_a_wrong_password_is_told_and_too_many_have_to_wait(
    page: Page, visitors: Visitors, another: Program
) -> None:
    visitors.expect(REFUSED)
    visitors.expect("status of 429")
    page.goto(f"{another.origin}/console/")
    for _ in range(CONSOLE_WRONG_PER_MINUTE):
        with page.expect_response("**/login") as answer:
            try_to_log_in(page, "ann", "a guess")
        assert answer.value.status == 401
        expect(page.get_by_role("alert")).to_contain_text("password")
    try_to_log_in(page, "ann", PASSWORDS["ann"])
    expect(page.get_by_role("alert")).to_have_text(
        re.compile(r"Too many attempts\. Try again in \d+ seconds\.")
    )
    at_the_door(page)
    assert page.evaluate(HELD) is None
    recorded = another.api("stream/audit", what="login_refused")["result"]["records"]
    assert len(recorded) == CONSOLE_WRONG_PER_MINUTE
    assert "a guess" not in str(recorded)


def test_an_operator_comes_in_where_the_link_leads(page: Page, served: Program) -> None:
    page.goto(f"{served.origin}/console/#/settings?tab=nodes")
    try_to_log_in(page, "ann", PASSWORDS["ann"])
    expect(page.get_by_role("heading", name="One node")).to_be_visible()
    expect(page.get_by_role("banner")).to_contain_text("ann")
    expect(page.get_by_text("read-only")).to_have_count(0)
    page.reload()
    expect(page.get_by_role("heading", name="One node")).to_be_visible()


def test_the_key_of_the_api_opens_it_too(page: Page, visitors: Visitors, served: Program) -> None:
    visitors.expect(REFUSED)
    page.goto(f"{served.origin}/console/")
    page.get_by_role("button", name="Use the API key").click()
    page.get_by_label("API key").fill("a wrong one")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("API key").fill(API_KEY)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("banner")).to_contain_text("key")
    assert page.evaluate(HELD)["role"] == "operator"
    assert API_KEY not in page.evaluate(HELD)["token"].split(".")


def test_neither_password_nor_token_stands_in_an_address_or_is_kept_for_later(
    page: Page, served: Program
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_console(page, served, as_name="ann")
    expect(page.get_by_role("status").first).to_have_text("live")
    kept = page.evaluate("JSON.stringify([localStorage, document.cookie, history.state])")
    token = page.evaluate(HELD)["token"]
    for secret in (token, PASSWORDS["ann"]):
        assert secret not in "".join(asked) + kept


# Going on, and leaving -----------------------------------------------------------------------


def test_who_logs_out_is_gone_here_and_on_the_server(page: Page, served: Program) -> None:
    open_console(page, served, as_name="ann")
    expect(page.get_by_role("status").first).to_have_text("live")
    assert connected(served, "console:ann")
    page.get_by_role("button", name="Log out").click()
    at_the_door(page)
    until(lambda: not connected(served, "console:ann"))
    assert page.evaluate(HELD) is None
    page.reload()
    at_the_door(page)


def connected(server: Program, user: str) -> list[dict[str, Any]]:
    """Return the connections of a user."""
    told: list[dict[str, Any]] = server.api("connection/list", user=user)["result"]["connections"]
    return told


def test_a_token_is_renewed_before_it_ends(page: Page, served: Program) -> None:
    open_console(page, served, as_name="ann")
    before = page.evaluate(HELD)
    page.evaluate(
        f"sessionStorage.setItem('gapless.session',"
        f" JSON.stringify({{...{HELD}, expires_ms: Date.now() + 4_000}}))"
    )
    page.reload()
    until(lambda: page.evaluate(HELD)["token"] != before["token"])
    after = page.evaluate(HELD)
    assert after["expires_ms"] >= before["expires_ms"]
    assert "result" in call_as(served, after["token"], "info")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_a_server_that_is_busy_ends_no_session(page: Page, visitors: Visitors, served: Program) -> None:
    visitors.expect("status of 503|ERR_FAILED")
    open_console(page, served, as_name="ann")
    before = page.evaluate(HELD)
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=503)
        elif len(asked) == 2:
            route.abort()
        else:
            route.continue_()

    page.route("**/console/renew", answer)
    page.evaluate(
        f"sessionStorage.setItem('gapless.session',"
        f" JSON.stringify({{...{HELD}, expires_ms: Date.now() + 2_000}}))"
    )
    page.reload()
    until(lambda: page.evaluate(HELD)["token"] != before["token"])
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_another_password_in_the_configuration_ends_the_session(
    page: Page, visitors: Visitors, another: Program
) -> None:
    visitors.expect(REFUSED)
    open_console(page, another, "#/settings?tab=nodes", as_name="ann")
    expect(page.get_by_role("heading", name="One node")).to_be_visible()
    token = page.evaluate(HELD)["token"]
    for user in another.config["console"]["users"]:
        if user["name"] == "ann":
            user["password"] = "another password of hers"
    another.command()  # which writes the configuration
    os.kill(another.pid, signal.SIGHUP)
    at_the_door(page)
    assert call_as(another, token, "info")["error"]["code"] == 101
    assert not connected(another, "console:ann")
    try_to_log_in(page, "ann", "another password of hers")
    expect(page.get_by_role("heading", name="One node")).to_be_visible()


def test_another_role_in_the_configuration_ends_the_session(
    page: Page, visitors: Visitors, another: Program
) -> None:
    visitors.expect(REFUSED)
    open_console(page, another, "#/settings?tab=nodes", as_name="ann")
    for user in another.config["console"]["users"]:
        user["role"] = "read_only"
    another.command()
    os.kill(another.pid, signal.SIGHUP)
    at_the_door(page)
    try_to_log_in(page, "ann", PASSWORDS["ann"])
    expect(page.get_by_text("read-only")).to_be_visible()


# Readers -------------------------------------------------------------------------------------

JOB = {"queue": "jobs", "data": 1}
MEMBER = {"source": "orders", "group": "g", "member": "m"}
ACTS: dict[str, dict[str, Any]] = {
    "publish": {"channel": "news", "data": "by bob"},
    "broadcast": {"channels": ["news"], "data": "by bob"},
    "subscribe": {"user": "maria", "channel": "news"},
    "unsubscribe": {"user": "maria", "channel": "news"},
    "disconnect": {"user": "console:bob"},
    "refresh": {"user": "maria"},
    "revoke": {"token_id": "1"},
    "block": {"user": "maria"},
    "unblock": {"user": "maria"},
    "history_remove": {"channel": "news"},
    "rpc": {"method": "gapless.publish", "params": {"channel": "news", "data": "by bob"}},
    "token/make": {"user": "maria"},
    "hooks/take": {"worker": "w", "hooks": {}},
    "hooks/answer": {"worker": "w", "answers": []},
    "queue/enqueue": {"jobs": [JOB]},
    "queue/result": {"id": "1"},
    "queue/claim": {"queue": "jobs"},
    "queue/extend": {"leases": [{"id": "1", "fence": "1"}]},
    "queue/settle": {"settlements": [{"id": "1", "fence": "1", "deed": "ack"}]},
    "queue/cancel": {"id": "1"},
    "queue/declare": {"queue": "bobs"},
    "queue/drop": {"queue": "jobs"},
    "queue/pause": {"queue": "jobs"},
    "queue/resume": {"queue": "jobs"},
    "queue/purge": {"queue": "jobs", "state": "waiting"},
    "queue/redrive": {"queue": "jobs"},
    "queue/schedule": {"name": "nightly", "cron": "0 0 * * *", **JOB},
    "queue/unschedule": {"name": "nightly"},
    "stream/append": {"stream": "orders", "messages": [{"data": "by bob"}]},
    "stream/heartbeat": MEMBER,
    "stream/leave": MEMBER,
    "stream/fetch": {**MEMBER, "partitions": [{"partition": 0, "after": {"offset": 0, "epoch": ""}}]},
    "stream/commit": {**MEMBER, "commits": [{"partition": 0, "fence": "1", "offset": 1, "epoch": ""}]},
    "stream/compact": {"stream": "orders"},
    "stream/declare": {"stream": "bobs"},
    "stream/drop": {"stream": "orders"},
    "stream/drop_group": {"source": "orders", "group": "g"},
    "stream/seek": {"source": "orders", "group": "g", "to": "latest"},
    "stream/trim": {"stream": "orders", "offset": 1},
    "batch": {"commands": [{"publish": {"channel": "news", "data": "by bob"}}]},
}
"""What acts, each as it could be asked for; `lab/*` is only on a server for development."""


@pytest.fixture(scope="module")
def kept(served: Program) -> Program:
    """A server on which there is something to lose."""
    served.api("publish", channel="news", data="by a backend")
    served.api("queue/declare", queue="jobs")
    served.api("queue/enqueue", jobs=[{**JOB, "delay_ms": 3_600_000}])
    served.api("stream/declare", stream="orders", options={"partitions": 1, "retention_messages": 10})
    served.api("stream/append", stream="orders", messages=[{"data": 1}])
    return served


def holdings(server: Program) -> list[Any]:
    """Return what a reader could have changed."""
    looks: list[tuple[str, dict[str, Any]]] = [
        ("history", {"channel": "news", "limit": 100}),
        ("queue/list", {}),
        ("queue/schedules", {}),
        ("stream/list", {}),
        ("stream/groups", {}),
        ("revocations", {}),
    ]
    return [server.api(method, **request) for method, request in looks]


def test_every_act_there_is_has_its_place_in_the_table() -> None:
    acts = {method for method in roles.ACTS if not method.startswith("lab/")}
    assert set(ACTS) == acts | {"batch"}


def test_a_reader_cannot_act_with_the_token_of_the_page_either(page: Page, kept: Program) -> None:
    open_console(page, kept, "#/settings", as_name="bob")
    before = holdings(kept)
    answers = page.evaluate(
        """async ([acts, held]) => Object.fromEntries(await Promise.all(Object.entries(acts).map(
            async ([method, body]) => {
              const headers = { authorization: `Bearer ${held.token}` };
              const said = { method: "POST", headers, body: JSON.stringify(body) };
              const told = await fetch(`../api/${method}`, said);
              return [method, (await told.json()).error?.code];
            })))""",
        [ACTS, page.evaluate(HELD)],
    )
    assert {method: code for method, code in answers.items() if code != 103} == {}
    assert holdings(kept) == before
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def test_a_reader_cannot_act_by_another_door(page: Page, kept: Program) -> None:
    open_console(page, kept, "#/settings", as_name="bob")
    token, before = page.evaluate(HELD)["token"], holdings(kept)
    for path, body in {
        "/api": {"method": "publish", "params": {"channel": "news", "data": "by bob"}},
        "/api/store/restore": {},
        "/api/store/backup": {},
    }.items():
        _, told = post(kept, path, body, token)
        assert told["error"]["code"] in (101, 103, 104), (path, told)
    refused = page.evaluate(
        """async ([url, token]) => {
          const client = new Centrifuge(url, { token });
          client.connect();
          await client.ready();
          const codes = [];
          const acts = [
            () => client.publish("news", "by bob"),
            () => client.rpc("gapless.publish", { channel: "news", data: "by bob" }),
          ];
          for (const act of acts) codes.push(await act().then(() => 0, (error) => error.code));
          client.disconnect();
          return codes;
        }""",
        [kept.url, token],
    )
    assert refused == [103, 103]
    assert holdings(kept) == before


def test_an_operator_can_do_what_a_reader_cannot_and_it_is_recorded(kept: Program) -> None:
    ann = log_in(kept, "ann")
    assert "result" in call_as(kept, ann, "publish", channel="elsewhere", data="by ann")
    [record] = kept.api("stream/audit", what="publish", limit=1)["result"]["records"]
    assert (record["who"], record["name"]) == ("console:ann", "elsewhere")
    assert "by ann" not in str(record)


# Nothing else comes in -----------------------------------------------------------------------


def test_a_script_that_gets_into_the_page_does_not_run(
    page: Page, visitors: Visitors, served: Program
) -> None:
    visitors.expect("against the policy|Content Security Policy")
    open_console(page, served, "#/settings", as_name="ann")
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.ran = 'inline'";
          document.body.append(script);
          const image = `<img src="data:," onerror="window.ran = 'handler'">`;
          document.body.insertAdjacentHTML("beforeend", image);
          const foreign = document.createElement("script");
          foreign.src = "data:text/javascript,window.ran='data'";
          document.body.append(foreign);
        }"""
    )
    until(lambda: sum("script-src" in fault for fault in visitors.faults) >= 3)
    assert page.evaluate("window.ran") is None


class Framing(BaseHTTPRequestHandler):
    """Answers with a page that has another one in a frame, whose address is the query."""

    def do_GET(self) -> None:
        address = self.path.partition("?")[2]
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(
            f'<!doctype html><link rel="icon" href="data:,"><iframe src="{address}"></iframe>'.encode()
        )

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """Another origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Framing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/console/", "/console/about.json", "/console/vendor/versions.json"])
def test_a_page_of_another_origin_frames_nothing_of_it(
    page: Page, visitors: Visitors, served: Program, elsewhere: str, path: str
) -> None:
    visitors.expect("asked elsewhere")
    visitors.expect("frame-ancestors|X-Frame-Options|Failed to load resource|Refused to")
    page.goto(f"{elsewhere}?{served.origin}{path}")
    until(lambda: len(page.frames) == 2 and page.frames[1].url.startswith("chrome-error:"))


def test_a_page_of_another_origin_cannot_log_in_or_call(served: Program, elsewhere: str) -> None:
    for path, body in {"/console/login": '{"name": "ann"}', "/api/info": "{}"}.items():
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        connection.request("POST", path, body, {"origin": elsewhere.rstrip("/")})
        assert connection.getresponse().status in (401, 403)
        connection.close()
