"""What a file survives depends on what it lies on; and room is kept in reserve."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from gapless.backends.sqlite.disk import Disk, durability_of
from gapless.core.errors import StoreFailed
from gapless.ports import Durability

MOUNTS = r"""
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:20 / /dev/shm rw shared:2 - tmpfs tmpfs rw,size=1024k
23 21 0:30 / /mnt/share rw - nfs4 server:/export rw,vers=4.2
24 21 0:31 / /mnt/with\040space rw - xfs /dev/vdb rw
25 24 0:32 / /mnt/with\040space/unsafe rw - ext4 /dev/vdc rw,barrier=0
26 21 0:33 / /container rw - overlay overlay rw,lowerdir=/a
27 21 0:34 / /scratch rw - overlay overlay rw,lowerdir=/a,volatile
28 21 0:35 / /over rw - ext4 /dev/vdd rw
29 28 0:36 / /over rw - tmpfs tmpfs rw
30 21 0:37 / /fuse rw - fuse.sshfs host: rw
""".strip()


@pytest.mark.parametrize(
    ("path", "durability"),
    [
        ("/var/store.db", Durability.DISK),
        ("/dev/shm/store.db", Durability.PROCESS),
        ("/dev/shmother/store.db", Durability.DISK),
        ("/mnt/share/deep/store.db", Durability.PROCESS),
        ("/mnt/with space/store.db", Durability.DISK),
        ("/mnt/with space/unsafe/store.db", Durability.PROCESS),
        ("/container/store.db", Durability.DISK),
        ("/scratch/store.db", Durability.PROCESS),
        ("/over/store.db", Durability.PROCESS),
        ("/fuse/store.db", Durability.PROCESS),
    ],
)
def test_only_a_local_disk_survives_a_power_cut(path: str, durability: Durability) -> None:
    assert durability_of(Path(path), MOUNTS) is durability


def test_a_file_system_that_is_not_known_is_taken_for_weaker() -> None:
    assert durability_of(Path("/var/store.db"), "") is Durability.PROCESS


def test_the_ballast_is_given_up_when_room_is_short_and_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path / "store.db", ballast_bytes=4_096, free_bytes_min=100)
    free_bytes = [10_000]
    monkeypatch.setattr(disk, "free_bytes", lambda: free_bytes[0])
    ballast = tmp_path / "store.db.ballast"
    disk.take_ballast()
    assert ballast.stat().st_size == 4_096
    assert not disk.is_short()
    free_bytes[0] = 99
    assert disk.is_short()

    def told(unused_bytes: int) -> tuple[bool, bool]:
        disk.check_room(unused_bytes)
        return disk.is_full, ballast.exists()

    assert told(0) == (True, False)
    free_bytes[0] = 4_096 + 99
    assert told(0) == (True, False)
    assert told(200) == (False, False)
    disk.fill()
    free_bytes[0] = 10_000
    assert told(0) == (False, True)


def test_a_disk_with_room_for_the_ballast_is_full_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is opened again, as after a compaction, takes the ballast before it is written to."""
    disk = Disk(tmp_path / "store.db", ballast_bytes=4_096, free_bytes_min=100)
    monkeypatch.setattr(disk, "free_bytes", lambda: 4_196)
    disk.fill()
    disk.take_ballast()
    assert (tmp_path / "store.db.ballast").exists()
    assert not disk.is_full


def test_room_inside_the_database_does_for_appends_without_a_ballast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is every other append refused, nor is what the ballast is there for used up by them."""
    disk = Disk(tmp_path / "store.db", ballast_bytes=4_096, free_bytes_min=100)
    monkeypatch.setattr(disk, "free_bytes", lambda: 1_000)
    disk.fill()
    for unused_bytes, is_full in (
        (3_295, True),
        (3_296, False),
        (3_296, False),
        (3_196, False),
        (3_195, True),
    ):
        assert disk.is_short()
        disk.check_room(unused_bytes)
        assert disk.is_full is is_full, unused_bytes
    disk.rest()
    disk.check_room(5_000)
    disk.rest()
    assert not (tmp_path / "store.db.ballast").exists()
    monkeypatch.setattr(disk, "free_bytes", lambda: 4_196)
    disk.rest()
    assert (tmp_path / "store.db.ballast").exists()


def test_a_ballast_that_is_there_is_held_and_of_another_size_made_this_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ballast = tmp_path / "store.db.ballast"
    for there_bytes, free_bytes, is_held in (
        (4_096, 100, True),
        (4_096, 99, False),
        (96, 4_100, True),
        (9_999, 100, True),
    ):
        ballast.write_bytes(bytes(there_bytes))
        disk = Disk(tmp_path / "store.db", ballast_bytes=4_096, free_bytes_min=100)
        monkeypatch.setattr(disk, "free_bytes", lambda free_bytes=free_bytes: free_bytes)
        disk.take_ballast()
        assert ballast.stat().st_size == 4_096
        assert disk.is_short() is not is_held


@pytest.mark.parametrize(
    ("mebibytes", "ballast", "reserve", "wal"),
    [(64, 16, 2, 8), (96, 24, 3, 12), (512, 64, 16, 64), (100_000, 64, 16, 125), (0, 64, 16, 125)],
)
def test_on_a_small_file_system_all_that_is_kept_beside_is_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mebibytes: int, ballast: int, reserve: int, wal: int
) -> None:
    """Of one that does not tell its size (0) nothing is known."""
    mebi = 1 << 20
    told = SimpleNamespace(f_blocks=mebibytes * 256, f_bavail=(ballast + reserve) * 256, f_frsize=4_096)
    monkeypatch.setattr("os.statvfs", lambda path: told)
    disk = Disk(tmp_path / "store.db", 64 * mebi, 16 * mebi)
    assert not disk.is_short()
    told.f_bavail -= 1
    assert disk.is_short()
    assert (disk.wal_pages_max * 4_096 // mebi, disk.wal_pages * 2) == (wal, disk.wal_pages_max)


def test_another_file_under_the_same_path_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    disk = Disk(path, 0, 0)
    disk.remember()
    disk.check_same()
    (tmp_path / "other").touch()
    (tmp_path / "other").replace(path)
    with pytest.raises(StoreFailed):
        disk.check_same()
    path.unlink()
    with pytest.raises(StoreFailed):
        disk.check_same()
