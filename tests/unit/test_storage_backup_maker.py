"""Making a backup of a box that goes on, and what the next one costs."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.core.errors import Conflict, HomeportError, StorageError, Unavailable
from appliance.identity.keys import SiteKeys
from storage.backup import hold
from storage.backup.maker import BackupMaker, size_of
from storage.backup.maker import Box as Source
from storage.backup.manifest import Manifest
from storage.backup.repository import Repository
from storage.catalog.catalog import Catalog
from tests.acts import ACT
from tests.backup_kit import Box, make_box, write_one
from ui import backup_work


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = make_box(tmp_path / "box")
    made.publish(40)
    return made


def names(manifest: Manifest) -> set[str]:
    return {file.name for file in manifest.files}


def repository(box: Box, directory: Path) -> Repository:
    return backup_work.open_repository(box.data_dir, box.keys, directory)


def maker(box: Box, directory: Path, step: Callable[[str], None] = lambda name: None) -> BackupMaker:
    source = Source(
        data_dir=box.data_dir, config=None, node_id=box.keys.node_id.hex(), node_name="box", program="1"
    )
    return BackupMaker(source, repository(box, directory), clock=box.clock, step=step)


def test_everything_that_must_survive_is_in_it(box: Box, tmp_path: Path) -> None:
    (box.data_dir / "telemetry.duckdb").write_text("built again")
    (box.data_dir / "broker").mkdir()
    (box.data_dir / "broker" / "checkpoint").write_text("sessions")
    made = box.back_up(tmp_path / "usb").manifest
    found = names(made)
    assert {
        "identity/site.key",
        "identity/node.key",
        "identity/node.id",
        "identity/ca/issuing.pem",
        "identity/backup.pub",
        "broker/checkpoint",
        "cursors/bridge-up.json",
        "catalog.db",
        "config/homeport.toml",
        "archive/state/1-5.state",
        "archive/2026/2026-11-01/000001/manifest.json",
        "archive/2026/2026-11-01/000001/default-001.parquet",
    } <= found
    assert sum(name.startswith("log/telemetry/0") for name in found) == len(
        [path for path in box.log.iterdir() if path.name.startswith("0")]
    )
    assert not any("duckdb" in name or "lock" in name or name.endswith(("head", "spare")) for name in found)
    assert (made.log_epoch, made.log_next_seq) == (1, 41)
    assert made.formats == {"log": 1, "archive": 1, "state": 1}
    assert made.catalog[-1][0] == len(made.catalog)
    assert made.node_id == box.keys.node_id.hex()


def test_the_second_one_costs_what_changed(box: Box, tmp_path: Path) -> None:
    first = box.back_up(tmp_path / "usb").manifest
    box.clock.advance(60_000)
    box.publish(1, start=40)
    second = box.back_up(tmp_path / "usb").manifest
    assert second.new_bytes < first.new_bytes / 5
    assert second.log_next_seq == first.log_next_seq + 1
    box.clock.advance(60_000)
    assert box.back_up(tmp_path / "usb").manifest.new_bytes < 10_000


def test_what_never_changes_is_not_read_again(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.back_up(tmp_path / "usb")
    opened: list[str] = []
    pread = os.pread

    def note(descriptor: int, length: int, offset: int) -> bytes:
        opened.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        return pread(descriptor, length, offset)

    monkeypatch.setattr("storage.backup.maker.os.pread", note)
    box.back_up(tmp_path / "usb")
    assert opened
    assert not [path for path in opened if path.endswith((".seg", ".parquet"))]


def test_a_file_of_the_same_name_with_other_content_is_taken_anew(box: Box, tmp_path: Path) -> None:
    box.back_up(tmp_path / "usb")
    path = box.data_dir / "archive" / "2026" / "2026-11-01" / "000001" / "default-001.parquet"
    path.write_bytes(path.read_bytes()[::-1])
    assert box.back_up(tmp_path / "usb").manifest.new_bytes > 20_000


def test_the_position_is_the_durable_head_and_not_what_comes_later(box: Box, tmp_path: Path) -> None:
    writer = box.open_log()
    write_one(writer, 40)
    before = writer.head
    copied = threading.Event()

    def step(name: str) -> None:
        if name == "manifest":
            write_one(writer, 41)
            copied.set()

    box.back_up(tmp_path / "usb")
    made = maker(box, tmp_path / "usb", step).make()
    assert copied.is_set()
    assert made.log_next_seq == before.next_seq
    (active,) = [file for file in made.files if file.name.endswith(".open")]
    assert active.size == before.offset
    writer.close()


def test_the_log_is_held_from_the_beginning_to_the_end(box: Box, tmp_path: Path) -> None:
    box.back_up(tmp_path / "usb")
    seen: dict[str, int] = {}
    maker(
        box,
        tmp_path / "usb",
        lambda name: seen.__setitem__(name, hold.needed_seq(box.data_dir / hold.NAME)),
    ).make()
    assert list(seen) == ["identity", "catalog", "artifacts", "archive", "log", "manifest", "check"]
    assert set(seen.values()) == {hold.NEEDS_EVERYTHING}
    assert hold.needed_seq(box.data_dir / hold.NAME) == hold.NEEDS_NOTHING


def test_the_catalog_is_of_one_moment_while_it_is_written_to(box: Box, tmp_path: Path) -> None:
    catalog = Catalog.open(box.data_dir / "catalog.db", clock=box.clock, node_id=box.keys.node_id)
    stop = threading.Event()

    def write() -> None:
        for at in range(2000):
            if stop.is_set():
                return
            with catalog.transaction(ACT):
                catalog.add_device(f"a-{at}")
                catalog.add_device(f"b-{at}")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        made = box.back_up(tmp_path / "usb").manifest
    finally:
        stop.set()
        thread.join()
        catalog.close()
    entry = next(file for file in made.files if file.name == "catalog.db")
    content = b"".join(repository(box, tmp_path / "usb").get(piece) for piece in entry.pieces)
    (tmp_path / "copy.db").write_bytes(content)
    connection = sqlite3.connect(tmp_path / "copy.db")
    counts = [
        connection.execute("SELECT count(*) FROM devices WHERE device_id GLOB ?", (f"{letter}-*",)).fetchone()
        for letter in "ab"
    ]
    connection.close()
    assert counts[0] == counts[1]


def test_names_of_backups_rise_also_when_the_clock_goes_back(box: Box, tmp_path: Path) -> None:
    first = box.back_up(tmp_path / "usb").manifest
    box.clock.advance(-86_400_000)
    second = box.back_up(tmp_path / "usb").manifest
    assert second.backup_id > first.backup_id
    assert second.made_at_ms < first.made_at_ms
    repo = repository(box, tmp_path / "usb")
    assert repo.newest() == second


def test_it_can_be_stopped_and_the_next_one_goes_on(box: Box, tmp_path: Path) -> None:
    box.back_up(tmp_path / "usb")
    before = repository(box, tmp_path / "usb").ids()
    with pytest.raises(Unavailable) as found:
        backup_work.back_up(box.config, box.keys, tmp_path / "usb", clock=box.clock, stop=lambda: True)
    assert found.value.code == "backup_stopped"
    assert repository(box, tmp_path / "usb").ids() == before
    assert not (box.data_dir / "backup-work").exists()
    box.back_up(tmp_path / "usb")


def test_progress_ends_where_everything_is_done(box: Box, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    backup_work.back_up(
        box.config, box.keys, tmp_path / "usb", clock=box.clock,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert all(done <= total for done, total in told)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] > 100_000
    assert size_of(box.data_dir) > 100_000


def test_two_backups_of_a_box_at_once_are_refused(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hold, "_PAUSE_S", 0.001)
    with hold.held(box.data_dir / hold.NAME), pytest.raises(Conflict) as found:
        box.back_up(tmp_path / "usb")
    assert found.value.code == "backup_running"


def test_a_damaged_catalog_is_not_backed_up_over_good_ones(box: Box, tmp_path: Path) -> None:
    box.back_up(tmp_path / "usb")
    path = box.data_dir / "catalog.db"
    content = bytearray(path.read_bytes())
    for at in range(8192, len(content), 4096):
        content[at : at + 2048] = os.urandom(2048)
    path.write_bytes(content)
    with pytest.raises(HomeportError) as found:
        box.back_up(tmp_path / "usb")
    assert found.value.code in ("catalog_damaged", "catalog_failed")
    assert len(repository(box, tmp_path / "usb").ids()) == 1


def test_a_log_that_lacks_what_its_head_says_is_not_backed_up(box: Box, tmp_path: Path) -> None:
    active = next(path for path in box.log.iterdir() if path.suffix == ".open")
    os.truncate(active, 4096)
    with pytest.raises(StorageError) as found:
        box.back_up(tmp_path / "usb")
    assert found.value.code == "log_damaged"


def test_the_roots_secret_is_not_in_it(tmp_path: Path) -> None:
    """The box forgets it when the kit is confirmed; a backup would keep it."""
    box = make_box(tmp_path / "box")
    (box.data_dir / "identity" / "ca" / ".root.secret.tmp").write_text("x")
    box.publish(1)
    directory = tmp_path / "usb"
    box.back_up(directory)
    (box.data_dir / "identity" / "ca" / "root.secret").write_text("x")
    made = maker(box, directory).make()
    assert not [name for name in names(made) if "secret" in name]
    assert SiteKeys.load_existing(box.data_dir).node_id == box.keys.node_id


def test_a_file_whose_name_no_backup_holds_is_named(box: Box, tmp_path: Path) -> None:
    (box.data_dir / "identity" / "notes (old).txt").touch()
    with pytest.raises(StorageError, match="notes \\(old\\)") as found:
        box.back_up(tmp_path / "usb")
    assert found.value.code == "backup_name"


def test_an_empty_file_is_in_it(box: Box, tmp_path: Path) -> None:
    (box.data_dir / "cursors" / "empty").touch()
    made = box.back_up(tmp_path / "usb").manifest
    (empty,) = [file for file in made.files if file.name == "cursors/empty"]
    assert (empty.size, empty.pieces) == (0, ())
    repo = repository(box, tmp_path / "usb")
    assert backup_work.try_restore(repo, None, tmp_path) == made
