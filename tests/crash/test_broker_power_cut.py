"""The power is cut under load: whatever a device got a PUBACK for is in the log and, once, in the store.

SIGKILL proves nothing about fsync, since the kernel still writes its pages; here they are gone.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.log.verify import verify
from tests.crash.power import CuttableDisk, why_not
from tests.crash.rig import Publisher, Rig, stored_numbers, wait_for

DEVICES = ("dev-a", "dev-b")


@pytest.fixture
def disk() -> Iterator[CuttableDisk]:
    if reason := why_not():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="hp-power-"))
    made = CuttableDisk(folder)
    try:
        yield made
    finally:
        made.unmount()
        shutil.rmtree(folder)


@pytest.mark.parametrize("cuts", [2, pytest.param(25, marks=pytest.mark.long)], ids=["sample", "many"])
def test_acknowledged_readings_survive_power_cuts(disk: CuttableDisk, cuts: int) -> None:
    choices = random.Random(20261122)
    with tempfile.TemporaryDirectory(prefix="hp-") as short:
        rig = Rig(disk.path, Path(short))
        try:
            tokens = {device: rig.add_device(device) for device in DEVICES}
            publishers = [
                Publisher(rig.port, device, tokens[device], seed=1, confirm=disk.is_alive)
                for device in DEVICES
            ]
            for publisher in publishers:
                publisher.start()
            for _ in range(cuts):
                before = [len(p.acknowledged) for p in publishers]
                rig.start("broker")
                rig.wait_for_broker()
                wait_for(
                    lambda before=before: all(  # type: ignore[misc]
                        len(p.acknowledged) > n for p, n in zip(publishers, before, strict=True)
                    ),
                    30,
                    f"readings are acknowledged\n{rig.read_log()}",
                )
                time.sleep(choices.uniform(0.05, 1.0))  # the moment of the cut is the experiment
                disk.cut()
                rig.kill("broker")
                disk.unmount()
                disk.mount()
            rig.start("broker")
            rig.start("node")
            rig.wait_for_broker()
            for publisher in publishers:
                publisher.finish()
            rig.stop("broker")
            rig.wait_until_stored(60)
            rig.stop("node")
            report = verify(rig.data_dir / "log" / "telemetry")
            assert report.ok, report
            for device, publisher in zip(DEVICES, publishers, strict=True):
                stored = stored_numbers(rig.data_dir / "telemetry.duckdb", device)
                assert len(stored) == len(set(stored)), f"{device}: stored twice"
                lost = publisher.acknowledged - set(stored)
                assert not lost, f"{device}: acknowledged and lost: {sorted(lost)[:20]}"
                assert publisher.reconnects >= cuts
        finally:
            rig.close()
