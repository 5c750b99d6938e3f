"""`gapless stream`: what it asks a server for, and what it prints."""

import json
from pathlib import Path

import pytest

from gapless.cli.streaming import stream as group
from gapless.core.assignment import partition_of
from tests.cli.conftest import Run, explained
from tests.program import Program


def heartbeat(program: Program, source: str, name: str, member: str) -> list[dict[str, object]]:
    held = program.api("stream/heartbeat", source=source, group=name, member=member)["result"]["held"]
    assert isinstance(held, list)
    return held


@pytest.mark.parametrize("command", sorted(group.commands))
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    assert f"Example: gapless stream {command}" in explained("stream", command)


def test_a_stream_is_made_with_its_options_listed_and_dropped(run: Run) -> None:
    options = ("--partitions", "3", "--keep-for", "30d", "--keep", "1000", "--keep-bytes", "5000", "--keyed")
    assert run("stream", "create", "orders", *options, "--json").json == {"stream": "orders", "fresh": True}
    assert run("stream", "create", "orders", *options, "--json").json["fresh"] is False
    assert run("stream", "create", "orders", "--partitions", "3").code == 0
    other = run("stream", "create", "orders", "--partitions", "3", "--keep", "7")
    assert (other.code, "--replace lets it have these" in other.err) == (2, True)
    never = run("stream", "create", "orders", "--replace", "--partitions", "4")
    assert (never.code, "(107)" in never.err) == (2, True)
    (listed,) = run("stream", "ls", "--json").json
    kept = listed["options"]
    assert (kept["partitions"], kept["retention_ms"], kept["keyed"]) == (3, 30 * 86_400_000, True)
    assert len(listed["partitions"]) == 3
    assert run("stream", "ls").lines[1].split("  ")[-1].strip() == "1,000 messages, 720h, 5,000 bytes, keyed"
    assert run("stream", "drop", "orders", "--yes", "--json").json == {"stream": "orders"}
    assert run("stream", "ls", "--json").json == []


def test_a_message_is_appended_where_its_key_belongs_and_read(run: Run) -> None:
    run("stream", "create", "keyed", "--partitions", "4", "--keyed")
    sent = ("stream", "append", "keyed", '{"n": 1}', "--key", "ann", "--header", "a=b", "--message-id", "m")
    first = run(*sent, "--json").json
    assert (first["partition"], first["offset"], first["fresh"]) == (partition_of("ann", 4), 1, True)
    again = run(*sent)
    assert again.out == f"{first['partition']} {first['epoch']}:1\n"
    assert again.err == "it was there already\n"
    (read,) = run("stream", "read", "keyed", "--json").each
    assert (read["data"], read["key"], read["headers"]) == ({"n": 1}, "ann", {"a": "b"})
    assert run("stream", "read", "keyed", "--key", "ann").lines == ['{"n": 1}']
    assert run("stream", "read", "keyed", "--key", "bob").lines == []
    conflict = run("stream", "append", "keyed", "2", "--key", "ann", "--expected-key-offset", "0")
    assert (conflict.code, "(1001)" in conflict.err) == (1, True)
    at = f"{first['epoch']}:1"
    assert run("stream", "append", "keyed", "2", "--key", "ann", "--expected", at).code == 0


def test_messages_are_read_from_a_place_either_way(run: Run) -> None:
    run("stream", "create", "numbers")
    assert run("stream", "append", "numbers", "-", given="\n".join(map(str, range(1, 1_301)))).code == 0
    assert run("stream", "read", "numbers", "--limit", "3").lines == ["1", "2", "3"]
    assert run("stream", "read", "numbers", "--from", "5", "--limit", "2").lines == ["5", "6"]
    assert run("stream", "read", "numbers", "--from", "1h", "--limit", "1").lines == ["1"]
    assert run("stream", "read", "numbers", "--from", "latest").lines == []
    assert run("stream", "read", "numbers", "--to", "1h").lines == []
    assert run("stream", "read", "numbers", "--backwards", "--limit", "2").lines == ["1300", "1299"]
    assert run("stream", "read", "numbers", "--backwards", "--from", "3").lines == ["2", "1"]
    everything = run("stream", "read", "numbers", "--backwards", "--limit", "5000").lines
    assert everything == [str(number) for number in range(1_300, 0, -1)]
    beyond = run("stream", "read", "numbers", "--from", "2000")
    assert (beyond.code, "beyond the end" in beyond.err) == (1, True)
    assert run("stream", "replay", "numbers", "--speed", "max", "--from", "1299").lines == ["1299", "1300"]
    assert len(run("stream", "replay", "numbers", "--speed", "1000000", "--json").each) == 1_300


