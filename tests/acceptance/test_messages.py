"""People who scroll, against the program: over a restart and a kill, from a page in a browser."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.acceptance.stock import SECRET, token
from tests.program import Program

PAGE = "https://app.example"
NAMESPACE = {"name": "chat", "history_size": 1000, "history_ttl": "1h", "allow_history_for_client": True}
CONFIG = {
    "client": {"token": {"hmac_secret_key": SECRET}, "allowed_origins": [PAGE]},
    "channel": {"namespaces": [NAMESPACE]},
    "messages": {"aliases": {"/api/chat-rooms/{id}/messages": "chat:{id}"}},
}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path, CONFIG)
    program.start()
    yield program
    program.close()


def publish(program: Program, *data: int) -> None:
    commands = [{"publish": {"channel": "chat:1", "data": item}} for item in data]
    assert all("publish" in reply for reply in program.api("batch", commands=commands)["replies"])


def get(program: Program, target: str = "/api/channels/chat:1/messages", **query: Any) -> Any:
    """Ask as a page in a browser does; return the page that is told."""
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=10)
    text = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
    try:
        headers = {"Authorization": f"Bearer {token('anna')}", "Origin": PAGE, "Sec-Fetch-Mode": "cors"}
        connection.request("GET", f"{target}?{text}", headers=headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    assert response.status == http.HTTPStatus.OK, body
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    return json.loads(body)


def data(page: Any) -> list[int]:
    return [item["data"] for item in page["items"]]


def test_a_walk_goes_on_over_a_restart_and_a_kill(program: Program) -> None:
    publish(program, *range(40))
    page = get(program, size=7)
    seen = data(page)
    for end in (program.stop, program.kill):
        page = get(program, before=page["before_cursor"], size=7)
        seen += data(page)
        end()
        program.start()
        publish(program, 100)
    while page["has_before"]:
        page = get(program, before=page["before_cursor"], size=7)
        seen += data(page)
    assert seen == list(reversed(range(40)))


def test_what_came_meanwhile_is_told_once_and_in_order(program: Program) -> None:
    publish(program, 1, 2)
    edge = get(program, "/api/chat-rooms/1/messages")
    seen = data(edge)[::-1]
    for restart in (False, True):
        publish(program, 3 + 2 * restart, 4 + 2 * restart)
        if restart:
            program.stop()
            program.start()
        while edge["has_after"] or edge["head"] < 4 + 2 * restart:
            edge = get(program, "/api/chat-rooms/1/messages", after=edge["after_cursor"], size=1)
            seen += data(edge)
    assert seen == [1, 2, 3, 4, 5, 6]


def test_an_alias_that_is_none_is_told_at_the_start(tmp_path: Path) -> None:
    program = Program(tmp_path, CONFIG, {"messages": {"aliases": {"/rooms/{id}": "chat:{room}"}}})
    code, output = program.fail()
    assert code != 0
    assert "messages.aliases" in output
    assert "Traceback" not in output
