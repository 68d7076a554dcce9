"""The roster's file: there or not, whole or the one before."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import StorageError, UsageError
from appliance.management.fleet import Roster
from storage.fleet import RosterWatch, read_roster, roster_path, write_roster
from tests.unit.test_management_fleet import A, B, entry, roster


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "fleet").mkdir()
    return tmp_path


def test_a_box_without_a_fleet_has_no_roster(tmp_path: Path) -> None:
    assert read_roster(tmp_path) is None
    watch = RosterWatch(tmp_path)
    assert not watch.look()
    assert watch.roster is None


def test_it_is_read_as_it_was_written(data_dir: Path) -> None:
    write_roster(data_dir, roster(entry(A)))
    found = read_roster(data_dir)
    assert found is not None
    assert list(found) == [entry(A)]
    assert roster_path(data_dir).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in roster_path(data_dir).parent.iterdir()] == ["roster.json"]


def test_what_can_t_be_written_leaves_the_one_before(data_dir: Path, tmp_path: Path) -> None:
    write_roster(data_dir, roster(entry(A)))
    beside = roster_path(data_dir).with_name(".roster.json.new")
    beside.mkdir()
    with pytest.raises(StorageError) as caught:
        write_roster(data_dir, roster())
    assert caught.value.code == "roster_unwritable"
    found = read_roster(data_dir)
    assert found is not None
    assert len(found) == 1


def test_what_can_t_be_read_is_said(data_dir: Path) -> None:
    roster_path(data_dir).mkdir()
    with pytest.raises(StorageError) as caught:
        read_roster(data_dir)
    assert caught.value.code == "roster_unreadable"


def test_a_watch_reads_only_another_file(data_dir: Path) -> None:
    watch = RosterWatch(data_dir)
    write_roster(data_dir, roster(entry(A)))
    assert watch.look()
    assert not watch.look()
    write_roster(data_dir, roster(entry(A), entry(B)))
    assert watch.look()
    assert isinstance(watch.roster, Roster)
    assert len(watch.roster) == 2


def test_a_watch_keeps_what_it_had_while_the_file_can_t_be_read_and_says_so_once(data_dir: Path) -> None:
    watch = RosterWatch(data_dir)
    write_roster(data_dir, roster(entry(A)))
    watch.look()
    roster_path(data_dir).write_bytes(b"{")
    with pytest.raises(UsageError):
        watch.look()
    assert not watch.look()
    assert watch.roster is not None
    roster_path(data_dir).unlink()
    assert watch.look()
    assert watch.roster is None
