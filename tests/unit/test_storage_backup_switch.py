"""Putting what was restored in place: whatever step it stops at, doing it again ends in the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.core.errors import Conflict, StorageError
from storage.backup import switch

STAMP = "20261127T101112Z"


class KilledError(Exception):
    """The process ends here."""


def scene(folder: Path) -> None:
    """A data folder with an old box in it, and a restored one beside."""
    for name, text in {
        "identity/site.key": "old",
        "catalog.db": "old",
        "catalog.db-wal": "old",
        "telemetry.duckdb": "old",
        "node.lock": "lock",
        "replaced-20250101T000000Z/catalog.db": "older",
        "restoring/identity/site.key": "new",
        "restoring/catalog.db": "new",
        "restoring/log/telemetry/x.seg": "new",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


WANTED = {
    "identity/site.key": "new",
    "catalog.db": "new",
    "log/telemetry/x.seg": "new",
    "node.lock": "lock",
    "replaced-20250101T000000Z/catalog.db": "older",
    f"replaced-{STAMP}/identity/site.key": "old",
    f"replaced-{STAMP}/catalog.db": "old",
    f"replaced-{STAMP}/catalog.db-wal": "old",
    f"replaced-{STAMP}/telemetry.duckdb": "old",
}


def test_everything_changes_places_and_nothing_is_deleted(tmp_path: Path) -> None:
    scene(tmp_path)
    plan = switch.decide(tmp_path, "b", stamp=STAMP)
    assert plan.entries == ("catalog.db", "identity", "log")
    switch.finish(tmp_path, plan)
    assert tree(tmp_path) == WANTED
    assert switch.pending(tmp_path) is None


def test_interrupted_at_any_step_it_ends_the_same(tmp_path: Path) -> None:
    steps: list[str] = []
    scene(tmp_path / "count")
    switch.finish(tmp_path / "count", switch.decide(tmp_path / "count", "b", stamp=STAMP), step=steps.append)
    assert len(steps) == 8
    for at in range(len(steps)):
        folder = tmp_path / str(at)
        scene(folder)
        switch.decide(folder, "b", stamp=STAMP)
        left = at

        def die(_: str) -> None:
            nonlocal left
            if not left:
                raise KilledError
            left -= 1

        plan = switch.pending(folder)
        assert plan is not None
        with pytest.raises(KilledError):
            switch.finish(folder, plan, step=die)
        with pytest.raises(Conflict, match="is not finished"):
            switch.refuse_pending(folder)
        plan = switch.pending(folder)
        assert plan is not None
        switch.finish(folder, plan)
        assert tree(folder) == WANTED, at
        switch.refuse_pending(folder)


def test_an_empty_data_folder_gets_nothing_aside(tmp_path: Path) -> None:
    (tmp_path / "restoring").mkdir()
    (tmp_path / "restoring" / "catalog.db").touch()
    switch.check_replaceable(tmp_path, replace=False)
    switch.finish(tmp_path, switch.decide(tmp_path, "b", stamp=STAMP))
    assert tree(tmp_path) == {"catalog.db": ""}
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.db"]


def test_what_is_there_is_replaced_only_when_that_was_said(tmp_path: Path) -> None:
    scene(tmp_path)
    with pytest.raises(Conflict, match="is not empty") as found:
        switch.check_replaceable(tmp_path, replace=False)
    assert found.value.code == "data_dir_in_use"
    switch.check_replaceable(tmp_path, replace=True)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"backup_id": "b"}',
        '{"backup_id": "b", "entries": ["a"], "aside": "../x"}',
        '{"backup_id": "b", "entries": ["../x"], "aside": "replaced-20261127T101112Z"}',
        '{"backup_id": "b", "entries": [""], "aside": "replaced-20261127T101112Z"}',
        '{"backup_id": "b", "entries": 7, "aside": "replaced-20261127T101112Z"}',
    ],
)
def test_a_plan_that_makes_no_sense_stops_everything(tmp_path: Path, content: str) -> None:
    (tmp_path / switch.PLAN).write_text(content)
    with pytest.raises(StorageError) as found:
        switch.refuse_pending(tmp_path)
    assert found.value.code == "restore_plan_damaged"


def test_a_disk_that_fails_is_said_and_tried_again(tmp_path: Path) -> None:
    scene(tmp_path)
    plan = switch.decide(tmp_path, "b", stamp=STAMP)
    (tmp_path / plan.aside).write_text("in the way")
    with pytest.raises(StorageError) as found:
        switch.finish(tmp_path, plan)
    assert found.value.code == "restore_switch_failed"
    (tmp_path / plan.aside).unlink()
    switch.finish(tmp_path, plan)
    assert tree(tmp_path) == WANTED


def test_two_in_a_second_have_a_folder_each(tmp_path: Path) -> None:
    scene(tmp_path)
    switch.finish(tmp_path, switch.decide(tmp_path, "b", stamp=STAMP))
    (tmp_path / "restoring").mkdir()
    (tmp_path / "restoring" / "catalog.db").write_text("newest")
    plan = switch.decide(tmp_path, "c", stamp=STAMP)
    assert plan.aside == f"replaced-{STAMP}-2"
    switch.finish(tmp_path, plan)
    found = tree(tmp_path)
    assert found["catalog.db"] == "newest"
    assert found[f"{plan.aside}/catalog.db"] == "new"
    assert found[f"replaced-{STAMP}/catalog.db"] == "old"


def test_what_is_a_disk_of_its_own_is_refused_before_anything_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene(tmp_path)
    lstat = os.lstat

    def mounted(path: Path) -> os.stat_result:
        about = lstat(path)
        if Path(path).name != "identity":
            return about
        return os.stat_result((about.st_mode, about.st_ino, about.st_dev + 1, *about[3:10]))

    monkeypatch.setattr("storage.backup.switch.os.lstat", mounted)
    with pytest.raises(Conflict) as found:
        switch.check_replaceable(tmp_path, replace=True)
    assert found.value.code == "data_dir_of_parts"
