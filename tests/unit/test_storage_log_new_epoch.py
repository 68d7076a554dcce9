"""A copied log goes on in an epoch of its own: the box that it was copied from may go on, too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from storage.log import LogReader, OsDisk, new_epoch
from storage.log import writer as writers
from storage.log.segment_header import NO_BRANCH, decode_segment_header
from storage.log.verify import verify
from tests.backup_kit import Box, make_box, read_all, write_one


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = make_box(tmp_path)
    made.publish(30)
    return made


def names(box: Box) -> list[str]:
    return sorted(path.name for path in box.log.iterdir() if path.name[:8].isdigit())


def test_records_of_before_are_followed_by_those_of_the_new_epoch(box: Box) -> None:
    new_epoch.ask(OsDisk(), box.log)
    writer = box.open_log()
    assert (writer.head.epoch, writer.head.next_seq) == (2, 31)
    assert not (box.log / "new-epoch").exists()
    write_one(writer, 30)
    writer.close()
    box.publish(30, start=31)
    assert read_all(box.log) == list(range(61))
    report = verify(box.log)
    assert report.ok, report.damaged
    assert (report.epoch, report.next_seq) == (2, 62)


def test_without_being_asked_the_epoch_stays(box: Box) -> None:
    box.publish(1, start=30)
    assert verify(box.log).epoch == 1


def test_two_boxes_that_go_on_do_not_look_the_same(box: Box, tmp_path: Path) -> None:
    other = tmp_path / "copy"
    shutil.copytree(box.log, other)
    new_epoch.ask(OsDisk(), other)
    copy = writers.LogWriter.open(
        other, stream="telemetry", node_id=box.keys.node_id, signer=box.keys.signer, clock=ManualClock()
    )
    write_one(copy, 999)
    copy.close()
    box.publish(1, start=30)
    heads = []
    for directory in (box.log, other):
        reader = LogReader(directory)
        heads.append(reader.head())
        reader.close()
    assert heads[0].next_seq == heads[1].next_seq == 32
    assert [head.epoch for head in heads] == [1, 2]


def test_a_crash_before_the_request_is_removed_costs_a_number_and_nothing_else(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_epoch.ask(OsDisk(), box.log)
    monkeypatch.setattr(writers, "epoch_begun", lambda *_, **__: None)
    for epoch in (2, 3):
        writer = box.open_log()
        assert writer.head.epoch == epoch
        writer.close()
    monkeypatch.undo()
    writer = box.open_log()
    assert writer.head.epoch == 4
    write_one(writer, 30)
    assert writer.wait_idle(30)
    writer.close()
    assert read_all(box.log) == list(range(31))
    assert verify(box.log).ok
    assert [name for name in names(box) if not name.startswith("00000001")] == [
        "00000004-00000000000000000031.open"
    ]


def test_an_empty_log_begins_in_its_epoch(tmp_path: Path) -> None:
    box = make_box(tmp_path)
    box.log.mkdir(parents=True)
    new_epoch.ask(OsDisk(), box.log)
    box.publish(3)
    assert read_all(box.log) == [0, 1, 2]
    report = verify(box.log)
    assert report.ok
    assert report.epoch == 2


def test_a_grant_stands_in_the_header_of_the_first_segment_and_of_no_other(box: Box) -> None:
    branch = bytes(range(16))
    new_epoch.ask(OsDisk(), box.log, at_least=5, branch=branch)
    assert new_epoch.wanted_epoch(OsDisk(), box.log) == (5, branch)
    writer = box.open_log()
    write_one(writer, 30)
    writer.close()
    box.publish(10, start=31)
    found = {}
    for name in names(box):
        header = decode_segment_header((box.log / name).read_bytes()[:4096])
        assert header is not None
        found[header.epoch, header.first_seq] = header.branch
    assert found.pop((5, 31)) == branch
    assert set(found.values()) == {NO_BRANCH}
    report = verify(box.log)
    assert report.ok, report.damaged


@pytest.mark.parametrize("text", [b"", b"x", b"5 beef", b"5" * 11])
def test_what_is_no_number_asks_for_the_next(box: Box, text: bytes) -> None:
    (box.log / "new-epoch").write_bytes(text)
    assert new_epoch.wanted_epoch(OsDisk(), box.log) == (0, NO_BRANCH)
