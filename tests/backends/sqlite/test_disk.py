"""What a file survives depends on what it lies on; and room is kept in reserve."""

from pathlib import Path

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
