"""The playground's third process: registers simulated devices through the node's API and runs a fleet of them.

One device falls silent now and then: its values turn stale, then the broker finds it lost, and later it comes back
with what it kept. The devices take updates, have a twin and obey commands; images to try that with are written beside their flash, a good one
and one that does not boot. The fleet is a program of its own that gets its tokens in a file which only this user can read.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import trio

from appliance.core import logs
from appliance.core.config import Config
from appliance.core.errors import Conflict, Unavailable
from appliance.run import layout
from appliance.run.child import ChildLink
from appliance.run.local_api import LocalApi
from appliance.run.process import run_process

READINGS_PER_S: Final = 1
KEEP_ALIVE_S: Final = 20
"""A silent device is stale after devices.stale_after_s (15 s in the playground) and lost after 1.5 × this, 30 s."""
SCENARIO: Final = {
    "faults": [
        {"name": "silent", "count": 1, "after_s": 45, "for_s": 90, "every_s": 300},
        {"name": "drop-out", "count": 1, "after_s": 20, "for_s": 15, "every_s": 120},
        {"name": "spike", "count": 1, "after_s": 30, "for_s": 20, "every_s": 90},
    ]
}
"""What is planted in the fleet, each fault in another device as long as there are enough."""

IMAGES: Final = {"demo-2.0.0.img": ("2.0.0", "good"), "demo-2.1.0-does-not-boot.img": ("2.1.0", "boot-loop")}
"""Firmware to try updates with: file, version, and what it does once it runs."""
_IMAGE_TIMEOUT_S: Final = 60

_log = logs.get(__name__)


async def serve(config: Config, link: ChildLink, *, device_count: int) -> None:
    """Register the devices and run the fleet until `link.stopping`.

    Raises:
        Unavailable: the fleet ended by itself; the supervisor starts this process again.
        HomeportError: the node refuses the devices.
    """
    api = LocalApi(layout.node_socket(config))
    async with trio.open_nursery() as nursery:
        await nursery.start(link.serve)
        register = partial(register_devices, api, config.node.data_dir / "demo", device_count)
        credentials, scenario = await trio.to_thread.run_sync(register)
        await trio.to_thread.run_sync(write_images, config.node.data_dir / "demo" / "firmware")
        process = await trio.lowlevel.open_process(
            fleet_command(config, credentials, scenario, seed=secrets.randbits(31)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            nursery.start_soon(_end_with, process, link)
            await link.ready(f"{device_count} simulated devices")
            await link.stopping.wait()
        finally:
            process.terminate()
            # Not without a deadline: the supervisor kills this whole group when the drain's is over.
            with trio.CancelScope(shield=True):
                await process.wait()
        nursery.cancel_scope.cancel()


def register_devices(api: LocalApi, folder: Path, count: int) -> tuple[Path, Path]:
    """See that the devices exist and that we know their tokens. Blocks.

    Args:
        folder: Where tokens and scenario are kept between runs.
    Returns:
        Paths of the credentials and of the scenario.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    credentials, scenario = folder / "credentials.json", folder / "scenario.json"
    known = {each["username"]: each["password"] for each in _read(credentials)}
    names = [f"demo-{number:02}" for number in range(1, count + 1)]
    tokens = {name: known.get(name) or _token(api, name) for name in names}
    _write(credentials, [{"username": name, "password": token} for name, token in tokens.items()])
    _write(scenario, {"faults": SCENARIO["faults"][:count]})
    return credentials, scenario


def fleet_command(config: Config, credentials: Path, scenario: Path, *, seed: int) -> list[str]:
    """The fleet's program and arguments; no secret is among them.

    Args:
        seed: Another one each time: boot ids come from it, and what a device says under one that it had before is a duplicate.
    """
    assert config.broker.tcp_bind is not None, "the playground's configuration has it"
    return [
        *(sys.executable, "-P", "-m", "device_fw_sim", "fleet", "--json"),
        *("--host", config.broker.tcp_bind.host, "--port", str(config.broker.tcp_bind.port)),
        *("--credentials", str(credentials), "--scenario", str(scenario)),
        *("--rate", str(READINGS_PER_S), "--keep-alive", str(KEEP_ALIVE_S), "--drain", "2"),
        *("--seed", str(seed), "--firmware", "--flash", str(credentials.parent / "flash")),
    ]


def write_images(folder: Path) -> None:
    """Write the images that are not there yet. Blocks."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, (version, behaviour) in IMAGES.items():
        if (folder / name).exists():
            continue
        # A program of its own as well: the appliance knows nothing of simulated devices.
        subprocess.run(  # noqa: S603 - our own program, our own words
            [sys.executable, "-P", "-m", "device_fw_sim", "image", str(folder / name), "--version", version,
             "--behaviour", behaviour, "--size", "262144"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=_IMAGE_TIMEOUT_S,
        )  # fmt: skip


def _token(api: LocalApi, name: str) -> str:
    """Register a device; one that is there from a run whose file is gone gets a new token."""
    try:
        answer = api.post(
            "/api/v1/devices", {"device_id": name, "name": f"Simulated {name}", "tags": ["demo"]}
        )
    except Conflict:
        answer = api.post(f"/api/v1/devices/{quote(name, safe='')}/token", {"overlap_s": 0})
    return str(answer["token"])


async def _end_with(process: trio.Process, link: ChildLink) -> None:
    exit_code = await process.wait()
    if not link.stopping.is_set():
        raise Unavailable(
            f"The simulated fleet ended with exit code {exit_code}.",
            hint="Its own message is above; it is started again.",
            code="demo_fleet_ended",
        )


def _read(path: Path) -> list[dict[str, str]]:
    try:
        found: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return found


def _write(path: Path, content: Any) -> None:
    """Replace a file that only this user can read; never half of it."""
    made = path.with_suffix(".new")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
    made.replace(path)


def main() -> int:
    """Run the process; returns its exit code."""
    return run_process("demo", partial(serve, device_count=int(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
