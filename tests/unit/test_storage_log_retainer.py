"""storage/log/retainer.py: segments go oldest first, explained, whatever interrupts it."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.errors import CursorExpired, LogDamaged
from storage.log import LogReader
from storage.log.dropped import read_dropped, write_dropped
from storage.log.retainer import Retainer, finish_removal
from storage.log.retention import Bounds
from storage.log.verify import verify
from tests.storage_log_kit import HookedDisk, QuickDisk, append_blocks, as_written, open_writer, read_all

KEEP_NOTHING = Bounds(keep_bytes=1)


def a_log(directory: Path, blocks: int = 40) -> None:
    writer = open_writer(directory, segment_bytes=32 * 1024)
    append_blocks(writer, blocks)
    assert writer.wait_idle(10)
    writer.close()


def run(
    retainer: Retainer, *, needed_seq: int = 10**9, bounds: Bounds = KEEP_NOTHING, busy: object = ()
) -> int:
    return len(
        retainer.run(needed_seq=needed_seq, excess_bytes=0, bounds=bounds, busy=busy, now_ms=5)  # type: ignore[arg-type]
    )


def test_what_is_left_is_whole_and_explained(tmp_path: Path) -> None:
    a_log(tmp_path)
    before = [as_written(block) for block in read_all(tmp_path)[0]]
    count = len(list(tmp_path.glob("*.seg")))
    retainer = Retainer(QuickDisk(), tmp_path)
    assert run(retainer) == count - 1, "the newest sealed segment stays"
    left = [as_written(block) for block in read_all(tmp_path)[0]]
    assert 0 < len(left) < len(before)
    assert before[-len(left) :] == left
    report = verify(tmp_path)
    assert report.ok, report.damaged
    assert report.first_seq == retainer.dropped.next_seq == retainer.first_seq == left[0].first_seq
    assert report.dropped == retainer.dropped.ranges
    assert "removed by the rule 'keep'" in report.notes[-1]
    assert retainer.dropped.records == left[0].first_seq - 1
    assert retainer.log_bytes == sum(path.stat().st_size for path in tmp_path.glob("0*"))
    assert run(retainer) == 0
    open_writer(tmp_path).close()
    assert verify(tmp_path).ok


def test_a_reader_is_told_where_to_go_on_and_lets_the_space_go(tmp_path: Path) -> None:
    a_log(tmp_path)
    reader = LogReader(tmp_path)
    reader.read(1)
    retainer = Retainer(QuickDisk(), tmp_path)
    run(retainer)
    assert reader.first_seq() == retainer.dropped.next_seq
    with pytest.raises(CursorExpired) as expired:
        reader.read(1)
    assert expired.value.next_seq == retainer.dropped.next_seq
    assert reader.read(expired.value.next_seq)[0].first_seq == expired.value.next_seq
    reader.close()


def test_what_somebody_needs_stays(tmp_path: Path) -> None:
    a_log(tmp_path)
    retainer = Retainer(QuickDisk(), tmp_path)
    second = sorted(tmp_path.glob("*.seg"))[1]
    needed = int(second.name[9:29]) + 1
    assert run(retainer, needed_seq=needed) == 1
    assert second.exists()
    assert run(retainer, needed_seq=0) == 0


def test_the_quota_counts_what_somebody_had_still_to_read(tmp_path: Path) -> None:
    a_log(tmp_path)
    retainer = Retainer(QuickDisk(), tmp_path)
    gone = run(retainer, needed_seq=3, bounds=Bounds(quota_bytes=1))
    dropped = read_dropped(QuickDisk(), tmp_path)
    assert gone == dropped.ranges[0].segment_count > 1
    assert (dropped.ranges[0].rule, dropped.unread_records) == ("quota", dropped.records - 2)


def test_a_segment_that_waits_to_be_sealed_stays(tmp_path: Path) -> None:
    a_log(tmp_path)
    third = sorted(tmp_path.glob("*.seg"))[2]
    busy = {(1, int(third.name[9:29]))}
    assert run(Retainer(QuickDisk(), tmp_path), busy=busy) == 2


@pytest.mark.parametrize("call", ["pwritev", "fsync", "rename", "unlink", "fsync_directory"])
def test_what_was_interrupted_is_finished_and_counted_once(tmp_path: Path, call: str) -> None:
    a_log(tmp_path)
    disk = HookedDisk()
    retainer = Retainer(disk, tmp_path)

    def fail(called: str, name: str) -> None:
        if called == call:
            disk.hook = lambda called, name: None
            raise OSError(errno.EIO, "injected")

    disk.hook = fail
    with pytest.raises(OSError, match="injected"):
        run(retainer)
    assert verify(tmp_path).ok
    again = Retainer(QuickDisk(), tmp_path)
    finish_removal(QuickDisk(), tmp_path, again.dropped)
    run(again)
    run(retainer)
    assert verify(tmp_path).ok
    dropped = read_dropped(QuickDisk(), tmp_path)
    assert dropped.records == dropped.next_seq - 1
    assert LogReader(tmp_path).first_seq() == dropped.next_seq


def test_nothing_goes_while_the_list_of_what_went_can_not_be_read(tmp_path: Path) -> None:
    a_log(tmp_path)
    (tmp_path / "dropped").write_bytes(b"rotten")
    retainer = Retainer(QuickDisk(), tmp_path)
    with pytest.raises(LogDamaged):
        run(retainer)
    report = verify(tmp_path)
    assert [each.segment for each in report.damaged] == ["dropped"]
    open_writer(tmp_path).close()


def test_a_beginning_that_no_rule_removed_is_damage(tmp_path: Path) -> None:
    a_log(tmp_path)
    sorted(tmp_path.glob("*.seg"))[0].unlink()
    damaged = verify(tmp_path).damaged
    assert [(each.first_seq, "no rule" in each.reason) for each in damaged] == [(1, True)]


def test_a_log_that_continues_something_else_is_damage(tmp_path: Path) -> None:
    a_log(tmp_path / "a")
    run(Retainer(QuickDisk(), tmp_path / "a"))
    content = read_dropped(QuickDisk(), tmp_path / "a")
    write_dropped(QuickDisk(), tmp_path / "a", replace(content, last_hash="00" * 32))
    assert "the hashes differ" in verify(tmp_path / "a").damaged[0].reason
