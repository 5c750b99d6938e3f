"""What the world can refuse a server: each time one clear line and an exit code, and nothing is lost."""

import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.raw import RawClient
from tests.program import Program

CONFIG = {
    "client": {"insecure": True},
    "channel": {"without_namespace": {"history_size": 1_000, "history_ttl": "1h", "force_recovery": True}},
    "store": {"durability": "process"},
    "log": {"level": "warn"},
}
KEPT = ["one", "two", "three"]

MEBI = 1 << 20


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path, CONFIG)
    yield program
    program.close()


@pytest.fixture
def bound() -> list[str]:
    """What runs a command that permissions hold for, which they do not for root."""
    if os.geteuid() == 0:
        return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    return []


@pytest.fixture
def small_disk(mount_small: Callable[[int], Path]) -> Path:
    """A file system of 128 MiB, in memory."""
    return mount_small(128)


def fill(program: Program) -> None:
    """Run the program once, and have it keep something."""
    program.start()
    for data in KEPT:
        assert "result" in program.api("publish", channel="kept", data=data)
    program.kill()


def kept(program: Program) -> list[Any]:
    """Return what it keeps, from a program that is running."""
    answer = program.api("history", channel="kept", limit=100)
    return [publication["data"] for publication in answer["result"]["publications"]]


def test_a_port_in_use_is_named(program: Program) -> None:
    fill(program)
    with socket.create_server(("127.0.0.1", program.port)):
        code, said = program.fail()
    assert code == 1
    assert said == (
        f"Error: http_server: cannot listen on 127.0.0.1, port {program.port}: "
        "another process listens there\n"
    )
    program.start()
    assert kept(program) == KEPT


def test_a_second_server_on_the_same_file_joins_the_first_and_goes_on_without_it(
    program: Program, tmp_path: Path
) -> None:
    program.start()
    folder = tmp_path / "second"
    folder.mkdir()
    second = Program(folder, CONFIG, {"store": program.config["store"]})
    second.start()
    try:
        assert "result" in second.api("publish", channel="kept", data="there")
        assert "result" in program.api("publish", channel="kept", data="here")
        assert kept(program) == kept(second) == ["there", "here"]
        program.kill()
        assert "result" in second.api("publish", channel="kept", data="alone", idempotency_key="k")
        assert kept(second) == ["there", "here", "alone"]
    finally:
        second.close()


def test_a_second_server_is_refused_where_nobody_can_be_joined(program: Program, tmp_path: Path) -> None:
    program.start()
    (tmp_path / "gapless.db.sock").unlink()
    folder = tmp_path / "second"
    folder.mkdir()
    second = Program(folder, CONFIG, {"store": program.config["store"]})
    code, said = second.fail()
    assert code == 1
    assert said.startswith("Error: ")
    assert f"is open in another process (pid {program.pid}), which cannot be joined" in said
    assert "result" in program.api("publish", channel="kept", data="still here")
    assert kept(program) == ["still here"]


def test_a_folder_that_is_not_there_is_named(program: Program, tmp_path: Path) -> None:
    program.config["store"]["url"] = f"sqlite:{tmp_path}/nowhere/gapless.db"
    code, said = program.fail()
    assert (code, said) == (1, f"Error: {tmp_path}/nowhere is no folder: make it first\n")


