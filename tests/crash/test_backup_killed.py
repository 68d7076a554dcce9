"""Backups and restores are SIGKILLed at every step: older backups stay whole, and a box is the old one or the new one.

And a backup that is made while readings come in has, restored elsewhere, every acknowledged one up to its position, once.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock, SystemClock
from appliance.core.errors import Conflict
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit
from appliance.run.restore_pending import finish_pending
from appliance.run.restoring import restore_backup
from storage.backup import hold, switch
from storage.catalog.catalog import Catalog
from storage.log.disk_level import DiskLevels
from storage.log.housekeeping import KeepingRules
from storage.log.verify import verify
from tests.backup_kit import Box, make_box, read_all, write_one
from tests.crash.backup_process import BACKUP_STEPS, RESTORE_STEPS, config_of
from ui import backup_work

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box, a backup of it on a stick, what came since, and another box that has something, too."""
    folder = tmp_path_factory.mktemp("scene")
    box = make_box(folder / "box", keep=2)
    box.publish(30)
    box.back_up(folder / "usb")
    box.publish(30, start=30)
    other = make_box(folder / "new")
    other.publish(3, start=5000)
    (folder / "kit.txt").write_text(box.kit.text())
    return folder


def copy(scene: Path, to: Path) -> Path:
    shutil.copytree(scene, to, symlinks=True)
    return to


def killed(mode: str, folder: Path, step: str, count: int) -> bool:
    """Whether the process was killed there; it ended before that otherwise."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.backup_process", mode, str(folder), step, str(count)],
        cwd=ROOT,
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def box_of(scene: Path, folder: Path, name: str) -> Box:
    config = config_of(folder, name)
    keys = SiteKeys.load_existing(config.node.data_dir)
    kit = RecoveryKit.parse((scene / "kit.txt").read_text())
    return Box(config=config, keys=keys, kit=kit, clock=ManualClock(now_ms=SystemClock().now_ms()))


@pytest.mark.parametrize(
    ("step", "count"),
    [
        ("piece", 5),
        ("manifest", 0),
        ("prune", 0),
        *(
            pytest.param(step, count, marks=pytest.mark.long)
            for step, count in [*((step, 0) for step in BACKUP_STEPS), ("piece", 20)]
        ),
    ],
)
def test_a_backup_that_is_killed_costs_nothing_that_was_there(
    scene: Path, tmp_path: Path, step: str, count: int
) -> None:
    folder = copy(scene, tmp_path / "scene")
    box = box_of(scene, folder, "box")
    repository = backup_work.open_repository(box.data_dir, box.keys, folder / "usb")
    before = repository.ids()
    assert killed("backup", folder, step, count)
    assert hold.needed_seq(box.data_dir / hold.NAME) == hold.NEEDS_NOTHING
    found = backup_work.verify_backups(repository, None)
    assert found.problems == ()
    assert set(before) <= set(found.backup_ids)
    for backup_id in found.backup_ids:
        backup_work.try_restore(repository, backup_id, tmp_path)
    made = box.back_up(folder / "usb").manifest
    assert made.log_next_seq == 61
    assert backup_work.verify_backups(repository, None).problems == ()
    assert backup_work.try_restore(repository, None, tmp_path).backup_id == made.backup_id


@pytest.mark.parametrize(
    ("step", "count", "then"),
    [
        ("file", 9, "start"),
        ("aside", 2, "start"),
        ("in", 3, "restore"),
        *(
            pytest.param(step, 0, then, marks=pytest.mark.long)
            for step in RESTORE_STEPS
            for then in ("start", "restore")
        ),
    ],
)
def test_a_restore_that_is_killed_leaves_the_old_box_or_the_new_one(
    scene: Path, tmp_path: Path, step: str, count: int, then: str
) -> None:
    folder = copy(scene, tmp_path / "scene")
    config = config_of(folder, "new")
    assert killed("restore", folder, step, count)
    is_decided = switch.pending(config.node.data_dir) is not None
    assert is_decided == (step in ("aside", "in", "done"))
    box = box_of(scene, folder, "box")
    if then == "start":
        finish_pending(config)
    else:
        restore_backup(config, folder / "usb", box.kit, clock=SystemClock(), replace=True)
        is_decided = True
    again = box_of(scene, folder, "new")
    if not is_decided:
        assert again.keys.node_id != box.keys.node_id
        assert read_all(again.log) == [5000, 5001, 5002]
        return
    assert again.keys.node_id == box.keys.node_id
    again.publish(1, start=30)
    assert read_all(again.log) == list(range(31))
    assert verify(again.log).ok
    catalog = Catalog.open(
        config.node.data_dir / "catalog.db", clock=SystemClock(), node_id=again.keys.node_id
    )
    assert catalog.get_device("pump-1").device_id == "pump-1"
    catalog.close()
    # What was there before is kept, whole.
    kept = [each for each in config.node.data_dir.glob("replaced-*") if (each / "log").exists()]
    old = [read_all(each / "log" / "telemetry") for each in kept]
    assert [5000, 5001, 5002] in old


def test_a_backup_under_load_has_everything_up_to_its_position_once(tmp_path: Path) -> None:
    """Segments fill, are sealed, and would be removed by retention at once if the backup didn't hold them."""
    box = make_box(tmp_path / "box", keep=20)
    clock = box.clock
    writer = box.open_log()
    writer.housekeeping.hold("a backup", lambda: hold.needed_seq(box.data_dir / hold.NAME))
    writer.keep_house(
        KeepingRules(
            levels=DiskLevels(low_percent=97, hold_percent=98, read_only_percent=99),
            ballast_bytes=0,
            keep_percent=0,
            quota_percent=0,
        )
    )
    stop, acknowledged = threading.Event(), [0]

    def load() -> None:
        while not stop.is_set():
            write_one(writer, acknowledged[0], 3_000)
            acknowledged[0] += 1

    thread = threading.Thread(target=load)
    thread.start()
    made = []
    try:
        for _ in range(5):
            before = acknowledged[0]
            made.append(
                (before, backup_work.back_up(box.config, box.keys, tmp_path / "usb", clock=clock).manifest)
            )
    finally:
        stop.set()
        thread.join()
        writer.close()
    assert acknowledged[0] > 50
    for at, (before, manifest) in enumerate(made):
        config = config_of(tmp_path, f"new{at}")
        for folder in (config.node.data_dir, config.node.run_dir):
            folder.mkdir(mode=0o700, parents=True)
        restore_backup(config, tmp_path / "usb", box.kit, clock=clock, backup_id=manifest.backup_id)
        restored = Box(
            config=config, keys=SiteKeys.load_existing(config.node.data_dir), kit=box.kit, clock=clock
        )
        restored.publish(1, start=10**6)
        found = read_all(restored.log)
        assert found == [*range(manifest.log_next_seq - 1), 10**6]
        assert len(found) - 1 >= before
        assert verify(restored.log).ok


def test_a_box_that_runs_is_not_restored_over(scene: Path, tmp_path: Path) -> None:
    folder = copy(scene, tmp_path / "scene")
    other = box_of(scene, folder, "new")
    writer = other.open_log()
    with pytest.raises(Conflict):
        restore_backup(config_of(folder, "new"), folder / "usb", other.kit, clock=SystemClock(), replace=True)
    writer.close()
    assert read_all(other.log) == [5000, 5001, 5002]
