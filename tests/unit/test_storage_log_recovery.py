"""Recovery: each row of the table in storage/log/recovery.py that the other tests don't single out."""

from __future__ import annotations

import errno
from dataclasses import asdict
from pathlib import Path

import pytest

from storage.log.disk import OsDisk
from storage.log.recovery import end_on_disk
from storage.log.verify import verify
from tests.storage_log_kit import HookedDisk, append_blocks, as_written, open_writer, read_all

FIRST = "00000001-00000000000000000001"


def written_log(directory: Path, count: int = 6) -> int:
    writer = open_writer(directory)
    append_blocks(writer, count)
    writer.close()
    return writer.head.offset


def test_a_clean_end_is_left_as_it_is(tmp_path: Path) -> None:
    written_log(tmp_path)
    before = (tmp_path / f"{FIRST}.open").read_bytes()
    writer = open_writer(tmp_path)
    report = writer.recovery
    assert (report.newest_segment, report.frame_count, report.torn_bytes, report.damaged) == (
        f"{FIRST}.open",
        6,
        0,
        (),
    )
    writer.close()
    assert (tmp_path / f"{FIRST}.open").read_bytes() == before
    assert not (tmp_path / "torn").exists()
    assert asdict(report)["header_repaired"] is False


def test_a_torn_tail_is_kept_aside_and_its_place_is_zero_again(tmp_path: Path) -> None:
    end = written_log(tmp_path)
    path = tmp_path / f"{FIRST}.open"
    with path.open("r+b") as file:
        file.seek(end + 4096)
        file.write(b"half a frame" * 100)
    disk = HookedDisk()
    writer = open_writer(tmp_path, disk=disk)
    assert writer.recovery.torn_file == f"torn/{FIRST}.open.{end}.torn"
    assert writer.recovery.torn_bytes == 8192
    assert writer.recovery.torn_reason == "no frame begins here"
    assert (tmp_path / writer.recovery.torn_file).read_bytes()[4096:].startswith(b"half a frame")
    assert not any(path.read_bytes()[end:])
    assert path.stat().st_size == 64 * 1024
    calls = [
        call for call, name in disk.calls if name in (f"{FIRST}.open", path.name) or name.endswith(".torn")
    ]
    assert (
        calls.index("pwritev")
        < calls.index("truncate", calls.index("pwritev"))
        < len(calls) - calls[::-1].index("fsync")
    )
    writer.close()


def test_the_page_cache_is_avoided_and_a_refusal_is_told(tmp_path: Path) -> None:
    written_log(tmp_path)
    disk = HookedDisk()
    writer = open_writer(tmp_path, disk=disk)
    calls = [call for call, name in disk.calls if name == f"{FIRST}.open"]
    assert calls.index("fsync") < calls.index("pread_direct"), "fsynced before it is trusted"
    assert writer.recovery.direct_read_refused == ""
    writer.close()

    def refuse(operation: str, name: str) -> None:
        if operation == "open_direct":
            raise OSError(errno.EINVAL, "Invalid argument")

    disk.hook = refuse
    writer = open_writer(tmp_path, disk=disk)
    assert "O_DIRECT" in writer.recovery.direct_read_refused
    assert writer.recovery.frame_count == 6
    writer.close()


def test_leftovers_are_removed(tmp_path: Path) -> None:
    written_log(tmp_path)
    for name in ("spare", "manifest.new"):
        (tmp_path / name).write_bytes(b"left over")
    (tmp_path / "00000001-00000000000000009999.open").write_bytes(bytes(64 * 1024))
    writer = open_writer(tmp_path)
    assert writer.recovery.removed == ("00000001-00000000000000009999.open",)
    assert not {"spare", "manifest.new"} & {path.name for path in tmp_path.iterdir()}
    assert writer.recovery.frame_count == 6
    writer.close()


def test_half_a_header_is_kept_aside_and_removed(tmp_path: Path) -> None:
    written_log(tmp_path)
    half = tmp_path / "00000001-00000000000000009999.open"
    half.write_bytes(b"HPLOGSEG" + bytes(64 * 1024 - 8))
    writer = open_writer(tmp_path)
    assert not half.exists()
    assert (tmp_path / writer.recovery.torn_file).read_bytes().startswith(b"HPLOGSEG")
    writer.close()