def test_what_was_exported_is_imported_once_each_key_in_order(run: Run, tmp_path: Path) -> None:
    run("stream", "create", "source", "--partitions", "2")
    for number in range(30):
        run(
            "stream",
            "append",
            "source",
            json.dumps({"n": number}),
            *(("--key", f"k{number % 3}") if number % 2 else ()),
        )
    file = tmp_path / "source.ndjson"
    told = run("stream", "export", "source", str(file), "--json")
    assert told.json == {"file": str(file), "messages": 30}
    assert [path.name for path in tmp_path.iterdir()] == ["source.ndjson"]
    assert run("stream", "export", "source").out == file.read_text()
    run("stream", "create", "copy", "--partitions", "3")
    assert run("stream", "import", "copy", str(file), "--json").json == {"messages": 30, "fresh": 30}
    assert run("stream", "import", "copy", str(file), "--json").json == {"messages": 30, "fresh": 0}
    assert run("stream", "import", "copy", "-", "--skip", "20", given=file.read_text()).lines == [
        "appended 10 messages; 10 of them were there already"
    ]
    before = [
        (each.get("key", ""), each["data"]["n"]) for each in run("stream", "read", "source", "--json").each
    ]
    after = [
        (each.get("key", ""), each["data"]["n"]) for each in run("stream", "read", "copy", "--json").each
    ]
    for key in ("k0", "k1", "k2"):
        assert [n for k, n in after if k == key] == [n for k, n in before if k == key]
    assert sorted(before) == sorted(after)
    refused = run("stream", "export", "source", str(file))
    assert (refused.code, "choose another name, or say --overwrite" in refused.err) == (2, True)
    assert run("stream", "export", "source", str(file), "--overwrite", "--partition", "0").code == 0
    junk = run("stream", "import", "copy", "-", given='{"data": 1}\n')
    assert (junk.code, "line 1 is none of an export" in junk.err) == (2, True)
    unwritable = run("stream", "export", "source", "/no/such/folder/file")
    assert (unwritable.code, "cannot be written" in unwritable.err) == (1, True)


def test_groups_are_listed_and_sought_after_a_dry_run(program: Program, run: Run) -> None:
    run("stream", "create", "read1", "--partitions", "2")
    for partition in ("0", "1"):
        run("stream", "append", "read1", "-", "--partition", partition, given="1\n2\n3\n")
    held = heartbeat(program, "read1", "billing", "m1")
    assert len(held) == 2
    (told,) = run("stream", "groups", "read1", "--json").json
    assert (told["group"], told["members"][0]["member"]) == ("billing", "m1")
    assert run("stream", "groups").lines[1].split()[:4] == ["read1", "billing", "m1", "0,1"]
    lag = run("stream", "lag", "read1", "billing", "--json").json
    assert (lag["lag"], len(lag["partitions"])) == (6, 2)
    assert run("stream", "lag", "read1", "billing").lines[-1] == "6 messages in all"
    dry = run("stream", "seek", "read1", "billing", "--to", "latest", "--dry-run", "--json").json
    assert [each["skipped"] for each in dry] == [3, 3]
    assert run("stream", "lag", "read1", "billing", "--json").json["lag"] == 6
    asked = run("stream", "seek", "read1", "billing", "--to", "latest")
    assert asked.code == 2
    assert "Let group 'billing' skip 6 messages and get 0 again? There is no terminal" in asked.err
    assert run("stream", "lag", "read1", "billing", "--json").json["lag"] == 6
    later = run("stream", "seek", "read1", "billing", "--to", "2999-01-01T00:00Z")
    assert "Nothing came since then, so that is the end. Let group 'billing' skip 6 messages" in later.err
    sought = run("stream", "seek", "read1", "billing", "--to", "latest", "--yes")
    assert [line.split()[0] for line in sought.lines] == ["partition", "0", "1"]
    assert run("stream", "lag", "read1", "billing", "--json").json.get("lag", 0) == 0
    back = run("stream", "seek", "read1", "billing", "--to", "2", "--partition", "1", "--yes", "--json").json
    assert [(each["partition"], each["again"]) for each in back] == [(1, 2)]
    epoch = back[0]["position"]["epoch"]
    one = run(
        "stream", "seek", "read1", "billing", "--to", f"{epoch}:2", "--partition", "1", "--yes", "--json"
    )
    assert [each["position"]["offset"] for each in one.json] == [2]
    beyond = run("stream", "seek", "read1", "billing", "--to", "99", "--partition", "0", "--yes")
    assert (beyond.code, "(112)" in beyond.err) == (1, True)
    vague = run("stream", "seek", "read1", "billing", "--to", f"{epoch}:2", "--yes")
    assert (vague.code, "a position is of one partition" in vague.err) == (2, True)
    dropped = run("stream", "drop-group", "read1", "billing", "--yes", "--json")
    assert dropped.json == {"source": "read1", "group": "billing", "found": True}
    gone = run("stream", "drop-group", "read1", "billing", "--yes")
    assert gone.code == 2
    told_of = [each["what"] for each in run("stream", "audit", "read1", "--json").json]
    assert "seek" in told_of
    assert all(each["what"] == "seek" for each in run("stream", "audit", "--what", "seek", "--json").json)
    assert "seek" in run("stream", "audit", "read1").out


