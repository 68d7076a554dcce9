"""Broker and node are SIGKILLed at random under load: every acknowledged reading is in the store exactly once.

The seed is printed; HOMEPORT_TEST_SEED runs one again.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.log.verify import verify
from tests.crash.rig import Publisher, Rig, stored_numbers, wait_for

DEVICES = ("dev-a", "dev-b", "dev-c")
CATCH_UP_S = 60.0


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    # A Unix socket's path is at most 107 bytes, which pytest's folders may exceed.
    with tempfile.TemporaryDirectory(prefix="hp-") as short:
        made = Rig(tmp_path, Path(short))
        try:
            yield made
        finally:
            made.close()


@pytest.mark.parametrize(
    "rounds", [4, pytest.param(50, marks=pytest.mark.long)], ids=["sample", "fifty"]
)  # fmt: skip
def test_every_acknowledged_reading_is_stored_once(rig: Rig, rounds: int) -> None:
    seed = int(os.environ.get("HOMEPORT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"HOMEPORT_TEST_SEED={seed}")
    choices = random.Random(seed)
    tokens = {device: rig.add_device(device) for device in DEVICES}
    for name in ("node", "broker"):
        rig.start(name)
    rig.wait_for_broker()
    publishers = [
        Publisher(rig.port, device, tokens[device], choices.randrange(1 << 32)) for device in DEVICES
    ]
    for publisher in publishers:
        publisher.start()
    wait_for(lambda: all(p.acknowledged for p in publishers), 30, "every device got a first acknowledgement")
    for _ in range(rounds):
        time.sleep(choices.uniform(0.1, 1.5))  # how long the load runs before the next kill is the experiment
        for victim in choices.choice((("broker",), ("node",), ("broker", "node"))):
            rig.kill(victim)
            rig.start(victim)
        rig.wait_for_broker()
    before = [len(p.acknowledged) for p in publishers]
    wait_for(
        lambda: all(len(p.acknowledged) > n for p, n in zip(publishers, before, strict=True)),
        30,
        "service goes on",
    )
    for publisher in publishers:
        publisher.finish()
    rig.stop("broker")
    rig.wait_until_stored(CATCH_UP_S)
    rig.stop("node")

    report = verify(rig.data_dir / "log" / "telemetry")
    assert report.ok, report
    assert sum(p.reconnects for p in publishers) > 0
    for device, publisher in zip(DEVICES, publishers, strict=True):
        stored = stored_numbers(rig.data_dir / "telemetry.duckdb", device)
        assert len(stored) == len(set(stored)), f"{device}: stored twice"
        lost = publisher.acknowledged - set(stored)
        assert not lost, f"{device}: acknowledged and lost: {sorted(lost)[:20]}"
        assert len(publisher.acknowledged) > 10 * rounds
