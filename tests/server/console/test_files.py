"""Pages come out of a fixed set, and tell browsers to run nothing else."""

import asyncio
import gzip
from typing import Any

import pytest

from gapless.server.console.files import SECURITY, Pages, shipped
from tests.server.console.asking import Answer, ask
from tests.server.raw_socket import RawSocket
from tests.server.running import call, running
from tests.server.serving import on_a_loop

SCRIPT = b"export const answer = 42\n" * 100
FILES = {
    "index.html": b"<!doctype html>",
    "app.js": SCRIPT,
    "vendor/preact.mjs": b"export {}",
    "shared/style.css": b"body {}" * 100,
    "icon.svg": b"<svg/>",
    "font.woff2": b"\0" * 1000,
    "LICENSE": b"do as you like",
}


def get(path: str, prefix: str = "/console", method: str = "GET", **fields: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in fields.items()}
    return asyncio.run(ask(Pages("any", FILES).routes(prefix), path, method=method, fields=named))


def test_the_index_is_what_is_at_the_path_itself() -> None:
    answer = get("/console/")
    assert (answer.status, answer.body) == (200, b"<!doctype html>")
    assert answer.fields["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("prefix", "path", "location"),
    [
        ("/console", "/console", "console/"),
        ("/a/b", "/a/b", "b/"),
        ("/console", "/console?x=1", "console/?x=1"),
    ],
)
def test_without_a_slash_one_is_sent_on_by_a_path_that_holds_behind_any_proxy(
    prefix: str, path: str, location: str
) -> None:
    answer = get(path, prefix)
    assert (answer.status, answer.fields["location"]) == (307, location)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("vendor/preact.mjs", "text/javascript; charset=utf-8"),
        ("shared/style.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("font.woff2", "font/woff2"),
        ("LICENSE", "text/plain; charset=utf-8"),
    ],
)
def test_a_file_says_what_it_is(path: str, kind: str) -> None:
    answer = get(f"/console/{path}")
    assert (answer.status, answer.body, answer.fields["content-type"]) == (200, FILES[path], kind)


@pytest.mark.parametrize("path", ["/console", "/console/", "/console/app.js", "/console/none"])
def test_every_answer_forbids_what_the_pages_do_not_need(path: str) -> None:
    answer = get(path)
    assert SECURITY.items() <= answer.fields.items()
    policy = answer.fields["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    "path",
    [
        "none.js",
        "../passes.py",
        "..%2f..%2fetc%2fpasswd",
        "vendor/../../secret",
        "vendor",
        "vendor/",
        "/etc/passwd",
        "index.html\0",
        ".",
        "",
    ],
)
def test_what_is_not_in_the_set_does_not_exist(path: str) -> None:
    answer = get(f"/console/{path}")
    if path:
        assert (answer.status, answer.body) == (404, b"Not Found")
        assert answer.fields["content-type"].startswith("text/plain")


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.5", "*", "deflate, *;q=0.1", "GZIP"])
def test_who_takes_gzip_is_given_it(accepted: str) -> None:
    answer = get("/console/app.js", accept_encoding=accepted)
    assert answer.fields["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == SCRIPT
    assert answer.fields["vary"] == "accept-encoding"
    assert int(answer.fields["content-length"]) == len(answer.body) < len(SCRIPT)


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "gzip; q=0.000, *", "*;q=0"])
def test_who_does_not_is_given_the_file_as_it_is(accepted: str) -> None:
    answer = get("/console/app.js", accept_encoding=accepted)
    assert ("content-encoding" in answer.fields, answer.body) == (False, SCRIPT)


def test_what_is_packed_already_is_not_packed_again() -> None:
    assert "content-encoding" not in get("/console/font.woff2", accept_encoding="gzip").fields


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_who_has_a_file_is_told_so(coding: str) -> None:
    tag = get("/console/app.js", accept_encoding=coding).fields["etag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        answer = get("/console/app.js", accept_encoding=coding, if_none_match=known)
        assert (answer.status, answer.body, answer.fields["etag"]) == (304, b"", tag)
    assert get("/console/app.js", accept_encoding=coding, if_none_match='"other"').status == 200


def test_a_tag_is_of_one_form_only() -> None:
    plain, packed = (get("/console/app.js", accept_encoding=coding).fields["etag"] for coding in ("", "gzip"))
    assert plain != packed
    assert not plain.startswith("W/")
    assert get("/console/app.js", accept_encoding="gzip", if_none_match=plain).status == 200


def test_a_browser_asks_each_time_whether_a_file_is_another() -> None:
    assert get("/console/app.js").fields["cache-control"] == "no-cache"


def test_files_are_read_once() -> None:
    read = []

    class Watched(dict[str, bytes]):
        def items(self) -> Any:
            read.append(1)
            return super().items()

    async def scene() -> None:
        routes = Pages("any", Watched(FILES)).routes("/console")
        answers = await asyncio.gather(*(ask(routes, "/console/app.js") for _ in range(5)))
        assert {answer.status for answer in answers} == {200}

    asyncio.run(scene())
    assert read == [1]


def test_pages_that_ship_come_with_what_they_all_load() -> None:
    found = shipped("console")
    assert "index.html" in found
    assert any(path.startswith("vendor/") for path in found)
    assert not [path for path in found if path.startswith(("/", "..")) or path.endswith(".py")]


@on_a_loop
async def test_a_node_serves_them_over_its_port() -> None:
    async with running({"console": {"enabled": True}}) as node:
        status, page = await call(node, "/console/", b"", method="GET", key=None)
        assert status == 200
        assert b"<html" in page
        socket = await RawSocket.connect(node.port)
        socket.send(b"HEAD /console/ HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        head = await socket.rest()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"x-frame-options: DENY" in head
        assert head.endswith(b"\r\n\r\n")
        socket.leave()
        assert (await call(node, "/console/%2e%2e/%2e%2e/pyproject.toml", b"", method="GET", key=None))[
            0
        ] == 404
        assert (await call(node, "/console/", b"", key=None))[0] == 405


@on_a_loop
async def test_without_a_console_nothing_is_there() -> None:
    async with running() as node:
        for path, method in (
            ("/console/", "GET"),
            ("/console/about.json", "GET"),
            ("/console/login", "POST"),
        ):
            assert (await call(node, path, b"", method=method, key=None))[0] == 404
