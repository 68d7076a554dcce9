"""The catalog's file is locked, slow or on a full disk: devices notice nothing, people are told in time, all comes back.

Real processes; who locks it is one more of them (tests/stand_ins/catalog_locker.py).
"""

from __future__ import annotations

import errno
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.catalog_scene import Operator, Scene, catalog_moved
from tests.crash.rig import Rig, wait_for
from tests.small_disk import small_disk

STOPPED_S = 8.0
SLOW_S = 8.0
GAP_S_MAX = 3.0
"""Between two acknowledgements of a device that publishes all the time; a machine that is shared needs some of it."""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    # A Unix socket's path is at most 107 bytes, which pytest's folders may exceed.
    with tempfile.TemporaryDirectory(prefix="hp-") as short:
        made = Rig(tmp_path, Path(short))
        try:
            yield made
        finally:
            made.close()


def fill(ballast: Path) -> None:
    """Write until there is no space."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC


@pytest.mark.parametrize("locked_s", [10.0, pytest.param(30.0, marks=pytest.mark.long)])
def test_locked_for_writing(rig: Rig, locked_s: float) -> None:
    """Reading goes on; what would write is told so in time, and nothing queues up behind it."""
    scene = Scene(rig)
    scene.pulse.begin()
    with scene.locked("writers"):
        ends_s = time.monotonic() + locked_s
        scene.late_device_gets_in()
        while time.monotonic() < ends_s:
            read = scene.operator.ask("GET", "/api/v1/devices")
            assert (read.status, len(read.content["devices"])) == (200, 2)
            written = scene.operator.ask("POST", "/api/v1/devices", {"device_id": "new"})
            # Busy where the box's own upkeep stands before it, waiting for the same lock.
            assert written.status == 503
            assert written.content["code"] in ("catalog_locked", "catalog_busy")
            scene.acknowledges_more()
        assert scene.pulse.longest_gap_s < GAP_S_MAX
    scene.recovers()
    assert scene.operator.ask("GET", "/api/v1/devices/new").status == 404, "what was refused was not done"
    scene.all_is_stored()


def test_locked_for_reading_too(rig: Rig) -> None:
    """Who is signed in is known from memory; what is not in memory is 503 within its time."""
    scene = Scene(rig)
    assert scene.operator.ask("GET", "/api/v1/session").status == 200
    scene.pulse.begin()
    with scene.locked("readers"):
        ends_s = time.monotonic() + STOPPED_S
        while time.monotonic() < ends_s:
            who = scene.operator.ask("GET", "/api/v1/session")
            assert (who.status, who.content["user_id"]) == (200, "admin")
            read = scene.operator.ask("GET", "/api/v1/devices")
            assert read.status == 503
            stranger = Operator(rig.ui_port, cookie="__Host-homeport=nobody")
            assert stranger.ask("GET", "/api/v1/session").status == 503
            scene.acknowledges_more()
        scene.late_device_gets_in()
        ready = scene.operator.ask("GET", "/health/ready")
        failing = {each["name"] for each in ready.content["dependencies"] if not each["ok"]}
        assert (ready.status, failing) == (503, {"catalog"})
        assert {"node: catalog", "node: catalog_caches"} <= scene.doctor_complains_of()
        said = rig.log_path.read_text()
        assert "a connection of the catalog is kept for too long" in said
        assert "the catalog is away: the last known good is served" in said
        assert scene.pulse.longest_gap_s < GAP_S_MAX
    scene.recovers()
    scene.all_is_stored()


def test_slow_rather_than_locked(rig: Rig) -> None:
    """It can be read for a moment every now and then: requests are slow or refused, and none hangs."""
    scene = Scene(rig)
    scene.pulse.begin()
    statuses = []
    with scene.locked("readers", hold_s=0.4, pause_s=0.1):
        ends_s = time.monotonic() + SLOW_S
        while time.monotonic() < ends_s:
            statuses.append(scene.operator.ask("GET", "/api/v1/devices").status)
            scene.acknowledges_more()
        assert scene.pulse.longest_gap_s < GAP_S_MAX
    assert set(statuses) <= {200, 503}
    assert 200 in statuses
    scene.recovers()
    scene.all_is_stored()


def test_the_disk_of_the_catalog_is_full(rig: Rig, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", size_mib=8) as mount:
        rig.add_device("first")
        catalog_moved(rig, mount / "catalog")
        scene = Scene(rig)
        scene.pulse.begin()
        ballast = mount / "ballast"
        fill(ballast)
        statuses = [
            scene.operator.ask("POST", "/api/v1/devices", {"device_id": f"x{n}"}).status for n in range(20)
        ]
        assert set(statuses) <= {201, 503, 507}
        refused = scene.operator.ask("POST", "/api/v1/devices", {"device_id": "y"})
        assert (refused.status, refused.content["code"]) == (507, "disk_full")
        assert refused.retry_after, "it goes on by itself, so it says when to come again"
        assert scene.operator.ask("GET", "/api/v1/devices").status == 200
        scene.late_device_gets_in()
        scene.acknowledges_more()
        assert scene.pulse.longest_gap_s < GAP_S_MAX
        ballast.unlink()
        scene.recovers()
        scene.all_is_stored()


def test_with_the_node_dead_old_and_new_connections_are_served(rig: Rig) -> None:
    scene = Scene(rig)
    scene.pulse.begin()
    rig.kill("node")
    scene.acknowledges_more()
    scene.late_device_gets_in()
    before = scene.device.reconnects
    scene.acknowledges_more()
    assert scene.device.reconnects == before == 0
    assert scene.pulse.longest_gap_s < GAP_S_MAX
    rig.start("node")
    wait_for(scene.is_ready, 30, "the node is back")
    scene.all_is_stored()
