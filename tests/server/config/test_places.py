"""Where each key of a file stands."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.server.config.places import places

TOML = '''# port = 1
top = [ # a list
  1, [2, 3],

  {a.b = 1, "c d" = "x = 2"},
]
[http_server] # [not.this]
port = 9000
tls = {enabled = true, cert_pem = """
-----BEGIN
key = 1
""", key_pem = \'\'\'
x\'\'\'}
a.b.c = 1
a."d.e" = 1979-05-27T07:32:00Z
f = 1.5 # f = 2

[[channel.namespaces]]
name = 'a # b'
[channel.namespaces.inner]
x = 1
[[channel.namespaces.list]]
y = 1
[[channel.namespaces.list]]
y = 2
[[channel.namespaces]]
name = "\\"b\\""
[channel]
max_length = 1
[http_server.tls_autocert]
'''
TOML_LINES = {
    "top": 2,
    "top[0]": 3,
    "top[1][1]": 3,
    "top[2]": 5,
    "top[2].a.b": 5,
    "top[2].c d": 5,
    "http_server": 7,
    "http_server.port": 8,
    "http_server.tls": 9,
    "http_server.tls.cert_pem": 9,
    "http_server.tls.key_pem": 12,
    "http_server.a.b.c": 14,
    "http_server.a.d.e": 15,
    "http_server.f": 16,
    "channel.namespaces": 18,
    "channel.namespaces[0]": 18,
    "channel.namespaces[0].name": 19,
    "channel.namespaces[0].inner.x": 21,
    "channel.namespaces[0].list[0].y": 23,
    "channel.namespaces[0].list[1].y": 25,
    "channel.namespaces[1].name": 27,
    "channel": 28,
    "channel.max_length": 29,
    "http_server.tls_autocert": 30,
}
JSON = """{
  "a": {"b": [1,
    {"c": "}\\"{"}
  ], "d e": {}},
  "\\u0061b": null, "e": [[], [ -1.5e3 ]],
  "f":
    true
}
"""
JSON_LINES = {
    "a": 2,
    "a.b": 2,
    "a.b[0]": 2,
    "a.b[1]": 3,
    "a.b[1].c": 3,
    "a.d e": 4,
    "ab": 5,
    "e[1][0]": 5,
    "f": 6,
}


@pytest.mark.parametrize("path", TOML_LINES)
def test_a_key_of_a_toml_file_is_found_on_its_line(path: str) -> None:
    tomllib.loads(TOML)
    assert places(TOML, is_json=False).lines[path] == TOML_LINES[path]


@pytest.mark.parametrize("path", JSON_LINES)
def test_a_key_of_a_json_file_is_found_on_its_line(path: str) -> None:
    json.loads(JSON)
    assert places(JSON, is_json=True).lines[path] == JSON_LINES[path]


def test_keys_that_are_there_twice_are_told() -> None:
    assert places('{"a": {"b": 1, "b": 2}, "c": [{"a": 1}, {"a": 2}]}', is_json=True).doubled == {"a.b": 1}


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab.\"[]{}\\#'é", min_size=1), inner),
    max_leaves=20,
)


def leaves(tree: Any, path: str) -> list[str]:
    if isinstance(tree, dict):
        found = [(f"{path}.{key}" if path else key, inner) for key, inner in tree.items()]
    elif isinstance(tree, list):
        found = [(f"{path}[{number}]", inner) for number, inner in enumerate(tree)]
    else:
        return []
    return [place for place, _ in found] + [leaf for place, inner in found for leaf in leaves(inner, place)]


@given(TREES)
def test_every_key_of_any_json_is_found(tree: Any) -> None:
    found = places(json.dumps(tree, indent=1, ensure_ascii=False), is_json=True)
    assert set(found.lines) == set(leaves(tree, ""))