def test_damage_is_left_as_it_is_and_a_new_segment_continues(tmp_path: Path) -> None:
    written_log(tmp_path)
    path = tmp_path / f"{FIRST}.open"
    content = bytearray(path.read_bytes())
    content[4096 + 100] ^= 1
    path.write_bytes(content)
    for _ in range(2):  # a second start finds the same
        writer = open_writer(tmp_path)
        writer.wait_idle(10)
        writer.close()
        assert (tmp_path / f"{FIRST}.damaged").read_bytes() == content
    blocks, refused = read_all(tmp_path)
    assert len(blocks) == 5
    assert refused == [(1, blocks[0].first_seq)]
    report = verify(tmp_path)
    assert [(item.first_seq, item.next_seq) for item in report.damaged] == refused


def test_damage_and_a_torn_tail_together_lose_only_what_was_hit(tmp_path: Path) -> None:
    end = written_log(tmp_path)
    path = tmp_path / f"{FIRST}.open"
    content = bytearray(path.read_bytes())
    content[4096 + 100] ^= 1
    content[end : end + 4] = b"HPFR"
    path.write_bytes(content)
    writer = open_writer(tmp_path)
    more = append_blocks(writer, 2, seed=7)
    writer.close()
    blocks, refused = read_all(tmp_path)
    assert len(refused) == 1
    assert [as_written(block) for block in blocks[-2:]] == more
    assert len(blocks) == 7


def test_an_older_segment_that_is_damaged_is_set_aside_instead_of_signed(tmp_path: Path) -> None:
    disk = HookedDisk()

    def fail(called: str, name: str) -> None:
        if called == "fsync" and name.endswith(".open"):
            raise OSError(errno.EIO, "Input/output error")

    writer = open_writer(tmp_path, disk=disk)
    disk.hook = fail
    written = append_blocks(writer, 20)
    writer.close()
    oldest = sorted(tmp_path.glob("*.open"))[0]
    content = bytearray(oldest.read_bytes())
    content[4096 + 97] ^= 4
    oldest.write_bytes(content)
    writer = open_writer(tmp_path)
    assert writer.wait_idle(10)
    assert [item.first_seq for item in writer.statistics().damaged] == [1]
    writer.close()
    assert oldest.with_suffix(".damaged").exists()
    blocks, refused = read_all(tmp_path)
    assert [as_written(block) for block in blocks] == written[1:]
    assert len(refused) == 1


def test_at_most_sixteen_tails_are_kept(tmp_path: Path) -> None:
    for _ in range(20):
        end = written_log(tmp_path, 1)
        path = next(tmp_path.glob("*.open"))
        if end + 4096 > 64 * 1024:
            break
        with path.open("r+b") as file:
            file.seek(end)
            file.write(b"torn")
    (tmp_path / "torn").mkdir(exist_ok=True)
    for number in range(30):
        (tmp_path / "torn" / f"0-{number:03d}.torn").write_bytes(b"old")
    end = written_log(tmp_path, 1)
    with max(tmp_path.glob("*.open")).open("r+b") as file:
        file.seek(end)
        file.write(b"torn")
    open_writer(tmp_path).close()
    assert len(list((tmp_path / "torn").iterdir())) == 16


@pytest.mark.parametrize("operation", ["pwritev", "allocate"])
def test_a_full_disk_does_not_stop_recovery(tmp_path: Path, operation: str) -> None:
    end = written_log(tmp_path)
    with (tmp_path / f"{FIRST}.open").open("r+b") as file:
        file.seek(end)
        file.write(b"torn")
    disk = HookedDisk()

    def full(called: str, name: str) -> None:
        if called == operation:
            raise OSError(errno.ENOSPC, "No space left on device")

    disk.hook = full
    writer = open_writer(tmp_path, disk=disk)
    assert writer.recovery.torn_bytes == 4096
    assert bool(writer.recovery.torn_file) == (operation == "allocate")
    disk.hook = lambda called, name: None
    append_blocks(writer, 3)
    writer.close()
    assert len(read_all(tmp_path)[0]) == 9
    assert verify(tmp_path).ok


def test_the_end_is_found_without_changing_anything(tmp_path: Path) -> None:
    assert end_on_disk(OsDisk(), tmp_path) == (0, 1)
    written_log(tmp_path)
    writer = open_writer(tmp_path)
    end = (writer.head.epoch, writer.head.next_seq)
    writer.close()
    (tmp_path / "head").unlink()
    unfinished = tmp_path / f"00000001-{end[1]:020d}.open"
    unfinished.write_bytes(bytes(8192))
    before = sorted(path.name for path in tmp_path.iterdir())
    assert end_on_disk(OsDisk(), tmp_path) == end
    assert sorted(path.name for path in tmp_path.iterdir()) == before
