"""The runner of the documentation's code can fail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import Block, Run, blocks, compare, fits, shape

PAGE = """
<!-- file: gapless.toml -->
```toml
[http_server]
```

Inline ```sh``` is none.

<!-- press: Tunnel -->
```sh
true
```
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    run.close()


def block(kind: str, text: str, what: str = "", which: str = "") -> Block:
    return Block(1, kind, what, which, text)


def test_blocks_and_acts_are_found_in_their_order() -> None:
    found = [(each.kind, each.what, each.which) for each in blocks(PAGE)]
    assert found == [("toml", "file", "gapless.toml"), ("", "press", "Tunnel"), ("sh", "", "")]


@pytest.mark.parametrize(
    "bad",
    [
        block("sh", "false"),
        block("sh", "nosuchcommand"),
        block("python", "assert 1 == 2"),
        block("toml", "[http_servers]\n"),
        block("json", '{"http_server": {"port": "many"}}', "file", "gapless.json"),
        block("ruby", "puts 1"),
        block("sh", "echo no", "background", "yes"),
    ],
    ids=lambda bad: f"{bad.kind} {bad.text.strip()}",
)
def test_a_block_that_does_not_work_is_noticed(run: Run, bad: Block) -> None:
    with pytest.raises((AssertionError, KeyError)):
        run.take(bad)


def test_what_was_exported_stays(run: Run) -> None:
    run.take(block("sh", "export NAME=ann"))
    run.take(block("sh", "echo $NAME"))
    run.take(block("text", "ann", "prints"))
    with pytest.raises(AssertionError):
        run.take(block("text", "bob", "prints"))


def test_another_answer_is_noticed() -> None:
    compare('{"offset": 1, "epoch": "a"}', '{"offset": 1, "epoch": "b"}', as_json=True)
    for other in ('{"offset": 2, "epoch": "b"}', '{"offset": 1}', '{"offset": 1, "epoch": 1}'):
        with pytest.raises(AssertionError):
            compare('{"offset": 1, "epoch": "a"}', other, as_json=True)
    assert shape([{"time": 1}]) != shape([{"time": 1}, {"time": 2}])


def test_an_ellipsis_stands_for_anything_within_a_line() -> None:
    assert fits("a … c", "a b c", whole=True)
    assert not fits("a … c", "a b\nc", whole=True)
    assert not fits("a", "a b", whole=True)