def test_old_messages_are_trimmed_and_replaced_ones_erased(run: Run) -> None:
    run("stream", "create", "prices", "--keyed")
    run("stream", "append", "prices", "-", "--key", "a", given="1\n2\n3\n")
    run("stream", "append", "prices", "-", "--key", "b", given="4\n5\n")
    assert run("stream", "compact", "prices", "--yes", "--json").json == {"stream": "prices", "erased": 3}
    assert run("stream", "read", "prices").lines == ["3", "5"]
    assert run("stream", "trim", "prices", "--before", "1h", "--yes", "--json").json[0]["oldest"] == 1
    (told,) = run("stream", "trim", "prices", "--through", "4", "--yes", "--json").json
    assert (told["oldest"], told["last"]) == (5, 5)
    assert run("stream", "read", "prices").lines == ["5"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("drop", "mine"),
        ("trim", "mine", "--before", "1h"),
        ("compact", "mine"),
        ("drop-group", "mine", "g"),
    ],
)
def test_what_cannot_be_undone_is_not_done_without_being_asked_for(
    arguments: tuple[str, ...], run: Run
) -> None:
    run("stream", "create", "mine", "--keyed")
    refused = run("stream", *arguments)
    assert refused.code == 2
    assert "There is no terminal to ask at: say --yes" in refused.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("append", "nearby1", "1"),
        ("drop", "nearby1", "--yes"),
        ("compact", "nearby1", "--yes"),
        ("import", "nearby1", "-"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(arguments: tuple[str, ...], run: Run) -> None:
    run("stream", "create", "nearby", "--keyed")
    line = '{"source":"s","partition":0,"offset":1,"epoch":"e","time_ms":1,"data":1}\n'
    refused = run("stream", *arguments, given=line)
    assert refused.code == 2
    assert "there is no stream 'nearby1'" in refused.err
    assert "(1004); did you mean nearby?" in refused.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("append", "s"), "give DATA, or --file FILE"),
        (("append", "s", "-", "--expected-key-offset", "0"), "what is expected is for a single message"),
        (
            ("read", "s", "--from", "soon"),
            "'soon' is no place; write earliest, latest, an offset, epoch:offset",
        ),
        (("read", "s", "--from", "e:1"), "a position is for gapless stream tail"),
        (("read", "s", "--backwards", "--to", "1h"), "--backwards ends by --limit"),
        (("replay", "s", "--speed", "0"), "'0' is no speed; write max, or a factor such as 1 or 10"),
        (("replay", "s", "--speed", "fast"), "'fast' is no speed"),
        (("replay", "s", "--pause", "2h"), "--pause is up to 1h"),
        (("tail", "s", "--from", "1", "--since", "1h"), "give --from or --since, not both"),
        (("trim", "s"), "give --before TIME, or --through OFFSET"),
        (("seek", "s", "g"), "Missing option '--to'"),
    ],
)
def test_a_mistake_is_one_clear_line_and_code_2(arguments: tuple[str, ...], told: str, run: Run) -> None:
    refused = run("stream", *arguments)
    assert refused.code == 2
    assert told in refused.err


def test_a_payload_of_several_lines_is_one_line(run: Run) -> None:
    run("stream", "create", "lines")
    run("stream", "append", "lines", '{"a":\n[1.0,\n1.50]}')
    assert run("stream", "read", "lines").lines == ['{"a":[1.0,1.50]}']
    assert run("stream", "read", "lines", "--backwards").lines == ['{"a":[1.0,1.50]}']
    exported = run("stream", "export", "lines").out
    assert exported.count("\n") == 1
    run("stream", "create", "lines2")
    assert run("stream", "import", "lines2", "-", "--json", given=exported).json == {
        "messages": 1,
        "fresh": 1,
    }
    assert '"data":{"a":[1.0,1.50]}' in run("stream", "read", "lines2", "--json").out
