"""`gapless queue`: what it asks a server for, and what it prints."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from gapless.cli import main
from gapless.cli.queueing import queue as group
from tests.cli.conftest import Run, explained
from tests.program import API_KEY, Program


def bury(program: Program, queue: str, count: int) -> list[str]:
    """Let jobs die; return their ids."""
    jobs = program.api("queue/claim", queue=queue, limit=count)["result"]["jobs"]
    assert len(jobs) == count
    settlements = [
        {
            "id": job["id"],
            "fence": job["fence"],
            "deed": "bury",
            "reason": "no address",
            "details": "at\n\x1b[2J",
        }
        for job in jobs
    ]
    program.api("queue/settle", settlements=settlements)
    return [job["id"] for job in jobs]


def stats(run: Run, queue: str) -> dict[str, int]:
    (told,) = run("queue", "stats", queue, "--json").json
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize("command", sorted(set(group.commands) - {"schedules"}))
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    assert f"Example: gapless queue {command}" in explained("queue", command)


@pytest.mark.parametrize("command", ["ls", "add", "remove"])
def test_so_does_every_command_of_recurring_jobs(command: str) -> None:
    assert f"Example: gapless queue schedules {command}" in explained("queue", "schedules", command)


def test_a_queue_is_made_with_its_options_listed_and_dropped(run: Run) -> None:
    options = ("--attempts", "3", "--delays", "1s,1m", "--lease", "1m", "--fair", "--keep-dead", "7d")
    made = run("queue", "create", "mails", *options, "--in-flight", "9", "--on-dead", "stop", "--json")
    assert made.json == {"queue": "mails", "fresh": True}
    (listed,) = [each for each in run("queue", "ls", "--json").json if each["queue"] == "mails"]
    kept = listed["options"]
    assert (kept["retry"]["attempts_max"], kept["retry"]["delays_ms"]) == (3, [1_000, 60_000])
    assert (kept["lease_ms"], kept["dead_ms"], kept["in_flight_max"]) == (60_000, 7 * 86_400_000, 9)
    assert (kept["fair"], kept["ordered"], kept["on_dead"]) == (True, True, "stop")
    assert any(line.split()[:1] == ["mails"] for line in run("queue", "ls").lines)
    assert run("queue", "drop", "mails", "--yes", "--json").json == {"queue": "mails", "jobs": 0}
    assert all(each["queue"] != "mails" for each in run("queue", "ls", "--json").json)


def test_making_a_queue_again_changes_it_only_when_told_to(run: Run) -> None:
    assert run("queue", "create", "again", "--attempts", "3").out == "queue 'again' is made\n"
    assert run("queue", "create", "again", "--attempts", "3", "--json").json == {
        "queue": "again",
        "fresh": False,
    }
    assert run("queue", "create", "again").code == 0
    refused = run("queue", "create", "again", "--attempts", "4", "--waiting-max", "9")
    assert refused.code == 2
    assert "is there with other options: --replace lets it have these" in refused.err
    assert run("queue", "create", "again", "--waiting-max", "9", "--replace").code == 0
    [kept] = [each for each in run("queue", "ls", "--json").json if each["queue"] == "again"]
    assert (kept["options"]["waiting_max"], kept["options"]["retry"]["attempts_max"]) == (9, 3)


def test_a_job_is_pushed_with_all_that_it_may_have_and_looked_at(run: Run) -> None:
    run("queue", "create", "full")
    options = ("--key", "ann", "--priority", "7", "--message-id", "m1", "--header", "a=b=c", "--delay", "1h")
    pushed = run("queue", "push", "full", '{"n": 1e2}', *options, "--json").json
    assert pushed["fresh"] is True
    again = run("queue", "push", "full", '{"n": 1e2}', *options)
    assert again.lines == [pushed["id"]]
    assert again.err == "it was there already\n"
    seen = run("queue", "job", pushed["id"], "--json").json
    assert (seen["key"], seen["priority"], seen["message_id"]) == ("ann", 7, "m1")
    assert (seen["data"], seen["headers"]) == ({"n": 100}, {"a": "b=c"})
    assert seen["due_ms"] - seen["enqueued_ms"] == 3_600_000
    (peeked,) = run("queue", "peek", "full", "--json").json
    assert peeked == seen
    shown = run("queue", "job", pushed["id"])
    assert {"key", "ann", "payload"} <= set(shown.out.split())
    assert '{"n": 1e2}' in run("queue", "peek", "full").out  # as it was sent, not as a number is written here
    cancelled = run("queue", "cancel", pushed["id"], "--json").json
    assert cancelled["id"] == pushed["id"]
    gone = run("queue", "job", pushed["id"])
    assert (gone.code, gone.err) == (2, f"Error: there is no job {pushed['id']!r}, or not any more (1005)\n")


def test_a_job_may_be_due_at_a_time(run: Run) -> None:
    run("queue", "create", "later")
    at = "2026-12-31T12:00:00Z"
    id = run("queue", "push", "later", "x", "--at", at).out.strip()
    assert run("queue", "job", id, "--json").json["due_ms"] == 1_798_718_400_000
    assert "2026-12-31 12:00:00Z" in run("queue", "peek", "later").out


def test_lines_are_jobs_and_a_repeat_of_them_none(run: Run, lines: Callable[..., str]) -> None:
    run("queue", "create", "load")
    numbers = [str(number) for number in range(1_200)]
    said = run("queue", "push", "load", "-", "--message-id", "a", given="\n".join(numbers))
    assert said.out == "enqueued 1,200 jobs\n"
    assert "enqueueing: 1000 jobs" in said.err
    file = lines(*numbers)
    repeated = run("queue", "push", "load", "--file", file, "--message-id", "a", "--skip", "700", "--json")
    assert repeated.json == {"jobs": 500, "fresh": 0}
    assert f"of {Path(file).stat().st_size} bytes" in repeated.err
    assert stats(run, "load")["ready"] == 1_200
    assert [job["data"] for job in run("queue", "peek", "load", "--limit", "3", "--json").json] == [0, 1, 2]
    assert len(run("queue", "peek", "load", "--limit", "1100", "--json").json) == 1_100


def test_a_load_that_is_refused_says_where_and_how_to_go_on(run: Run) -> None:
    run("queue", "create", "small", "--waiting-max", "600")
    refused = run("queue", "push", "small", "-", given="1\n" * 700)
    assert refused.code == 2
    assert "lines 501 to 700: " in refused.err
    assert "those before are stored: mend it, then go on with --skip 500" in refused.err
    assert stats(run, "small")["ready"] == 500
    torn = run("queue", "push", "small", "-", given=b"\xff\n")
    assert torn.err == "Error: lines 1 to 1: what is sent must be JSON or UTF-8 text\n"
    missing = run("queue", "push", "small", "--file", "/no/such/file")
    assert (missing.code, missing.err) == (
        2,
        "Error: /no/such/file cannot be read: No such file or directory\n",
    )


def test_the_dead_are_listed_and_wait_again(program: Program, run: Run) -> None:
    run("queue", "create", "dying")
    for number in range(5):
        run("queue", "push", "dying", str(number))
    ids = bury(program, "dying", 5)
    listed = run("queue", "dead", "dying")
    assert [line.split()[0] for line in listed.lines[1:]] == ids
    assert all("no address" in line for line in listed.lines[1:])
    told = run("queue", "dead", "dying", "--limit", "2", "--json").json
    assert [(job["id"], job["attempt"], job["reason"]) for job in told] == [
        (id, 1, "no address") for id in ids[:2]
    ]
    assert all(job["ended_ms"] and job["worker"] for job in told)
    detailed = run("queue", "dead", "dying", "--details").out
    assert "\\x1b[2J" in detailed
    assert "\x1b[2J" not in detailed
    edited = run("queue", "redrive", "dying", ids[0], "--data", '{"mended": true}', "--json")
    assert edited.json == {"queue": "dying", "jobs": 1}
    assert run("queue", "job", ids[0], "--json").json["data"] == {"mended": True}
    assert run("queue", "redrive", "dying", *ids[:3], "--json").json["jobs"] == 2
    assert (
        run("queue", "redrive", "dying", "--all", "--limit", "1").out
        == "1 jobs of queue 'dying' wait again\n"
    )
    assert run("queue", "redrive", "dying", "--all", "--rate", "1000", "--json").json["jobs"] == 1
    assert stats(run, "dying")["dead"] == 0


def test_jobs_of_a_state_are_purged(program: Program, run: Run) -> None:
    run("queue", "create", "full2")
    run("queue", "push", "full2", "-", given="1\n" * 1_150)
    ids = bury(program, "full2", 3)
    assert run("queue", "purge", "full2", ids[0], "--yes", "--json").json["jobs"] == 1
    assert run("queue", "purge", "full2", "--yes", "--json").json == {"queue": "full2", "jobs": 2}
    assert (
        run("queue", "purge", "full2", "--state", "waiting", "--limit", "7", "--yes", "--json").json["jobs"]
        == 7
    )
    told = run("queue", "purge", "full2", "--state", "waiting", "--yes")
    assert told.out == "1,140 jobs of queue 'full2' are gone\n"
    assert "purging: 1000 of 1140 jobs" in told.err


def test_a_queue_is_paused_and_resumed(run: Run) -> None:
    run("queue", "create", "calm")
    assert run("queue", "pause", "calm", "--json").json == {"queue": "calm", "paused": True}
    assert (
        run("queue", "ls").out.splitlines()[1].endswith("paused")
        or "paused" in run("queue", "stats", "calm").out
    )
    assert stats(run, "calm")["paused"] is True
    assert run("queue", "resume", "calm").out == "queue 'calm' gives jobs again\n"
    assert stats(run, "calm")["paused"] is False


def test_recurring_jobs_are_added_listed_and_removed(run: Run) -> None:
    run("queue", "create", "reports")
    cron = ("--cron", "0 3 * * *", "--time-zone", "Europe/Berlin", "--missed", "none", "--header", "a=b")
    added = run("queue", "schedules", "add", "nightly", "reports", '{"all": 1}', *cron, "--json")
    assert added.json["next_ms"] > 0
    assert "fires next at" in run("queue", "schedules", "add", "often", "reports", "x", "--every", "90s").out
    nightly, often = run("queue", "schedules", "ls", "--json").json
    assert (nightly["cron"], nightly["time_zone"], nightly["missed"]) == (
        "0 3 * * *",
        "Europe/Berlin",
        "none",
    )
    assert (nightly["data"], nightly["headers"], often["every_ms"]) == ({"all": 1}, {"a": "b"}, 90_000)
    assert "every 1m30s" in run("queue", "schedules", "ls").out
    assert run("queue", "schedules", "remove", "often", "--yes", "--json").json == {
        "name": "often",
        "found": True,
    }
    gone = run("queue", "schedules", "remove", "often", "--yes")
    assert (gone.code, "there is no recurring job 'often'" in gone.err) == (2, True)
    never = run("queue", "schedules", "add", "never", "reports", "1", "--cron", "0 0 31 2 *")
    assert (never.code, "never fires" in never.err) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("drop", "mine"),
        ("purge", "mine"),
        ("schedules", "remove", "mine"),
    ],
)
def test_what_cannot_be_undone_is_not_done_without_being_asked_for(
    arguments: tuple[str, ...], run: Run
) -> None:
    run("queue", "create", "mine")
    refused = run("queue", *arguments)
    assert refused.code == 2
    assert "There is no terminal to ask at: say --yes" in refused.err
    assert stats(run, "mine")["ready"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("push", "nearby1", "1"),
        ("peek", "nearby1"),
        ("dead", "nearby1"),
        ("redrive", "nearby1", "--all"),
        ("purge", "nearby1", "--yes"),
        ("pause", "nearby1"),
        ("stats", "nearby1"),
        ("drop", "nearby1", "--yes"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(arguments: tuple[str, ...], run: Run) -> None:
    run("queue", "create", "nearby")
    refused = run("queue", *arguments)
    assert refused.code == 2
    assert "there is no queue 'nearby1'" in refused.err
    assert "(1003); did you mean nearby?" in refused.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("push", "q"), "give DATA, or --file FILE"),
        (("push", "q", "1", "--file", "f"), "give DATA, or --file FILE"),
        (("push", "q", "1", "--delay", "soon"), "'soon' is no duration; write 300ms, 90s, 1h30m or 7d"),
        (("push", "q", "1", "--at", "soon"), "'soon' is no time; write 2026-01-31T12:00:00Z"),
        (("push", "q", "1", "--header", "a"), "'a' is no header; write NAME=VALUE"),
        (("push", "q", "1", "--priority", "10"), "10 is not in the range 0<=x<=9"),
        (("redrive", "q"), "name the jobs, or say --all"),
        (("redrive", "q", "1", "--all"), "name the jobs, or say --all"),
        (("redrive", "q", "1", "2", "--data", "1"), "--data is for a single job: name it"),
        (("purge", "q", "--state", "leased"), "'leased' is not one of 'waiting', 'dead', 'done'"),
        (("schedules", "add", "n", "q", "1"), "give --cron or --every"),
    ],
)
def test_a_mistake_is_one_clear_line_and_code_2(arguments: tuple[str, ...], told: str, run: Run) -> None:
    refused = run("queue", *arguments)
    assert refused.code == 2
    assert told in refused.err


def test_the_server_is_found_in_its_configuration(program: Program, tmp_path: Path) -> None:
    file = str(program.folder / "gapless.json")
    found = CliRunner().invoke(
        main, ["queue", "ls", "--config", file, "--json"], env={"GAPLESS_HTTP_API__KEY": None}
    )
    assert found.exit_code == 0, found.output
    over = CliRunner().invoke(main, ["queue", "ls", "--config", file, "--api-key", "no"])
    assert (over.exit_code, "the API key is missing or wrong" in over.output) == (2, True)
    assert API_KEY not in over.stderr.replace("API key", "").replace("--api-key", "").replace("API_KEY", "")
