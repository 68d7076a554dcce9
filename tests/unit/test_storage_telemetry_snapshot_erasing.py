"""A rebuild from a copy of the state does not bring an erased device back."""

from __future__ import annotations

from pathlib import Path

from storage.telemetry.recovery import put_back, take_copy
from storage.telemetry.snapshot import read_snapshot, snapshots
from storage.telemetry.snapshot_erasing import erase_from_snapshots
from storage.telemetry.store import TelemetryStore
from tests.archive_kit import TODAY, Filled, now_ms
from tests.log_kit import Record


def test_a_device_leaves_every_copy_and_the_others_stay(tmp_path: Path) -> None:
    filled = Filled(tmp_path)
    folder = tmp_path / "state"
    for first in (0, 10):
        filled.put(TODAY, ("a", "b"), first=first)
        filled.commit([Record(b"junk", b"dm/%s/telemetry" % d, now_ms()) for d in (b"a", b"b")])
        take_copy(filled.store, folder)
    assert len(snapshots(folder)) == 2
    assert erase_from_snapshots(folder, "a") == 2
    assert erase_from_snapshots(folder, "a") == 0
    (tmp_path / "again").mkdir()
    store = TelemetryStore.open(tmp_path / "again" / "telemetry.duckdb")
    put_back(store, read_snapshot(folder, snapshots(folder)[-1]))
    filled.store.close()
    filled.store = TelemetryStore.open(filled.store.path)
    state, before = store.read_state(), filled.store.read_state()
    assert state.cursor == before.cursor
    assert sorted(map(str, state.newest)) == sorted(str(each) for each in before.newest if each.device == "b")
    assert {each.metric for each in state.newest} == {"t", "vib_x", "on", "mode"}
    assert len(state.series) == len(before.series)
    with store.reading() as connection:
        letters = connection.execute("SELECT device, count(*) FROM dead_letters GROUP BY ALL").fetchall()
    assert letters == [("b", 2)]
    store.close()
    filled.store.close()


def test_a_damaged_copy_goes(tmp_path: Path) -> None:
    filled = Filled(tmp_path)
    filled.put(TODAY)
    name = take_copy(filled.store, tmp_path / "state")
    path = tmp_path / "state" / str(name)
    path.write_bytes(path.read_bytes()[:-1])
    assert erase_from_snapshots(tmp_path / "state", "a") == 0
    assert snapshots(tmp_path / "state") == []
    filled.store.close()
