"""PROTOCOL.md says what the code does: field numbers, codes, texts and the example."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.protocol import client_pb2
from gapless.protocol.codec import codec
from gapless.protocol.codes import _ERROR_TEXTS, Disconnect, Unsubscribe

TEXT = (Path(__file__).parents[2] / "PROTOCOL.md").read_text()
MESSAGES = client_pb2.DESCRIPTOR.message_types_by_name
FIELDS = {name: {field.name: field.number for field in MESSAGES[name].fields} for name in MESSAGES}
NAMED_BY_PUSH = {"join", "leave", "unsubscribe", "message", "subscribe", "disconnect", "refresh"}


def tables() -> Iterator[tuple[list[str], list[list[str]]]]:
    for table in re.findall(r"(?:^\|.*\|\n)+", TEXT, re.MULTILINE):
        head, _, *rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
        ]
        yield head, rows


def numbers(cell: str) -> list[int]:
    spread = re.sub(r"(\d+) … (\d+)", lambda m: ", ".join(map(str, range(int(m[1]), int(m[2]) + 1))), cell)
    return [int(number) for number in spread.split(",")]


def named(names: str, cell: str) -> dict[str, int]:
    return dict(zip(re.findall(r"\w+", names), numbers(cell), strict=True))


def test_the_tables_of_fields_are_the_schema() -> None:
    told: dict[str, dict[str, int]] = {}
    for head, rows in tables():
        if head[1:3] == ["No.", "Type"]:
            told[head[0]] = {name: number for row in rows for name, number in named(row[0], row[1]).items()}
        if head[:2] == ["Command", "No."]:
            told["Command"] = {
                name: number for row in rows if row[1] for name, number in named(*row[:2]).items()
            }
            told["Reply"] = {
                name: number for row in rows if row[4] for name, number in named(*row[3:5]).items()
            }
    assert len(told) == 10
    assert told == {name: FIELDS[name] for name in told}


def test_the_fields_told_in_a_row_are_the_schema_s() -> None:
    rows = [
        row for head, rows in tables() if head == ["Request", "Fields", "Result", "Fields"] for row in rows
    ]
    assert len(rows) == 9
    for request, fields, result, results in rows:
        for name, cell in ((request, fields), (result, results)):
            for field, number in re.findall(r"(\w+)•? (\d+) ", cell):
                assert FIELDS[name][field] == int(number), (name, field)
    pushes = next(rows for head, rows in tables() if head[0] == "Push")
    for row in pushes:
        for push in NAMED_BY_PUSH.intersection(re.findall(r"\w+", row[0])):
            kind = MESSAGES["Push"].fields_by_name[push].message_type
            assert kind is not None
            told = {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", row[2])}
            assert told == FIELDS[kind.name]


def test_the_tables_of_codes_are_the_code_s() -> None:
    told = [
        (int(code), reason)
        for head, rows in tables()
        if head[0] == "Code"
        for row in rows
        for code, reason in zip(row[::3], row[1::3], strict=False)
        if code
    ]
    plain = {code: re.split(r"[(:]", reason)[0].strip() for code, reason in told}
    known = {int(code): code.reason for code in (*Disconnect, *Unsubscribe)}
    assert plain == known | _ERROR_TEXTS


@pytest.mark.parametrize("example", re.findall(r"`(\{\"id\".*?\})`", TEXT))
def test_an_example_has_the_form_of_the_code(example: str) -> None:
    form = codec(binary=False)
    [command], [reply] = form.commands(example.encode()), form.replies(example.encode())
    written = form.command(command) if '"offset"' not in example else form.reply(reply)
    assert sorted(written) == sorted(example.encode())
