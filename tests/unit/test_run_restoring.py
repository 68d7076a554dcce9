"""A box out of a backup, end to end; what is refused, and what a start finishes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from appliance.core.config import Config, NodeConfig
from appliance.core.errors import Conflict, HomeportError, NotFound
from appliance.identity.keys import SiteKeys
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.management.rollouts import RolloutState
from appliance.run import layout, restore_pending, restoring
from appliance.run.first_run import lock
from appliance.updates.fence import current_fence, raise_fence
from storage.backup import restore, switch
from storage.backup.catalog_copy import copy_catalog
from storage.catalog.catalog import Catalog
from storage.catalog_stream.stream_writer import CatalogStreamWriter
from storage.log.verify import verify
from tests.backup_kit import Box, make_box, read_all
from tests.catalog_stream_kit import carry_over
from tests.storage_log_kit import QuickDisk
from ui import backup_work


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = make_box(tmp_path / "box")
    made.publish(25)
    made.back_up(tmp_path / "usb")
    return made


@pytest.fixture
def new(tmp_path: Path) -> Config:
    for name in ("data", "run"):
        (tmp_path / "new" / name).mkdir(mode=0o700, parents=True)
    return Config(
        node=NodeConfig(name="new", data_dir=tmp_path / "new" / "data", run_dir=tmp_path / "new" / "run")
    )


def open_catalog_stream(box: Box) -> CatalogStreamWriter:
    return CatalogStreamWriter.open(
        layout.catalog_log(box.config),
        node_id=box.keys.node_id,
        signer=box.keys.signer,
        clock=box.clock,
        disk=QuickDisk(),
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_new_box_is_the_old_one_and_goes_on_in_an_epoch_of_its_own(
    box: Box, new: Config, tmp_path: Path
) -> None:
    done = restoring.restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock)
    assert done.replaced is None
    keys = SiteKeys.load_existing(new.node.data_dir)
    assert keys.token_hash(b"hpd_token") == box.keys.token_hash(b"hpd_token")
    catalog = Catalog.open(layout.catalog(new), clock=box.clock, node_id=keys.node_id)
    assert catalog.get_device("pump-1").device_id == "pump-1"
    newest = catalog.newest_audit_entry(keys.node_id.hex())
    catalog.close()
    assert newest is not None
    assert (newest.action, newest.object_id) == ("backup.restore", done.manifest.backup_id)
    again = Box(config=new, keys=keys, kit=box.kit, clock=box.clock)
    again.publish(5, start=25)
    assert read_all(again.log) == list(range(30))
    report = verify(again.log)
    assert report.ok
    assert report.epoch == 2
    # The next backup goes into the same repository and costs what changed.
    made = again.back_up(tmp_path / "usb")
    assert made.manifest.log_next_seq == 31


def test_a_box_with_peers_goes_on_with_the_stream_of_its_catalog(
    box: Box, new: Config, tmp_path: Path
) -> None:
    """Peers have it: begun anew it would be a second history. What it has behind the catalog of the backup is taken over."""
    catalog = Catalog.open(layout.catalog(box.config), clock=box.clock, node_id=box.keys.node_id)
    stream = open_catalog_stream(box)
    carry_over(catalog, stream)
    # As if somebody had changed this between the copy of the catalog and that of the stream.
    saved = layout.catalog(box.config).with_name("saved.db")
    copy_catalog(layout.catalog(box.config), saved)
    catalog.add_device("late")
    carry_over(catalog, stream)
    stream.close()
    next_seq = verify(layout.catalog_log(box.config)).next_seq
    catalog.close()
    for name in ("catalog.db-wal", "catalog.db-shm"):
        (box.data_dir / name).unlink(missing_ok=True)
    saved.replace(layout.catalog(box.config))
    box.back_up(tmp_path / "usb")
    restoring.restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock)
    keys = SiteKeys.load_existing(new.node.data_dir)
    again = Box(config=new, keys=keys, kit=box.kit, clock=box.clock)
    catalog = Catalog.open(layout.catalog(new), clock=box.clock, node_id=keys.node_id)
    assert catalog.get_device("late").device_id == "late"
    stream = open_catalog_stream(again)
    carry_over(catalog, stream)
    stream.close()
    catalog.close()
    report = verify(layout.catalog_log(new))
    assert (report.ok, report.epoch) == (True, 2)
    assert report.next_seq > next_seq, "that it was restored is told"


def test_what_the_box_of_before_still_says_to_devices_is_void(box: Box, new: Config, tmp_path: Path) -> None:
    catalog = Catalog.open(layout.catalog(box.config), clock=box.clock, node_id=box.keys.node_id)
    with catalog.transaction():
        catalog.create_rollout(
            "r1", name="r", artifact_id="a1", targets=Targets(all=True), plan=Plan(), policy=Policy(), created_by="x"
        )  # fmt: skip
        catalog.change_rollout("r1", state=RolloutState.RUNNING)
        before = raise_fence(catalog, box.clock.now_ms())
    catalog.close()
    box.back_up(tmp_path / "usb")
    restoring.restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock)
    restored = Catalog.open_read_only(layout.catalog(new), clock=box.clock)
    assert restored.get_rollout("r1").fence == current_fence(restored) > before
    restored.close()


def test_an_older_one_can_be_chosen(box: Box, new: Config, tmp_path: Path) -> None:
    (first,) = backup_work.open_repository(box.data_dir, box.keys, tmp_path / "usb").ids()
    box.publish(5, start=25)
    box.back_up(tmp_path / "usb")
    done = restoring.restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock, backup_id=first)
    assert done.manifest.log_next_seq == 26
    with pytest.raises(NotFound):
        restoring.restore_backup(
            new, tmp_path / "usb", box.kit, clock=box.clock, backup_id="none", replace=True
        )


def test_what_is_there_is_moved_aside(box: Box, tmp_path: Path) -> None:
    before = tree(box.data_dir)
    with pytest.raises(Conflict) as found:
        restoring.restore_backup(box.config, tmp_path / "usb", box.kit, clock=box.clock)
    assert found.value.code == "data_dir_in_use"
    done = restoring.restore_backup(box.config, tmp_path / "usb", box.kit, clock=box.clock, replace=True)
    assert done.replaced is not None
    kept = tree(done.replaced)
    assert {name: before[name] for name in before if "lock" not in name} == {
        name: kept[name] for name in kept if "lock" not in name
    }


def test_a_running_box_is_not_touched(box: Box, tmp_path: Path) -> None:
    before = tree(box.data_dir)
    for path in (layout.supervisor_lock(box.config), layout.node_lock(box.config), box.log / "lock"):
        with lock(path, holder="a test"), pytest.raises(Conflict) as found:
            restoring.restore_backup(box.config, tmp_path / "usb", box.kit, clock=box.clock, replace=True)
        assert found.value.code == "locked"
    after = tree(box.data_dir)
    assert {k: v for k, v in after.items() if "lock" not in k} == {
        k: v for k, v in before.items() if "lock" not in k
    }


@pytest.mark.parametrize("code", ["catalog_too_new", "backup_too_new"])
def test_a_schema_that_is_too_new_is_refused_before_anything_is_touched(
    box: Box, new: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    repository = backup_work.open_repository(box.data_dir, box.keys, tmp_path / "usb")
    made = repository.newest()
    assert made is not None
    last = made.catalog[-1][0]
    changes = (
        {"catalog": (*made.catalog, (last + 1, "x", last + 1, "y"))}
        if "catalog" in code
        else {"formats": {"log": 9}}
    )
    repository.finish(dataclasses.replace(made, **changes))
    monkeypatch.setattr(restore, "stage", None)
    with pytest.raises(HomeportError) as found:
        restoring.restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock)
    assert found.value.code == code
    assert [path.name for path in new.node.data_dir.iterdir()] == ["node.lock"]


def test_keys_of_another_site_in_a_backup_are_refused(box: Box, new: Config, tmp_path: Path) -> None:
    repository = backup_work.open_repository(box.data_dir, box.keys, tmp_path / "usb")
    made = repository.newest()
    assert made is not None
    repository.finish(dataclasses.replace(made, node_id="00" * 16))
    with pytest.raises(HomeportError, match="not the recovery kit's"):
        restoring.restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock)
    assert not (new.node.data_dir / "identity").exists()


def test_a_damaged_backup_changes_nothing_and_another_one_can_be_taken(
    box: Box, new: Config, tmp_path: Path
) -> None:
    (first,) = backup_work.open_repository(box.data_dir, box.keys, tmp_path / "usb").ids()
    box.publish(1, start=25)
    second = box.back_up(tmp_path / "usb").manifest
    piece = next(file for file in second.files if file.name.endswith(".open")).pieces[0].chunk_id.hex()
    (tmp_path / "usb" / "chunks" / piece[:2] / piece).write_bytes(b"rotten")
    with pytest.raises(HomeportError) as found:
        restoring.restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock)
    assert found.value.code == "backup_damaged"
    assert not (new.node.data_dir / "catalog.db").exists()
    restoring.restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock, backup_id=first)
    assert not (new.node.data_dir / switch.STAGING).exists()


def test_a_start_finishes_what_was_interrupted(box: Box, new: Config, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def die(name: str) -> None:
        if name == "in":
            raise KilledError

    with pytest.raises(KilledError):
        restoring.restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock, step=die)
    with pytest.raises(Conflict, match="is not finished"):
        switch.refuse_pending(new.node.data_dir)
    assert restore_pending.finish_pending(new) is not None
    assert restore_pending.finish_pending(new) is None
    assert (new.node.data_dir / "catalog.db").exists()


def test_the_repository_is_found_also_from_above(tmp_path: Path, box: Box) -> None:
    assert restoring.find_repository(tmp_path / "usb") == tmp_path / "usb"
    assert restoring.find_repository(tmp_path) == tmp_path / "usb"
    with pytest.raises(NotFound) as found:
        restoring.find_repository(tmp_path / "none")
    assert found.value.code == "backup_repository_missing"
    box.back_up(tmp_path / "second")
    with pytest.raises(NotFound):
        restoring.find_repository(tmp_path)


def test_a_start_removes_what_is_of_no_use(new: Config) -> None:
    for name in ("restoring", "restore-test-abc", "replaced-20250101T000000Z", "log"):
        (new.node.data_dir / name).mkdir()
        (new.node.data_dir / name / "file").touch()
    assert restore_pending.finish_pending(new) is None
    assert sorted(path.name for path in new.node.data_dir.iterdir()) == ["log", "replaced-20250101T000000Z"]


def test_a_box_with_a_damaged_range_in_its_log_comes_back_all_the_same(
    box: Box, new: Config, tmp_path: Path
) -> None:
    """What was damaged when it was backed up is no worse afterwards; only a test of the backup names it as an error."""
    segment = sorted(box.log.glob("*.seg"))[1]
    segment.chmod(0o600)
    content = bytearray(segment.read_bytes())
    content[10_000] ^= 1
    segment.write_bytes(content)
    segment.chmod(0o400)
    box.back_up(tmp_path / "usb")
    repository = backup_work.open_repository(box.data_dir, box.keys, tmp_path / "usb")
    assert backup_work.verify_backups(repository, None).problems == ()
    with pytest.raises(HomeportError, match="log is damaged"):
        backup_work.try_restore(repository, None, tmp_path)
    done = restoring.restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock)
    assert done.problems
    assert all("log is damaged" in problem for problem in done.problems)
    assert (new.node.data_dir / "log" / "telemetry" / segment.name).read_bytes() == bytes(content)
