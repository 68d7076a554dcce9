"""A copy of the state is whole or known not to be, and a store that it is put back into goes on as the one it was taken from."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from appliance.core.errors import StorageError
from storage.telemetry.letters import ReplayPart, note_part
from storage.telemetry.recovery import put_back, take_copy
from storage.telemetry.snapshot import (
    SnapshotName,
    forget_snapshots,
    read_snapshot,
    snapshots,
)
from tests.backlog_kit import ByHand, Stream
from tests.log_kit import append, open_log


@pytest.fixture
def filled(tmp_path: Path) -> ByHand:
    stream, writer = Stream(7), open_log(tmp_path / "log")
    for _ in range(20):
        append(writer, stream.block(20))
    writer.close()
    (tmp_path / "a").mkdir()
    made = ByHand(tmp_path / "a" / "t.duckdb", tmp_path / "log")
    trio.run(made.to_the_end)
    return made


def test_a_state_that_was_put_back_is_the_state(filled: ByHand, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    name = take_copy(filled.store, folder)
    assert name == SnapshotName(401, 1)
    assert [path.name for path in folder.iterdir()] == ["1-401.state"]
    (tmp_path / "b").mkdir()
    other = ByHand(tmp_path / "b" / "t.duckdb", tmp_path / "log")
    put_back(other.store, read_snapshot(folder, name))
    other.restart()
    expected, found = filled.contents(), other.contents()
    assert expected.pop("rows")
    assert found.pop("rows") == []
    assert found == expected
    assert len(expected["letters"]) > 5  # type: ignore[arg-type]
    # A second copy, of what was put back, says the same.
    assert take_copy(other.store, tmp_path / "again") == name
    first, second = read_snapshot(folder, name), read_snapshot(tmp_path / "again", name)
    assert (second.cursor, second.totals, second.series, second.letters) == (
        first.cursor,
        first.totals,
        first.series,
        first.letters,
    )
    filled.close()
    other.close()


def test_there_is_none_of_a_store_with_a_backlog(tmp_path: Path) -> None:
    stream, writer = Stream(1), open_log(tmp_path / "log")
    append(writer, stream.block(20))
    writer.close()
    made = ByHand(tmp_path / "t.duckdb", tmp_path / "log")
    made.reading.look()
    made.reading.pass_over(is_rebuild=False)
    assert take_copy(made.store, tmp_path / "state") is None
    assert snapshots(tmp_path / "state") == []
    trio.run(made.to_the_end)
    assert take_copy(made.store, tmp_path / "state") is not None
    made.close()


@pytest.mark.parametrize("harm", ["flipped", "cut", "empty", "renamed", "bomb"])
def test_a_file_that_is_not_what_was_written_is_refused(filled: ByHand, tmp_path: Path, harm: str) -> None:
    import hashlib

    import zstandard

    name = take_copy(filled.store, tmp_path / "state")
    filled.close()
    assert name is not None
    path = tmp_path / "state" / str(name)
    data = bytearray(path.read_bytes())
    if harm == "flipped":
        data[len(data) // 2] ^= 1
    elif harm == "cut":
        del data[-10:]
    elif harm == "empty":
        data.clear()
    elif harm == "bomb":
        packed = zstandard.ZstdCompressor().compress(bytes(3 << 30)[: 1 << 20])
        data = bytearray(b"HPSTATE1" + hashlib.sha256(packed).digest() + packed)
    path.write_bytes(data)
    if harm == "renamed":
        name = SnapshotName(5, 1)
        path.rename(path.with_name(str(name)))
    with pytest.raises(StorageError) as caught:
        read_snapshot(tmp_path / "state", name)
    assert caught.value.code == "snapshot_damaged"


def test_a_disk_that_refuses_leaves_no_half_file(
    filled: ByHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("storage.telemetry.snapshot.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        take_copy(filled.store, tmp_path / "state")
    assert list((tmp_path / "state").iterdir()) == []
    filled.close()


def test_those_that_no_rebuild_needs_go(tmp_path: Path) -> None:
    for seq in (1, 50, 100, 150, 200):
        (tmp_path / f"1-{seq}.state").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not ours")
    assert forget_snapshots(tmp_path, 120, count_max=10) == SnapshotName(100, 1)
    assert [name.next_seq for name in snapshots(tmp_path)] == [100, 150, 200]
    assert forget_snapshots(tmp_path, 120, count_max=2) == SnapshotName(100, 1)
    assert [name.next_seq for name in snapshots(tmp_path)] == [100, 200]
    assert forget_snapshots(tmp_path, 50, count_max=2) is None
    assert [name.next_seq for name in snapshots(tmp_path)] == [100, 200]
    assert (tmp_path / "notes.txt").exists()


def test_there_is_none_where_a_replay_stored_readings(filled: ByHand, tmp_path: Path) -> None:
    at = filled.store.read_cursor()
    part = ReplayPart(
        replay_id="r", number=1, epoch=at.epoch, at_seq=at.next_seq, after=(-1, 0), through=(1, 1), messages=1
    )
    with filled.store.transaction() as connection:
        note_part(connection, part)
    # Its letters are gone: a rebuild that began with it could not read them again.
    assert take_copy(filled.store, tmp_path / "state") is None
