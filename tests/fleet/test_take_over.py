"""A box is killed in the middle of a rollout and with a command to say: the other one brings both to their end."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from device_fw_sim.fitting import FirmwareOptions
from device_fw_sim.image import Header, build
from tests.fleet.rig import Devices, SiteBox, register, within
from tests.integration.test_broker_verbs import until

VERSION = "2.0.0"
DEVICE_COUNT = 6
LATE = 1
"""Devices that come only when the first box is gone; a command waits for each of them."""
IMAGE_BYTES = 192 * 1024
SLOWLY = "[firmware]\ndelivery_kib_s = 32\n"
"""The image takes half a minute for all of them, so that the box dies in the middle of it."""


def start_rollout(box: SiteBox, image: Path) -> str:
    """An update of everybody, all at once; its rollout."""
    box.answer("setting", "set", "firmware.approval", "never")
    box.answer("artifact", "key", "policy", "allow")
    added = box.answer(
        "artifact", "add", str(image), "--name", "sim", "--version", VERSION, "--format", "raw"
    )
    wish = {
        "name": "Everybody",
        "artifact_id": added["artifact_id"],
        "targets": {"all": True},
        "plan": {"waves": ["100%"], "concurrency_max": 100, "start_spread_s": 0},
    }
    made = box.api().post("/api/v1/rollouts", wish)
    for act in ("submit", "start"):
        made = box.api().post(f"/api/v1/rollouts/{made['rollout_id']}/{act}", {})
    return str(made["rollout_id"])


def executions(box: SiteBox, rollout_id: str) -> dict[str, dict[str, Any]]:
    """By device, its update, as a box knows it."""
    found = box.api().get(f"/api/v1/rollouts/{rollout_id}/executions")["executions"]
    return {each["device_id"]: each for each in found}


def images(box: SiteBox) -> list[Path]:
    """Those that are whole on a box's disk."""
    return list((box.data_dir / "artifacts" / "sha256").rglob("[0-9a-f]" * 64))


@pytest.mark.long
def test_open_updates_and_commands_go_on(tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(build(Header(version=VERSION, hw=["sim-rev2"], epoch=0), size_bytes=IMAGE_BYTES).data)
    with ExitStack() as stack:
        one, other = SiteBox(tmp_path, "one", more=SLOWLY), SiteBox(tmp_path, "other", more=SLOWLY)
        one.start_and_wait()
        stack.callback(one.stopped)
        joined = other.join(one.invite())
        assert joined.exit_code == 0, joined.output
        other.start_and_wait()
        stack.callback(other.stopped)
        until(lambda: one.links() == {"other": "up"} and other.links() == {"one": "up"})
        credentials = register(one, DEVICE_COUNT + LATE)
        late = credentials[DEVICE_COUNT:]

        devices = Devices.at(one, credentials[:DEVICE_COUNT], interval_ms=1_000, firmware=FirmwareOptions())
        within(60, lambda: min(devices.acknowledged().values(), default=0) > 2, "devices are served")
        commands = [
            one.answer("command", "send", each.username, "identify", "--no-wait")["command_id"]
            for each in late
        ]
        rollout_id = start_rollout(one, image)
        within(60, lambda: images(other), "the image is on the other box")
        within(
            60,
            lambda: any(each["state"] == "downloading" for each in executions(one, rollout_id).values()),
            "an update is under way",
        )
        within(60, lambda: one.replication()["rpo_ms"] == 0, "all is on the other box")
        assert len(executions(other, rollout_id)) == DEVICE_COUNT + LATE

        one.kill()
        latecomers = Devices.at(other, late, interval_ms=1_000, seed=6, firmware=FirmwareOptions())
        everybody = dict.fromkeys((each.username for each in credentials), VERSION)
        took_s = within(
            300,
            lambda: devices.versions() | latecomers.versions() == everybody,
            "all run the new firmware, which the other box brought them",
        )
        print(f"all updated by the other box {took_s:.0f} s after the first was killed")
        within(
            120,
            lambda: {each["state"] for each in executions(other, rollout_id).values()} == {"succeeded"},
            "the other box has heard of all",
        )
        for each, command_id in zip(late, commands, strict=True):
            shown = other.answer("command", "show", each.username, command_id)
            assert shown["state"] == "succeeded", shown

        one.start_and_wait()
        within(60, lambda: one.links() == {"other": "up"}, "the first box is back")
        within(
            120,
            lambda: {each["state"] for each in executions(one, rollout_id).values()} == {"succeeded"},
            "the first box agrees",
        )
        states = {box.answer("rollout", "show", rollout_id)["state"] for box in (one, other)}
        assert states in ({"soaking"}, {"completed"})
        for which in (devices, latecomers):
            report = which.finish()
            assert report.ok, report.failures
            assert report.versions == {VERSION: len(which.options.credentials)}
