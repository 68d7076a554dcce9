"""A backup of an appliance that takes readings, restored on another one: devices come back with their tokens, and every reading
that was acknowledged before the backup began is in the new store once, with those that came after.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.core.clock import SystemClock
from appliance.core.config import Config, NodeConfig
from appliance.identity import recovery_kit
from appliance.identity.ca import SiteCa
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit
from appliance.run.restoring import restore_backup
from storage.log.verify import verify
from tests.crash.rig import Publisher, Rig, stored_numbers, wait_for
from ui import backup_work

DEVICES = ("dev-a", "dev-b")
ONWARD = 1_000_000


@pytest.fixture
def rigs(tmp_path: Path) -> Iterator[tuple[Rig, Rig]]:
    with ExitStack() as held:
        made = []
        for name in ("old", "new"):
            short = held.enter_context(tempfile.TemporaryDirectory(prefix="hp-"))
            rig = Rig(tmp_path / name, Path(short))
            held.callback(rig.close)
            made.append(rig)
        yield made[0], made[1]


def config_of(rig: Rig) -> Config:
    return Config(node=NodeConfig(name="crash", data_dir=rig.data_dir, run_dir=rig.run_dir))


def test_a_box_under_load_lives_on_in_another(rigs: tuple[Rig, Rig], tmp_path: Path) -> None:
    old, new = rigs
    clock = SystemClock()
    tokens = {device: old.add_device(device) for device in DEVICES}
    keys = SiteKeys.load_existing(old.data_dir)
    SiteCa.load_or_create(old.data_dir, keys, clock=clock)
    kit = RecoveryKit.of(old.data_dir)
    assert recovery_kit.confirm(old.data_dir)
    for name in ("node", "broker"):
        old.start(name)
    old.wait_for_broker()
    wait_for(lambda: bool(old.pipeline()), 60, "the node answers")
    publishers = [Publisher(old.port, device, tokens[device], 7) for device in DEVICES]
    for publisher in publishers:
        publisher.start()
    wait_for(lambda: all(len(p.acknowledged) > 300 for p in publishers), 60, "readings come in")
    backup_work.back_up(config_of(old), keys, tmp_path / "usb", clock=clock)
    before = {p.name: set(p.acknowledged) for p in publishers}
    made = backup_work.back_up(config_of(old), keys, tmp_path / "usb", clock=clock).manifest
    for publisher in publishers:
        publisher.finish()
    for name in ("broker", "node"):
        old.stop(name)

    restore_backup(config_of(new), tmp_path / "usb", kit, clock=clock)
    for name in ("node", "broker"):
        new.start(name)
    new.wait_for_broker()
    again = [Publisher(new.port, device, tokens[device], 8) for device in DEVICES]
    for publisher in again:
        publisher._next = ONWARD
        publisher.start()
    wait_for(lambda: all(len(p.acknowledged) > 50 for p in again), 60, "devices are served with their tokens")
    for publisher in again:
        publisher.finish()
    new.wait_until_stored(60)
    for name in ("broker", "node"):
        new.stop(name)
    report = verify(new.data_dir / "log" / "telemetry")
    assert report.ok, report
    assert report.epoch == 2
    assert report.next_seq > made.log_next_seq
    for publisher in again:
        stored = stored_numbers(new.data_dir / "telemetry.duckdb", publisher.name)
        assert len(stored) == len(set(stored)), "stored twice"
        assert before[publisher.name] <= set(stored)
        assert publisher.acknowledged <= set(stored)
