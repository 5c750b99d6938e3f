"""Backup, restore, check, compact and adopt with real processes: under load, killed, on a full disk."""

import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from gapless.backends.sqlite.care import copy
from gapless.backends.sqlite.offline import reading
from gapless.core.errors import StoreFull
from gapless.testing.conformance.places import entry, put
from tests.acceptance.raw import RawClient
from tests.faults.stores import alive, scenario
from tests.faults.worker_program import until
from tests.program import API_KEY, GAPLESS, Program

CONFIG = {
    "client": {"insecure": True},
    "channel": {
        "without_namespace": {"history_size": 1_000_000, "history_ttl": "1h", "force_recovery": True}
    },
    "store": {"durability": "process"},
}
DEADLINE_SECONDS = 60
MEBI = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path, CONFIG)
    yield program
    program.close()


def launch(program: Program, *arguments: str) -> subprocess.Popen[str]:
    """Start a command in a group of its own, that may be killed."""
    return subprocess.Popen(
        [GAPLESS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=program.folder,
        start_new_session=True,
    )


def run(program: Program, *arguments: str, code: int = 0) -> str:
    """Run a command to its end; return what it printed, and its error if it is to fail."""
    with launch(program, *arguments) as process:
        out, said = process.communicate(timeout=DEADLINE_SECONDS)
    assert "Traceback" not in said
    assert process.returncode == code, (out, said)
    return said.splitlines()[-1] if code else out


def online(program: Program) -> list[str]:
    return ["--url", f"http://127.0.0.1:{program.port}", "--key", API_KEY]


def store(program: Program) -> str:
    return str(program.config["store"]["url"])


def file(program: Program) -> Path:
    return Path(store(program).partition(":")[2])


def load(program: Program, megabytes: int, channel: str = "bulk") -> None:
    """Publish so much, 40 messages of 20 KB at a time."""
    commands = [{"publish": {"channel": channel, "data": "x" * 20_000}}] * 40
    body = json.dumps({"commands": commands})
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=10)
    for _ in range(megabytes * MEBI // len(body) + 1):
        connection.request("POST", "/api/batch", body, {"X-API-Key": API_KEY})
        response = connection.getresponse()
        assert b"error" not in response.read()
    connection.close()


def end(program: Program, channel: str = "chat") -> int:
    """Where a channel ends."""
    return int(program.api("history", channel=channel, limit=0)["result"]["offset"])


def publish(program: Program, count: int, channel: str = "chat") -> int:
    for number in range(count):
        answer = program.api("publish", channel=channel, data=number)
        assert "result" in answer, answer
    return end(program, channel)


class Publisher:
    """Publishes until it is told to stop; what was acknowledged is counted."""

    def __init__(self, program: Program) -> None:
        self.acknowledged = 0
        self.refused = 0
        self._program = program
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            answer = self._program.api("publish", channel="chat", data=self.acknowledged + 1)
            if "result" in answer:
                self.acknowledged += 1
            else:
                self.refused += 1

    def __enter__(self) -> "Publisher":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


def left(program: Program) -> list[str]:
    """Temporary files, beside the store or the backup. A server removes what was taken in its own time."""
    return [
        name
        for folder in {program.folder, file(program).parent}
        for name in os.listdir(folder)
        if ".care-" in name or ".partial" in name
    ]


# Backup


def test_a_backup_under_load_is_complete_and_loses_nobody_a_message(program: Program) -> None:
    program.start()
    load(program, 20)
    with RawClient(program.port, "") as reader:
        reader.call("subscribe", channel="chat")
        with Publisher(program) as publisher:
            before = publisher.acknowledged
            told = json.loads(run(program, "backup", "copy.db", "--json", *online(program)))
            after = publisher.acknowledged + 1
        assert publisher.refused == 0
        seen = [reader.publication("chat") for _ in range(publisher.acknowledged)]
        assert seen == list(range(1, publisher.acknowledged + 1))
    copy = program.folder / "copy.db"
    assert told == {"file": "copy.db", "bytes": copy.stat().st_size}
    until(lambda: not left(program))
    assert "0 wrong" in run(program, "store", "check", "--store", "sqlite:copy.db")
    program.kill()
    program.config["store"]["url"] = f"sqlite:{copy}"
    program.start()
    offset = end(program)
    assert before <= offset <= after
    history = program.api("history", channel="chat", limit=1, reverse=True)["result"]["publications"]
    assert not offset or history[0]["data"] == offset


def test_the_backup_of_a_stopped_store_is_the_same_with_and_without_its_log(program: Program) -> None:
    program.start()
    at = publish(program, 20)
    program.kill()
    before = {path.name: path.read_bytes() for path in program.folder.iterdir() if path.is_file()}
    run(program, "backup", "copy.db", "--store", store(program))
    after = {name: (program.folder / name).read_bytes() for name in before}
    assert after == before, "the store is left as it is"
    program.config["store"]["url"] = f"sqlite:{program.folder / 'copy.db'}"
    program.start()
    assert end(program) == at


def test_a_store_in_use_is_cared_for_by_the_process_that_has_it_open(program: Program) -> None:
    program.start()
    publish(program, 1)
    run(program, "backup", "copy.db", "--store", store(program))
    assert "1 messages in 1 streams, 0 wrong" in run(program, "store", "check", "--store", store(program))
    run(program, "store", "compact", "--store", store(program))
    run(program, "store", "check", "--store", f"sqlite:{program.folder / 'copy.db'}")
    assert publish(program, 1) == 2


def test_a_store_in_use_is_not_replaced_from_outside(program: Program) -> None:
    program.start()
    publish(program, 1)
    run(program, "backup", "copy.db", *online(program))
    said = run(program, "restore", "copy.db", "--store", store(program), code=1)
    assert f"is open in another process (pid {program.pid})" in said
    assert "is open in another process" in run(program, "store", "adopt", "--yes", store(program), code=1)
    assert publish(program, 1) == 2


def test_a_backup_that_is_interrupted_leaves_nothing(program: Program) -> None:
    program.start()
    load(program, 40)
    process = launch(program, "backup", "copy.db", *online(program))
    assert process.stderr is not None
    assert "copying" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1 or (program.folder / "copy.db").exists()
    until(lambda: not left(program))
    run(program, "backup", "again.db", *online(program))


@pytest.mark.parametrize("when", ["copying", "downloading"])
def test_a_server_killed_during_a_backup_loses_nothing_and_tidies_up(program: Program, when: str) -> None:
    program.start()
    at = publish(program, 20)
    load(program, 40)
    process = launch(program, "backup", "copy.db", *online(program))
    assert process.stderr is not None
    while when not in process.stderr.readline():
        assert process.poll() is None
    program.kill()
    process.communicate(timeout=DEADLINE_SECONDS)
    assert not (program.folder / "copy.db").exists() or process.returncode == 0
    program.start()
    assert end(program) == at
    assert not left(program)


def test_a_disk_that_is_too_small_for_a_backup_costs_the_store_nothing(
    mount_small: Callable[[int], Path], program: Program
) -> None:
    small = mount_small(256)
    program.config["store"]["url"] = f"sqlite:{small}/gapless.db"
    program.start()
    load(program, 50)
    at = publish(program, 5)
    hog = small / "hog"
    status = os.statvfs(small)
    with hog.open("wb") as hogging:
        hogging.write(bytes(status.f_bavail * status.f_frsize - 36 * MEBI))
    said = run(program, "backup", "copy.db", *online(program), code=1)
    assert "are free: make room" in said
    assert publish(program, 5) == at + 5
    until(lambda: not left(program))
    hog.unlink()
    run(program, "backup", "copy.db", *online(program))
    assert "0 wrong" in run(program, "store", "check", *online(program))


@scenario
async def test_a_backup_gives_way_when_the_disk_fills_up_meanwhile(path: Path) -> None:
    store = await alive(path, 5)
    await put(store, *(entry("bulk", bytes(4_000)) for _ in range(500)))
    await store.close()
    free = iter([1 << 40, 1 << 40, 1 << 40, -1])
    with reading(path) as connection:
        with pytest.raises(StoreFull, match="was removed again; make room"):
            list(copy(connection, path.parent / "copy.db", lambda: next(free)))
        assert [file.name for file in path.parent.iterdir() if "copy" in file.name] == []


def test_a_disk_that_is_full_sooner_than_it_says_is_told(
    mount_small: Callable[[int], Path], tmp_path: Path
) -> None:
    small = mount_small(1)

    @scenario
    async def fill_up(path: Path) -> None:
        store = await alive(path, 5)
        await put(store, *(entry("bulk", bytes(4_000)) for _ in range(500)))
        await store.close()

    fill_up(tmp_path / "store.db")
    with reading(tmp_path / "store.db") as connection, pytest.raises(StoreFull, match="the disk is full"):
        list(copy(connection, small / "copy.db", lambda: 1 << 40))
    assert not list(small.iterdir())


def test_a_backup_into_a_full_disk_is_one_clear_line(
    mount_small: Callable[[int], Path], program: Program
) -> None:
    small = mount_small(8)
    program.start()
    load(program, 20)
    said = run(program, "backup", f"{small}/copy.db", *online(program), code=1)
    assert said == f"Error: {small}/copy.db.partial cannot be written: No space left on device"
    program.stop()
    said = run(program, "backup", f"{small}/copy.db", "--store", store(program), code=1)
    assert "are free: make room" in said
    assert not os.listdir(small)
    until(lambda: not left(program))


# Restore


def test_who_had_read_further_than_the_backup_is_told_over_the_wire(program: Program) -> None:
    program.start()
    publish(program, 5)
    run(program, "backup", "copy.db", *online(program))
    publish(program, 5)
    with RawClient(program.port, "") as live:
        position = live.call("subscribe", channel="chat")["subscribe"]
        assert position["offset"] == 10
        run(program, "restore", "copy.db", *online(program))
        assert live.push("chat")["unsubscribe"]["code"] == 2500
        back = {"channel": "chat", "recover": True, "epoch": position["epoch"], "offset": 10}
        told = live.call("subscribe", **back)["subscribe"]
        assert (told.get("recovered", False), told["offset"]) == (False, 5)
        assert told["epoch"] != position["epoch"]
        publish(program, 1)
        assert live.publication("chat") == 0
    assert program.output().count("restore") == 2, "its beginning and its end"
    assert (program.folder / "gapless.db.before-restore").exists()


def test_a_restored_file_tells_the_same_without_a_server(program: Program) -> None:
    program.start()
    publish(program, 5)
    run(program, "backup", "copy.db", *online(program))
    publish(program, 5)
    with RawClient(program.port, "") as reader:
        position = reader.call("subscribe", channel="chat")["subscribe"]
    program.kill()  # with a log that is not the backup's
    run(program, "restore", "copy.db", "--store", store(program))
    assert not (program.folder / "gapless.db-wal").exists()
    program.start()
    with RawClient(program.port, "") as reader:
        back = {"channel": "chat", "recover": True, "epoch": position["epoch"]}
        for offset in (10, 5, 3):
            told = reader.call("subscribe", **back, offset=offset)["subscribe"]
            assert (told.get("recovered", False), told["offset"]) == (False, 5)
            reader.call("unsubscribe", channel="chat")
    program.stop()
    former = program.folder / "former.db"
    (program.folder / "gapless.db.before-restore").rename(former)
    (program.folder / "gapless.db.before-restore-wal").rename(program.folder / "former.db-wal")
    program.config["store"]["url"] = f"sqlite:{former}"
    program.start()
    assert end(program) == 10, "nothing is lost that somebody might want back"


def test_a_restore_under_load_answers_every_publish_with_the_file_it_is_in(program: Program) -> None:
    program.start()
    at = publish(program, 5)
    load(program, 12)
    run(program, "backup", "copy.db", *online(program))
    with Publisher(program) as publisher:
        while publisher.acknowledged < 20:
            time.sleep(0)
        run(program, "restore", "copy.db", "--discard", *online(program))
        while publisher.acknowledged < 40:
            time.sleep(0)
    assert publisher.refused == 0
    history = program.api("history", channel="chat", limit=100_000, since=None)["result"]["publications"]
    data = [publication["data"] for publication in history]
    assert data[:at] == list(range(5))
    after = data[at:]
    assert after == list(range(publisher.acknowledged - len(after) + 1, publisher.acknowledged + 1))
    assert not (program.folder / "gapless.db.before-restore").exists()
    assert not left(program)
    assert "0 wrong" in run(program, "store", "check", *online(program))


@pytest.mark.parametrize("lines", range(1, 8))
def test_a_server_killed_during_a_restore_has_the_one_or_the_other(program: Program, lines: int) -> None:
    program.start()
    publish(program, 5)
    load(program, 8)
    run(program, "backup", "copy.db", *online(program))
    publish(program, 5)
    process = launch(program, "restore", "copy.db", *online(program))
    assert process.stderr is not None
    for _ in range(lines):
        process.stderr.readline()
    program.kill()
    process.communicate(timeout=DEADLINE_SECONDS)
    program.start()
    assert end(program) in (5, 10)
    assert process.returncode or end(program) == 5
    assert not left(program)
    assert "0 wrong" in run(program, "store", "check", *online(program))


@pytest.mark.parametrize("lines", range(1, 12, 2))
def test_a_restore_killed_without_a_server_has_the_one_or_the_other(program: Program, lines: int) -> None:
    program.start()
    publish(program, 5)
    load(program, 8)
    run(program, "backup", "copy.db", *online(program))
    publish(program, 5)
    program.kill()
    process = launch(program, "restore", "copy.db", "--store", store(program))
    assert process.stderr is not None
    for _ in range(lines):
        process.stderr.readline()
    process.kill()
    process.communicate(timeout=DEADLINE_SECONDS)
    program.start()
    assert end(program) in (5, 10)
    assert not left(program)


def test_what_is_no_backup_is_refused_in_one_line_and_nothing_is_touched(program: Program) -> None:
    program.start()
    at = publish(program, 200)
    run(program, "backup", "copy.db", *online(program))
    sound = (program.folder / "copy.db").read_bytes()
    flipped = bytearray(sound)
    flipped[sound.rindex(b"150")] ^= 1
    bad = {
        "letter.db": (b"a letter, and no database\n" * 300, "is no SQLite database"),
        "short.db": (sound[: len(sound) // 2], "damaged"),
        "flipped.db": (bytes(flipped), "fails its checksum; nothing was changed"),
        "foreign.db": (foreign(program), "not of gapless"),
        "newer.db": (newer(program), "made by a newer gapless"),
    }
    for name, (content, told) in bad.items():
        (program.folder / name).write_bytes(content)
        said = run(program, "restore", name, *online(program), code=1)
        assert said.startswith("Error: ")
        assert told in said
    assert end(program) == at
    program.stop()
    before = {path.name: path.read_bytes() for path in program.folder.iterdir() if path.is_file()}
    for name, (_, told) in bad.items():
        assert told in run(program, "restore", name, "--store", store(program), code=1)
    assert {name: (program.folder / name).read_bytes() for name in os.listdir(program.folder)} == before
    run(program, "restore", "absent.db", "--store", store(program), code=2)


def foreign(program: Program) -> bytes:
    return altered(program, "create table their (own)", from_backup=False)


def newer(program: Program) -> bytes:
    return altered(program, "update store set version = 99", from_backup=True)


def altered(program: Program, statement: str, *, from_backup: bool) -> bytes:
    path = program.folder / "altered"
    path.write_bytes((program.folder / "copy.db").read_bytes() if from_backup else b"")
    connection = apsw.Connection(str(path))
    connection.execute("pragma journal_mode = delete").fetchall()
    connection.execute(statement)
    connection.close()
    content = path.read_bytes()
    path.unlink()
    return content


# Check, compact, adopt


def size(program: Program) -> int:
    return file(program).stat().st_size


def test_a_flipped_bit_is_found_while_the_server_runs(program: Program) -> None:
    program.start()
    program.api("publish", channel="chat", data="to be damaged")
    publish(program, 5)
    program.stop()
    content = bytearray(file(program).read_bytes())
    content[content.index(b"to be damaged") + 3] ^= 4
    file(program).write_bytes(content)
    program.start()
    assert "is damaged: restore a backup" in run(program, "store", "check", *online(program), code=1)
    process = launch(program, "store", "check", "--json", *online(program))
    out, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert json.loads(out)["findings"] == ["message 1 of 'chat' (number 1) fails its checksum"]
    program.stop()
    assert "is damaged" in run(program, "store", "check", "--store", store(program), code=1)


def test_compacting_a_running_store_gives_room_back_and_disturbs_nobody(program: Program) -> None:
    program.start()
    load(program, 20)
    with RawClient(program.port, "") as reader:
        position = reader.call("subscribe", channel="chat")["subscribe"]
        program.api("history_remove", channel="bulk")
        with Publisher(program) as publisher:
            while size(program) > 2 * MEBI:  # what was removed is deleted by and by
                run(program, "store", "compact", *online(program))
        assert publisher.refused == 0
        seen = [reader.publication("chat") for _ in range(publisher.acknowledged)]
        assert seen == list(range(1, publisher.acknowledged + 1)), "without a 2500"
    with RawClient(program.port, "") as reader:
        back = {"channel": "chat", "recover": True, "epoch": position["epoch"], "offset": 1}
        assert reader.call("subscribe", **back)["subscribe"]["recovered"]
    until(lambda: not left(program))


@pytest.mark.parametrize("turns", [0, 20, 200, 2_000, 20_000])
def test_a_server_killed_while_it_compacts_has_everything(program: Program, turns: int) -> None:
    program.start()
    at = publish(program, 20)
    load(program, 40)
    process = launch(program, "store", "compact", *online(program))
    while "compact" not in program.output() and process.poll() is None:
        time.sleep(0)
    for _ in range(turns):
        time.sleep(0)
    program.kill()
    process.communicate(timeout=DEADLINE_SECONDS)
    program.start()
    with RawClient(program.port, "") as reader:
        assert reader.call("subscribe", channel="chat")["subscribe"]["offset"] == at
    assert publish(program, 1) == at + 1
    assert not left(program)
    assert "0 wrong" in run(program, "store", "check", *online(program))


@pytest.mark.parametrize("adopted", [False, True])
def test_a_store_that_was_moved_without_its_witness_is_believed_once_adopted(
    program: Program, adopted: bool
) -> None:
    program.start()
    publish(program, 5)
    with RawClient(program.port, "") as reader:
        epoch = reader.call("subscribe", channel="chat")["subscribe"]["epoch"]
    assert program.stop() == 0
    moved = program.folder / "moved"
    moved.mkdir()
    file(program).rename(moved / "gapless.db")
    program.config["store"]["url"] = f"sqlite:{moved / 'gapless.db'}"
    if adopted:
        run(program, "store", "adopt", store(program), "--yes")
    program.start()
    with RawClient(program.port, "") as reader:
        back = {"channel": "chat", "recover": True, "epoch": epoch, "offset": 3}
        told = reader.call("subscribe", **back)["subscribe"]
    assert told.get("recovered", False) is adopted


def test_adopting_is_asked_for_and_never_hides_a_loss(program: Program) -> None:
    program.start()
    publish(program, 5)
    program.stop()
    older = file(program).read_bytes()
    assert "nothing to adopt" in run(program, "store", "adopt", store(program), "--yes", code=1)
    program.start()
    publish(program, 5)
    program.stop()
    file(program).write_bytes(older)
    said = run(program, "store", "adopt", store(program), "--yes", code=1)
    assert "readers have to be told" in said
    witness = program.folder / "gapless.db.witness"
    witness.unlink()
    asked = subprocess.run(
        [GAPLESS, "store", "adopt", store(program)], input="n\n", capture_output=True, text=True
    )
    assert asked.returncode == 1
    assert "nothing that was acknowledged is missing" in asked.stderr
    assert not witness.exists()


def test_a_message_is_erased_and_its_offset_stays(program: Program) -> None:
    program.start()
    publish(program, 5)
    assert run(program, "store", "erase", "chat", "3", *online(program)) == "erased\n"
    assert "no such message" in run(program, "store", "erase", "chat", "3", *online(program))
    history = program.api("history", channel="chat", limit=10)["result"]["publications"]
    assert [publication["offset"] for publication in history] == [1, 2, 4, 5]
    assert "0 wrong" in run(program, "store", "check", *online(program))
