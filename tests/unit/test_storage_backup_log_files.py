"""The log's files while its writer goes on: sealed meanwhile, removed meanwhile, never recovered."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import StorageError, Unavailable
from storage.backup import log_files as module
from storage.backup.log_files import LogFile, log_files
from storage.log.disk import OsDisk
from storage.log.dropped import Dropped, DroppedRange, write_dropped
from storage.log.head import NOTHING_YET, Head
from storage.log.reader import LogReader
from tests.backup_kit import make_box, write_one


class Copies:
    """What was copied; `before` is called before each copy."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.fixed: set[str] = set()
        self.before: dict[str, object] = {}

    def copy(self, file: LogFile) -> None:
        hook = self.before.pop(file.name, None)
        if callable(hook):
            hook()
        content = file.path.read_bytes()
        self.files[file.name] = content if file.bytes_max is None else content[: file.bytes_max]
        if file.is_fixed:
            self.fixed.add(file.name)

    def discard(self, name: str) -> None:
        del self.files[name]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    box = make_box(tmp_path)
    box.publish(30)
    return box.log


def head_of(directory: Path) -> Head:
    reader = LogReader(directory)
    try:
        return reader.head()
    finally:
        reader.close()


def segments(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name.startswith("0000"))


def test_sealed_ones_are_as_they_are_and_the_active_one_ends_at_the_head(log: Path) -> None:
    copies, head = Copies(), head_of(log)
    log_files(log, head, copies.copy, copies.discard)
    assert sorted(copies.files) == segments(log)
    assert copies.fixed == {name for name in segments(log) if name.endswith(".seg")}
    assert len(copies.files[segments(log)[-1]]) == head.offset
    for name in copies.fixed:
        assert copies.files[name] == (log / name).read_bytes()


def test_segments_that_begin_after_the_head_are_left_out(tmp_path: Path) -> None:
    box = make_box(tmp_path)
    box.publish(3)
    head = head_of(box.log)
    box.publish(30, start=3)
    copies = Copies()
    log_files(box.log, head, copies.copy, copies.discard)
    (name,) = copies.files
    assert name.endswith(".open")
    assert len(copies.files[name]) == head.offset


def test_one_that_is_sealed_while_it_is_copied_is_taken_as_that(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment before the active one waits to be sealed; it is renamed in the middle of its copy."""
    monkeypatch.setattr(module, "BACKUP_SEAL_WAIT_MS", 0)
    sealed = segments(log)[1]
    waiting = sealed.replace(".seg", ".open")
    (log / sealed).rename(log / waiting)
    copies = Copies()
    copy = copies.copy

    def copy_and_seal(file: LogFile) -> None:
        copy(file)
        if file.name == waiting:
            (log / waiting).rename(log / sealed)

    log_files(log, head_of(log), copy_and_seal, copies.discard)
    assert waiting not in copies.files
    assert copies.files[sealed] == (log / sealed).read_bytes()


def test_one_that_waits_to_be_sealed_is_waited_for(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = segments(log)[1]
    waiting = sealed.replace(".seg", ".open")
    (log / sealed).rename(log / waiting)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        (log / waiting).rename(log / sealed)

    monkeypatch.setattr("storage.backup.log_files.time.sleep", sleep)
    copies = Copies()
    log_files(log, head_of(log), copies.copy, copies.discard)
    assert slept
    assert sealed in copies.files
    assert waiting not in copies.files


def test_one_that_is_never_sealed_is_taken_as_it_is(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKUP_SEAL_WAIT_MS", 0)
    sealed = segments(log)[1]
    waiting = sealed.replace(".seg", ".open")
    (log / sealed).rename(log / waiting)
    copies = Copies()
    log_files(log, head_of(log), copies.copy, copies.discard)
    assert waiting in copies.files


def test_the_active_one_may_be_sealed_meanwhile(log: Path) -> None:
    copies, head = Copies(), head_of(log)
    active = segments(log)[-1]
    (log / active).rename(log / active.replace(".open", ".seg"))
    log_files(log, head, copies.copy, copies.discard)
    assert len(copies.files[active]) == head.offset


def test_what_a_quota_removes_meanwhile_is_said_by_the_list_of_dropped_ones(log: Path) -> None:
    oldest, second = segments(log)[:2]
    next_seq = int(second[9:29])
    copies = Copies()

    def remove() -> None:
        gone = DroppedRange(
            rule="quota", epoch=1, first_seq=1, next_seq=next_seq, segment_count=1, bytes=1,
            unread_records=0, first_at_ms=1, last_at_ms=1,
        )  # fmt: skip
        write_dropped(OsDisk(), log, Dropped((gone,), ""))
        (log / oldest).unlink()

    copies.before[oldest] = remove
    log_files(log, head_of(log), copies.copy, copies.discard)
    assert oldest not in copies.files
    assert "dropped" in copies.files


def test_one_that_is_gone_without_a_word_is_an_error(log: Path) -> None:
    copies, name = Copies(), segments(log)[1]
    copies.before[name] = (log / name).unlink
    with pytest.raises(StorageError) as found:
        log_files(log, head_of(log), copies.copy, copies.discard)
    assert found.value.code == "log_segment_missing"


def test_an_active_segment_without_a_frame_is_left_out(tmp_path: Path) -> None:
    box = make_box(tmp_path)
    box.open_log().close()
    copies = Copies()
    log_files(box.log, head_of(box.log), copies.copy, copies.discard)
    assert copies.files == {}
    writer = box.open_log()
    write_one(writer, 0)
    writer.close()


def test_a_log_that_was_never_opened_here_is_refused(log: Path) -> None:
    (log / "head").unlink()
    copies = Copies()
    with pytest.raises(Unavailable) as found:
        log_files(log, NOTHING_YET, copies.copy, copies.discard)
    assert found.value.code == "log_not_recovered"


def test_no_log_at_all_is_fine(tmp_path: Path) -> None:
    copies = Copies()
    log_files(tmp_path / "none", NOTHING_YET, copies.copy, copies.discard)
    assert copies.files == {}


def test_what_is_marked_lost_goes_along(log: Path) -> None:
    (log / "lost").write_bytes(b"a statement")
    copies = Copies()
    log_files(log, head_of(log), copies.copy, copies.discard)
    assert copies.files["lost"] == b"a statement"
