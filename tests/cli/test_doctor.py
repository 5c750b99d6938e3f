"""The doctor names what is unwise, and what must be mended, and says what to do about each."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from gapless.backends import Options
from gapless.backends.sqlite.database import Database
from gapless.cli import main
from gapless.cli.doctor import _needed_bytes
from gapless.cli.examining import (
    Finding,
    Machine,
    StoreFacts,
    Weight,
    clock_findings,
    configuration_findings,
    machine_findings,
    store_findings,
)
from gapless.core.stream import Entry, Retention, Stored
from gapless.ports import Durability
from gapless.server.config import Source, read
from tests.program import merged

SECRET = "a secret of at least thirty-two bytes"
SOUND: dict[str, Any] = {
    "http_server": {"address": "127.0.0.1"},
    "http_api": {"key": "0123456789abcdef"},
    "client": {"token": {"hmac_secret_key": SECRET}},
}
PUBLIC = {"http_server": {"address": ""}}
NOW_MS = 1_800_000_000_000


def weights(findings: list[Finding]) -> dict[str, Weight]:
    return {finding.about: finding.weight for finding in findings}


def configured(*more: dict[str, Any]) -> dict[str, Weight]:
    return weights(configuration_findings(read([Source(name="test", tree=merged(SOUND, *more))])))


def test_a_sound_configuration_is_said_to_be_one() -> None:
    assert configured() == {"configuration": Weight.GOOD}


@pytest.mark.parametrize(
    ("about", "weight", "more"),
    [
        ("client.insecure", Weight.MEND, {**PUBLIC, "client": {"insecure": True}}),
        ("client.insecure", Weight.NOTE, {"client": {"insecure": True}}),
        ("client.insecure", Weight.MEND, {"http_server": {"address": "::"}, "client": {"insecure": True}}),
        ("http_api.insecure", Weight.MEND, {**PUBLIC, "http_api": {"insecure": True}}),
        ("http_api.key", Weight.NOTE, {"http_api": {"key": ""}}),
        ("http_api.key", Weight.MEND, {"http_api": {"key": "short"}}),
        ("client.token.hmac_secret_key", Weight.MEND, {"client": {"token": {"hmac_secret_key": "short"}}}),
        ("client.token", Weight.MEND, {"client": {"token": {"hmac_secret_key": ""}}}),
        ("http_server.tls", Weight.NOTE, PUBLIC),
        ("client.allowed_origins", Weight.NOTE, {"client": {"allowed_origins": ["*"]}}),
        ("prometheus", Weight.NOTE, {**PUBLIC, "prometheus": {"enabled": True}}),
    ],
)
def test_what_is_unwise_in_a_configuration_is_named(about: str, weight: Weight, more: dict[str, Any]) -> None:
    assert configured(more)[about] is weight


@pytest.mark.parametrize(
    ("about", "weight", "facts"),
    [
        ("store", Weight.MEND, StoreFacts(None, trouble="it is damaged")),
        ("durability", Weight.MEND, StoreFacts(Durability.PROCESS)),
        ("durability", Weight.GOOD, StoreFacts(Durability.DISK)),
        ("fsync", Weight.MEND, StoreFacts(None, fsync_us=5)),
        ("fsync", Weight.GOOD, StoreFacts(None, fsync_us=100)),
        ("fsync", Weight.NOTE, StoreFacts(None, fsync_us=50_000)),
        ("free room", Weight.MEND, StoreFacts(None, free_bytes=1 << 20, needed_bytes=2 << 20)),
        ("free room", Weight.NOTE, StoreFacts(None, free_bytes=2 << 20, needed_bytes=2 << 20)),
        ("free room", Weight.NOTE, StoreFacts(None, free_bytes=500 << 20)),
        ("free room", Weight.GOOD, StoreFacts(None, free_bytes=5 << 30)),
    ],
)
def test_the_store_and_its_disk_are_judged(about: str, weight: Weight, facts: StoreFacts) -> None:
    assert weights(list(store_findings(facts, Durability.DISK)))[about] is weight


def test_what_has_to_be_free_is_the_stores_own_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, mebibyte = tmp_path / "gapless.db", 1 << 20
    assert _needed_bytes(path) == 80 * mebibyte
    room = os.statvfs(tmp_path)
    small = SimpleNamespace(f_blocks=64 * mebibyte // room.f_frsize, f_frsize=room.f_frsize)
    monkeypatch.setattr(os, "statvfs", lambda folder: small)
    assert _needed_bytes(path) == (16 + 2) * mebibyte
    (tmp_path / "gapless.db.ballast").touch()
    assert _needed_bytes(path) == 2 * mebibyte


def test_a_store_in_memory_that_is_meant_to_be_one_is_a_note() -> None:
    (finding,) = store_findings(StoreFacts(Durability.MEMORY), Durability.MEMORY)
    assert finding.weight is Weight.NOTE


def test_a_machine_is_judged_by_the_connections_it_is_to_hold() -> None:
    small = Machine(open_files_max=1_024, open_files_soft=1_024, backlog_max=128, local_ports=1_000)
    found = weights(list(machine_findings(small, 0)))
    assert found == {
        "open files": Weight.MEND,
        "net.core.somaxconn": Weight.NOTE,
        "local ports": Weight.NOTE,
    }
    assert weights(list(machine_findings(small, 500)))["open files"] is Weight.GOOD
    assert list(machine_findings(Machine(None, None, None, None), 0)) == []


@pytest.mark.parametrize(
    ("now_ms", "stored_ms", "is_synchronised", "weight"),
    [
        (NOW_MS, NOW_MS - 5, True, Weight.GOOD),
        (NOW_MS, None, None, Weight.GOOD),
        (NOW_MS, None, False, Weight.NOTE),
        (NOW_MS, NOW_MS + 3_600_000, True, Weight.MEND),
        (0, None, True, Weight.MEND),
    ],
)
def test_a_clock_is_judged(
    now_ms: int, stored_ms: int | None, is_synchronised: bool | None, weight: Weight
) -> None:
    (finding,) = clock_findings(now_ms, stored_ms, is_synchronised)
    assert finding.weight is weight


def examined(tmp_path: Path, tree: dict[str, Any], *options: str) -> tuple[int, str]:
    place = tmp_path / "gapless.json"
    place.write_text(json.dumps(tree))
    done = CliRunner().invoke(main, ["doctor", "--config", str(place), *options])
    return done.exit_code, done.output


def sound_at(tmp_path: Path) -> dict[str, Any]:
    server = {"address": "127.0.0.1", "port": 9}  # nobody answers there
    store = {"url": f"sqlite:{tmp_path / 'gapless.db'}", "durability": "process"}
    return merged(SOUND, {"http_server": server, "store": store})


def test_the_doctor_makes_no_store_and_says_what_it_saw(tmp_path: Path) -> None:
    _, printed = examined(tmp_path, sound_at(tmp_path))
    assert "free room" in printed
    assert "fsync" in printed
    assert "SQLite" in printed
    assert os.listdir(tmp_path) == ["gapless.json"]


def test_the_doctor_forgets_no_key_before_its_configured_window(tmp_path: Path) -> None:
    tree = sound_at(tmp_path)
    tree["store"]["idempotency_window"] = "300000h"
    options = Options(now_ms=lambda: 1_600_000_000_000, ballast_bytes=0, free_bytes_min=0)
    database = Database(tmp_path / "gapless.db", options, None)
    database.write([Entry("s", b"x", Retention(), key="k")])
    database.close()
    examined(tmp_path, tree)
    database = Database(tmp_path / "gapless.db", options, None)
    [stored] = database.write([Entry("s", b"x", Retention(), key="k")])
    assert isinstance(stored, Stored)
    assert not stored.fresh
    database.close()


def test_the_exit_code_tells_whether_something_must_be_mended(tmp_path: Path) -> None:
    (tmp_path / "gapless.db").write_bytes(b"this is no database" * 1_000)
    code, printed = examined(tmp_path, sound_at(tmp_path), "--json")
    assert code == 1
    findings = {each["about"]: each for each in json.loads(printed)["findings"]}
    assert findings["store"]["weight"] == "mend"
    assert findings["configuration"]["weight"] == "good"
    assert SECRET not in printed