def test_a_folder_that_may_not_be_written_is_named(
    program: Program, bound: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(0o555)
    program.config["store"]["url"] = f"sqlite:{folder}/gapless.db"
    code, said = program.fail(before=bound)
    assert code == 1
    assert said.startswith(f"Error: {folder}")
    assert "Permission denied" in said or "may not be" in said
    assert len(said.splitlines()) == 1
    assert not list(folder.iterdir())


@pytest.mark.parametrize("mode", [0o444, 0o000], ids=["read-only", "unreadable"])
def test_a_file_that_may_not_be_used_is_named(program: Program, bound: list[str], mode: int) -> None:
    fill(program)
    database = program.folder / "gapless.db"
    was = database.stat().st_mode
    database.chmod(mode)
    code, said = program.fail(before=bound)
    assert code == 1
    assert said.startswith(f"Error: {database}")
    assert said.endswith("may not be read and written by this user\n")
    assert len(said.splitlines()) == 1
    database.chmod(was)
    program.start()
    assert kept(program) == KEPT


def test_a_damaged_file_is_refused_and_left_as_it_is(program: Program) -> None:
    database = program.folder / "gapless.db"
    damaged = random.Random(1).randbytes(20_000)
    database.write_bytes(damaged)
    code, said = program.fail()
    assert code == 1
    assert said == (f"Error: {database} is no SQLite database, or its header is damaged: restore a backup\n")
    assert database.read_bytes() == damaged


def test_a_file_that_lost_its_end_is_refused(program: Program) -> None:
    program.start()
    for _ in range(20):
        program.api("publish", channel="kept", data="x" * 10_000)
    assert program.stop() == 0
    database = program.folder / "gapless.db"
    os.truncate(database, database.stat().st_size // 2)
    code, said = program.fail()
    assert code == 1
    assert said.startswith(f"Error: {database}")
    assert "restore a backup" in said


def test_a_store_that_is_weaker_than_it_must_be_is_refused(small_disk: Path, program: Program) -> None:
    program.config["store"] = {"url": f"sqlite:{small_disk}/gapless.db"}
    code, said = program.fail()
    assert code in (1, 2)
    assert said.startswith("Error: ")
    assert "durability" in said


def test_a_full_disk_refuses_publishes_until_there_is_room_and_loses_nothing(
    small_disk: Path, program: Program
) -> None:
    program.config["store"]["url"] = f"sqlite:{small_disk}/gapless.db"
    fill(program)
    program.start()
    with RawClient(program.port, "") as reader:
        reader.call("subscribe", channel="kept")
        hog = use_up(small_disk)
        refused = program.api("publish", channel="kept", data="refused")["error"]
        assert (refused["code"], refused["temporary"]) == (100, True)
        assert "no space" in refused["message"].lower() or "full" in refused["message"].lower()
        assert kept(program) == KEPT
        hog.unlink()
        assert "result" in program.api("publish", channel="kept", data="stored")
        assert reader.publication("kept") == "stored"
    program.kill()
    program.start()
    assert kept(program) == [*KEPT, "stored"]


def use_up(folder: Path) -> Path:
    """Leave no room on the disk, and return the file that takes it all."""
    hog = folder / "hog"
    with hog.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(MEBI))
            except OSError:
                return hog


def with_files(most: int) -> list[str]:
    return ["/bin/sh", "-c", f'ulimit -n {most} && exec "$@"', "sh"]


def test_far_too_few_file_descriptors_are_said_to_be_too_few(program: Program) -> None:
    fill(program)
    code, said = program.fail(before=with_files(16))
    assert code in (1, 2)
    assert said.startswith("Error: only 16 files may be open")
    assert "ulimit -n" in said
    assert len(said.splitlines()) == 1
    program.start()
    assert kept(program) == KEPT


def test_who_finds_no_file_descriptor_waits_and_disturbs_nobody(program: Program) -> None:
    most = 64
    program.start(before=with_files(most))
    assert f"only {most} files may be open" in program.output()
    with RawClient(program.port, "") as reader:
        reader.call("subscribe", channel="kept")
        crowd = [socket.create_connection(("127.0.0.1", program.port)) for _ in range(2 * most)]
        reader.call("publish", channel="kept", data="in the crowd")
        for connection in crowd:
            connection.close()
        assert "result" in program.api("publish", channel="kept", data="after it")
        assert [reader.publication("kept") for _ in range(2)] == ["in the crowd", "after it"]
    assert "no connection can be accepted" in program.output()
