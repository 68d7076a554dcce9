"""Whole boxes, real processes, a real object store: a box alone is destroyed under load, and another takes its place out of the cloud."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.log.verify import verify
from tests.fleet_boxes import FleetBox
from tests.integration.test_box_restored_from_peer import exported, kill, publish
from tests.integration.test_broker_verbs import until
from tests.seaweed_kit import KEY_ID, SECRET, SeaweedFs, seaweedfs

SERVED_S_MAX = 120
"""What is allowed for in a test beside others; the report has what it took alone."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SeaweedFs]:
    folder = tmp_path / "store"
    folder.mkdir()
    with seaweedfs(folder) as server:
        yield server


@pytest.mark.long
def test_a_box_alone_is_destroyed_and_comes_back_out_of_the_cloud(tmp_path: Path, store: SeaweedFs) -> None:
    secret = tmp_path / "tier.toml"
    secret.touch(mode=0o600)
    secret.write_text(f'access_key_id = "{KEY_ID}"\nsecret_access_key = "{SECRET}"\n')
    address = store.address("site")
    more = f'[[tier_region]]\nname = "eu"\naddress = "{address}"\ncredentials_file = "{secret}"\n'
    first = FleetBox(tmp_path, "first", more=more)
    checked = first.run("tier", "check")
    assert checked.exit_code == 0, checked.output
    first.start_and_wait()
    kit = tmp_path / "kit.txt"
    kit.write_text(first.run("recovery-kit", "show").output)
    token = first.answer("device", "add", "sensor")["token"]
    publish(first, token, 0, 400)
    until(lambda: [region["lag_entries"] for region in first.answer("tier", "list")] == [0])
    rows = exported(first)
    assert rows == 400
    kill(first)
    shutil.rmtree(first.data_dir)

    began_s = time.monotonic()
    second = FleetBox(tmp_path, "second", more=more)
    done = second.answer("restore", "--from", address, "--kit", str(kit))
    assert done["missing"] == []
    second.start_and_wait()
    try:
        assert publish(second, token, 10_000, 100) == 100
        served_s = time.monotonic() - began_s
        assert served_s < SERVED_S_MAX
        print(f"served again after {served_s:.1f} s")
        until(lambda: exported(second) == rows + 100)
        until(lambda: [region["lag_entries"] for region in second.answer("tier", "list")] == [0])
        assert second.answer("tier", "list")[0]["fenced"] == 0
        assert second.node_id == done["node_id"]
    finally:
        second.stop()
    assert verify(second.data_dir / "log" / "telemetry").ok
