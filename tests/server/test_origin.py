"""Which origins may connect."""

import pytest

from gapless.server.origin import Origins, is_local


@pytest.mark.parametrize(
    ("patterns", "origin", "allowed"),
    [
        ([], None, True),
        ([], "https://here.example:8443", True),
        ([], "HTTP://Here.Example:8443", True),
        ([], "https://here.example", False),
        ([], "https://there.example", False),
        ([], "ftp://here.example:8443", False),
        ([], "null", False),
        ([], "", False),
        (["*"], "https://there.example", True),
        (["*"], "null", True),
        (["null"], "null", True),
        (["https://there.example"], "https://there.example", True),
        (["https://There.example"], "HTTPS://there.Example", True),
        (["https://there.example"], "http://there.example", False),
        (["https://there.example"], "https://there.example.evil.example", False),
        (["https://there.example"], "https://thereXexample", False),
        (["https://there.example"], "https://evil.example/https://there.example", False),
        (["https://*.there.example"], "https://a.b.there.example", True),
        (["https://*.there.example"], "https://there.example", False),
        (["https://*.there.example"], "https://evil.example/.there.example", False),
        (["https://there.example:*"], "https://there.example:9000", True),
        (["https://a?.example"], "https://ab.example", True),
        (["https://a?.example"], "https://abc.example", False),
        (["https://(a|b).example"], "https://a.example", False),
        (["https://a.example", "https://b.example"], "https://b.example", True),
        (["http{,s}://{a,*.b}.example"], "https://x.b.example", True),
        (["http{,s}://{a,*.b}.example"], "http://a.example", True),
        (["http{,s}://{a,*.b}.example"], "https://c.example", False),
        (["https://{a.example"], "https://a.example", False),
        (["https://[::1]:3000"], "https://[::1]:3000", True),
        (["here.example:8443"], "https://there.example", False),
    ],
)
def test_an_origin_is_allowed_or_not(patterns: list[str], origin: str | None, allowed: bool) -> None:
    assert Origins(patterns).allow(origin, "here.example:8443") is allowed


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1:8000", True),
        ("192.168.1.7", True),
        ("[::1]:8000", True),
        ("localhost:8000", True),
        ("LOCALHOST", True),
        ("laptop:8000", True),
        ("laptop.local:8000", True),
        ("gapless.localhost", True),
        ("box.home.arpa.", True),
        ("", True),
        ("evil.example:8000", False),
        ("local.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example.", False),
        ("localhost.evil.example:8000", False),
        ("notlocal", True),
        ("evil-local.example", False),
    ],
)
def test_a_name_that_the_internet_may_have_is_not_local(host: str, local: bool) -> None:
    assert is_local(host) is local
