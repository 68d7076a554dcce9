"""The broker is SIGKILLed at random under load: what paho and mosquitto_sub exchange over sessions that are kept arrives.

The seed is printed; HOMEPORT_TEST_SEED runs one again.
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
from tests.crash.relay import Relay
from tests.crash.rig import Rig


@pytest.mark.parametrize(
    "kills", [3, pytest.param(50, marks=pytest.mark.long)], ids=["sample", "fifty"]
)  # fmt: skip
def test_sessions_outlive_kills(tmp_path: Path, kills: int) -> None:
    seed = int(os.environ.get("HOMEPORT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"HOMEPORT_TEST_SEED={seed}")
    # A Unix socket's path is at most 107 bytes, which pytest's folders may exceed.
    with tempfile.TemporaryDirectory(prefix="hp-") as short:
        rig = Rig(tmp_path, Path(short))
        token = rig.add_device("program", "--kind", "application", "--access", "site")

        def again() -> None:
            rig.start("broker")
            rig.wait_for_broker()

        def crash() -> None:
            rig.kill("broker")
            again()

        def drain() -> None:
            rig.stop("broker")
            again()

        with contextlib.closing(rig), contextlib.ExitStack() as stack:
            again()
            relay = stack.enter_context(contextlib.closing(Relay(rig.port)))
            broker = Broker(relay.port, "program", token)
            with contextlib.closing(Scene(broker, tmp_path, random.Random(seed), crash, drain)) as scene:
                scene.play(kills)
