"""Verification: what it finds beyond what reading finds."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import NotFound
from storage.log import LogWriter, OsDisk
from storage.log.verify import verify
from tests.storage_log_kit import NODE_ID, STREAM, KitSigner, append_blocks, open_writer


@pytest.fixture
def log(tmp_path: Path) -> Path:
    directory = tmp_path / "log"
    writer = open_writer(directory)
    append_blocks(writer, 30)
    assert writer.wait_idle(10)
    writer.close()
    return directory


def test_a_whole_log(log: Path) -> None:
    report = verify(log, trusted_keys={KitSigner().key_id})
    assert report.ok
    assert (report.stream, report.node_id, report.epoch) == (STREAM, NODE_ID.hex(), 1)
    assert report.signed_by == (KitSigner().key_id.hex(),)
    assert (
        sum(segment.record_count for segment in report.segments) == report.record_count == report.next_seq - 1
    )
    assert json.loads(json.dumps(asdict(report)))["ok"] is True


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        verify(tmp_path / "nothing")


def test_a_key_that_is_not_trusted(log: Path) -> None:
    report = verify(log, trusted_keys=[b"x" * 32])
    assert {item.reason.split(" by ")[0] for item in report.damaged} == {"it is signed"}


def test_a_segment_swapped_for_another_logs(log: Path, tmp_path: Path) -> None:
    other = LogWriter.open(
        tmp_path / "other",
        stream=STREAM,
        node_id=b"o" * 16,
        signer=KitSigner(),
        clock=ManualClock(),
        segment_bytes=65536,
    )
    append_blocks(other, 30)
    other.close()
    oldest = sorted(log.glob("*.seg"))[0]
    oldest.unlink()
    shutil.copy(tmp_path / "other" / oldest.name, oldest)
    report = verify(log)
    reasons = " ".join(item.reason for item in report.damaged)
    assert "another node or stream" in reasons
    assert "does not continue" in reasons


def test_a_head_that_promises_more_than_there_is(log: Path) -> None:
    newest = sorted(log.glob("*.open"))[-1]
    first = int(newest.name[9:29])
    newest.unlink()
    report = verify(log)
    assert [(item.first_seq, item.next_seq > first) for item in report.damaged] == [(first, True)]
    for path in log.glob("*.seg"):
        path.unlink()
    assert "no segment" in verify(log).damaged[0].reason


def test_a_head_with_another_hash(log: Path) -> None:
    head = bytearray((log / "head").read_bytes())
    head[:] = bytes(4096)
    (log / "head").write_bytes(head)
    assert "head file" in verify(log).damaged[0].reason
    (log / "head").write_bytes(b"")
    assert "too short" in verify(log).damaged[0].reason


def test_a_renamed_segment(log: Path) -> None:
    newest = sorted(log.glob("*.open"))[-1]
    newest.rename(log / "00000001-00000000000000099999.open")
    assert any("name" in item.reason or "place" in item.reason for item in verify(log).damaged)


def test_a_torn_tail_is_a_note_and_no_damage(log: Path) -> None:
    newest = sorted(log.glob("*.open"))[-1]
    (log / "head").unlink()
    with newest.open("r+b") as file:
        content = file.read()
        end = len(content.rstrip(b"\0"))
        file.seek(-(-end // 4096) * 4096)
        file.write(b"torn")
    report = verify(log)
    assert report.ok
    assert "torn tail" in report.notes[0]


def test_it_verifies_while_the_writer_runs_and_segments_change_names(log: Path) -> None:
    writer = open_writer(log)

    class Racing(OsDisk):
        """Seals the newest segment between the listing and the opening of files."""

        raced = False

        def names(self, directory: Path) -> list[str]:
            found = super().names(directory)
            if not self.raced:
                self.raced = True
                append_blocks(writer, 20, seed=3)
                assert writer.wait_idle(10)
            return found

    report = verify(log, disk=Racing())
    assert report.ok, report.damaged
    writer.close()


def test_a_file_that_keeps_vanishing(log: Path) -> None:
    class Vanishing(OsDisk):
        def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
            if path.suffix == ".seg":
                raise FileNotFoundError(path)
            return super().open(path, write=write, create=create)

    assert "vanishes" in verify(log, disk=Vanishing()).damaged[0].reason
