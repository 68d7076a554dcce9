from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from appliance.core.config import Config
from appliance.core.errors import Conflict
from appliance.run.demo_process import IMAGES, SCENARIO, fleet_command, register_devices, write_images
from appliance.run.local_api import LocalApi
from device_fw_sim.image import header_of


class _Api(LocalApi):
    """Registers devices in memory, each once."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))
        self.asked: list[str] = []
        self.names: set[str] = set()

    def post(self, target: str, body: Any) -> Any:
        self.asked.append(target)
        if target == "/api/v1/devices":
            if body["device_id"] in self.names:
                raise Conflict("There is one.")
            self.names.add(body["device_id"])
        return {"token": f"token-{len(self.asked)}"}


def test_devices_are_registered_once_and_their_tokens_kept_for_us_alone(tmp_path: Path) -> None:
    api = _Api()
    credentials, scenario = register_devices(api, tmp_path / "demo", 3)
    kept = json.loads(credentials.read_text())
    assert [each["username"] for each in kept] == ["demo-01", "demo-02", "demo-03"]
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert json.loads(scenario.read_text()) == SCENARIO
    register_devices(api, tmp_path / "demo", 3)
    assert json.loads(credentials.read_text()) == kept
    assert api.asked == ["/api/v1/devices"] * 3


def test_a_device_whose_token_is_lost_gets_a_new_one(tmp_path: Path) -> None:
    api = _Api()
    credentials, _scenario = register_devices(api, tmp_path / "demo", 1)
    credentials.unlink()
    register_devices(api, tmp_path / "demo", 1)
    assert api.asked[-1] == "/api/v1/devices/demo-01/token"
    assert json.loads(credentials.read_text())[0]["password"] == "token-3"


def test_a_small_fleet_has_no_more_faults_than_devices(tmp_path: Path) -> None:
    _credentials, scenario = register_devices(_Api(), tmp_path / "demo", 1)
    assert [fault["name"] for fault in json.loads(scenario.read_text())["faults"]] == ["silent"]


def test_no_secret_is_among_the_fleets_arguments(tmp_path: Path) -> None:
    credentials, scenario = register_devices(_Api(), tmp_path / "demo", 2)
    command = fleet_command(Config(), credentials, scenario, seed=4711)
    assert "token" not in " ".join(command)
    assert command[command.index("--seed") + 1] == "4711", "the same boot ids twice would be duplicates"
    assert command[command.index("--credentials") + 1] == str(credentials)
    assert command[command.index("--port") + 1] == "1883"


def test_the_fleet_takes_updates_and_keeps_its_flash(tmp_path: Path) -> None:
    credentials, scenario = register_devices(_Api(), tmp_path / "demo", 2)
    command = fleet_command(Config(), credentials, scenario, seed=4711)
    assert "--firmware" in command
    assert command[command.index("--flash") + 1] == str(tmp_path / "demo" / "flash")


def test_images_to_try_it_with_are_written_once(tmp_path: Path) -> None:
    folder = tmp_path / "firmware"
    write_images(folder)
    found = {path.name: header_of(path.read_bytes()) for path in folder.iterdir()}
    assert {name: (each.version, each.behaviour.value) for name, each in found.items() if each} == IMAGES
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    write_images(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
