"""The power is cut under load: what paho and mosquitto_sub exchange over sessions that are kept arrives.

SIGKILL proves nothing about fsync, since the kernel still writes its pages; here they are gone. The seed is printed;
HOMEPORT_TEST_SEED runs one again.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
from pathlib import Path

import pytest

from tests.crash.kept_clients import Broker
from tests.crash.kept_scene import Scene
from tests.crash.power import CuttableDisk, why_not
from tests.crash.relay import Relay
from tests.crash.rig import Rig


@pytest.mark.parametrize("cuts", [2, pytest.param(25, marks=pytest.mark.long)], ids=["sample", "many"])
def test_sessions_outlive_power_cuts(tmp_path: Path, cuts: int) -> None:
    if reason := why_not():
        pytest.skip(reason)
    seed = int(os.environ.get("HOMEPORT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"HOMEPORT_TEST_SEED={seed}")
    with (
        tempfile.TemporaryDirectory(prefix="hp-") as short,
        tempfile.TemporaryDirectory(prefix="hp-power-") as folder,
        contextlib.ExitStack() as stack,
    ):
        disk = CuttableDisk(Path(folder))
        stack.callback(disk.unmount)
        rig = stack.enter_context(contextlib.closing(Rig(disk.path, Path(short))))
        token = rig.add_device("program", "--kind", "application", "--access", "site")

        def again() -> None:
            rig.start("broker")
            rig.wait_for_broker()

        def crash() -> None:
            disk.cut()
            rig.kill("broker")
            disk.unmount()
            disk.mount()
            again()

        def drain() -> None:
            rig.stop("broker")
            again()

        again()
        relay = stack.enter_context(contextlib.closing(Relay(rig.port, disk.is_alive)))
        broker = Broker(relay.port, "program", token)
        with contextlib.closing(Scene(broker, tmp_path, random.Random(seed), crash, drain)) as scene:
            scene.play(cuts)
