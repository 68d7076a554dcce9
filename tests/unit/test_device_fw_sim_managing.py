"""Faults of a managed device, played by the device whole: each ends as the contract says, from the same seed the same way."""

from __future__ import annotations

import json

import pytest

from device_fw_sim.events import State
from device_fw_sim.faults import FaultKind
from device_fw_sim.limits import AGENT_INFLIGHT_COUNT
from tests.update_world import WALL_MS, UpdateWorld, image, plan


def played(kind: FaultKind, *, seed: int = 1, for_ms: int = 60_000) -> UpdateWorld:
    world = UpdateWorld(faults=plan(kind, for_ms=for_ms), seed=seed)
    world.box.offer("j1", image())
    return world


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.POWER_CUT,
        FaultKind.SLOW_LINK,
        FaultKind.REPORT_TWICE,
        FaultKind.REPORT_OUT_OF_ORDER,
        FaultKind.REPORT_LATE,
        FaultKind.DROP_OUT,
        FaultKind.SILENT,
        FaultKind.RECONNECT_LOOP,
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_what_only_delays_ends_in_the_new_image(kind: FaultKind, seed: int) -> None:
    # Shorter than the confirm window, which would end the trial otherwise.
    world = played(kind, seed=seed, for_ms=20_000)
    world.run_until_settled()
    assert world.running["version"] == "2.0.0"
    assert world.running["confirmed"] is True


@pytest.mark.parametrize(
    ("kind", "err"),
    [
        (FaultKind.FLASH_ERROR, "flash_write_failed"),
        (FaultKind.WRONG_DIGEST, "wrong_digest"),
        (FaultKind.BOOT_LOOP, "boot_failed"),
    ],
)
def test_what_fails_says_why_and_leaves_the_old_image(kind: FaultKind, err: str) -> None:
    world = played(kind)
    world.run_until_settled()
    assert (world.box.reports[-1]["status"], world.box.reports[-1]["err"]) == ("FAILED", err)
    assert world.running["version"] == "1.0.0"


def test_silence_after_a_reboot_ends_with_the_fault() -> None:
    world = played(FaultKind.SILENT_AFTER_REBOOT, for_ms=300_000)
    world.run(250_000)
    assert world.device.state is State.HUNG
    world.run_until_settled()
    assert world.running["version"] == "2.0.0"
    assert world.statuses[-1]["reset_reason"] == "power_cut"


def test_a_wrong_clock_is_what_dates_are_compared_to() -> None:
    world = UpdateWorld(faults=plan(FaultKind.CLOCK_WRONG))
    manifest = {"artifact": {"sha256": image().sha256}, "epoch": 1, "not_before": WALL_MS - 1}
    world.box.offer("j1", image(), manifest=manifest)
    world.run_until_settled()
    assert world.box.reports[-1]["err"] == "not_yet_valid"


def test_a_command_can_restart_it() -> None:
    world = UpdateWorld()
    world.run(3_000)
    world.say("cmd/r1", json.dumps({"m": "reboot", "p": {}, "exp": WALL_MS + 60_000, "fence": 1}).encode())
    world.run(10_000)
    assert world.answers["r1"] == {"ok": True}
    assert world.statuses[-1]["reset_reason"] == "command"
    assert [each["state"] for each in world.statuses] == ["online", "offline", "online"]
    assert len({each["boot_id"] for each in world.statuses}) == 2


def test_the_twin_sets_the_pace() -> None:
    world = UpdateWorld()
    world.desired = {"interval_s": 10.0}
    world.run(60_000)
    assert world.device.statistics().taken <= 8
    assert world.shadow[-1]["interval_s"] == 10.0


def test_readings_in_ram_are_lost_in_a_restart_and_counted() -> None:
    world = UpdateWorld(faults=plan(FaultKind.POWER_CUT, after_ms=20_000), seed=3)
    world.run(3_000)
    world.go_down()
    world.run(40_000)
    world.is_up = True
    world.run(400_000)
    found = world.device.statistics()
    assert found.boots == 2
    assert found.lost > 10
    assert found.sent == found.acknowledged
    assert found.taken == found.sent + found.lost


def test_requests_beyond_the_window_wait() -> None:
    world = UpdateWorld()
    world.run(3_000)
    for number in range(20):
        world.say(f"cmd/r{number}", b'{"m": "identify"}')
    world.run(1)
    assert len(world.answers) == AGENT_INFLIGHT_COUNT
    world.run(1_000)
    assert len(world.answers) == 20
