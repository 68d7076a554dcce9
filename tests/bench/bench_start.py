"""How small a box is when nothing happens, and how soon it serves devices again after a SIGKILL with a large log.

Memory: the whole appliance with so many devices connected that say nothing, half a minute later; PSS, which counts shared pages once.
Start: some connections publish random bytes until the log has its size, go on, and all processes are killed under that load. It is served
when a device that connects again has a PUBACK, counted from the command that starts it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import click

from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.fleet import FleetOptions
from device_fw_sim.load import Credential
from tests.bench import appliance, harness
from tests.bench.harness import BenchError, Goal
from tests.fleet.rig import Devices, within
from tests.processes import children_of, is_alive
from tests.protocol import builder as b
from tests.protocol.raw_client import RawClient

PUBLISHERS = 4
PAYLOAD_BYTES = 64 * 1024
TOGETHER = 16
"""Messages of one connection in flight."""
SETTLED_S = 30.0
DAY_MS = 86_400_000
START_S_MAX = 5.0
RESIDENT_MIB_MAX = 300.0
LOG_S_MAX = 1_800.0


@click.command("start")
@click.option(
    "--gib", default=10.0, show_default=True, type=click.FloatRange(0.01, 100), help="Size of the log."
)
@click.option("--devices", default=1_000, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 100), help="Kills.")
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def start(gib: float, devices: int, rounds: int, data: Path | None, json_path: Path | None) -> None:
    """Memory of an idle box; seconds until devices are served after a SIGKILL under load."""
    names = [f"dev-{number}" for number in range(devices)]
    with harness.data_folder(data) as folder, appliance.running(folder, names, cores=None) as box:
        resident = _idle(box)
        log = folder / "data" / "log"
        served = []
        for _ in range(rounds):
            _killed_under_load(box, log, gib)
            served.append(_served_after(box))
        size_gib = _size_gib(log)
        machine = harness.machine(folder)
    click.echo(harness.table(("process", "PSS MiB"), sorted(resident.items())))
    click.echo(f"Log of {size_gib:.2f} GiB; served after {', '.join(f'{each:.2f}' for each in served)} s.")
    goals = [
        Goal(
            what=f"MiB resident, {devices} idle devices",
            value=sum(resident.values()),
            wanted=RESIDENT_MIB_MAX,
            reached=sum(resident.values()) <= RESIDENT_MIB_MAX,
        ),
        Goal(
            what=f"s until devices are served after a SIGKILL, {size_gib:.1f} GiB of log",
            value=max(served),
            wanted=START_S_MAX,
            reached=max(served) <= START_S_MAX,
        ),
    ]
    result = {"machine": machine, "resident_mib": resident, "log_gib": size_gib, "served_s": served}
    harness.finish("start", result, goals, json_path)


def _idle(box: appliance.Appliance) -> dict[str, float]:
    """By process, its PSS with all devices connected and silent."""
    devices = Devices(
        FleetOptions(
            broker=BrokerAddress(port=box.broker.port),
            credentials=box.broker.credentials,
            interval_ms=DAY_MS,
            ramp_s=5.0,
        )
    )
    within(
        120, lambda: devices.fleet.statistics().connects >= len(box.broker.credentials), "all are connected"
    )
    time.sleep(SETTLED_S)
    found = {_program(pid): _pss_mib(pid) for pid in _pids(box)}
    report = devices.finish()
    if report.reconnects:
        raise BenchError(f"{report.reconnects} connections were lost: these devices were not idle.")
    return found


def _killed_under_load(box: appliance.Appliance, log: Path, gib: float) -> None:
    """Publish until the log has its size, and kill everything while they go on."""
    enough = threading.Event()
    publishers = [
        threading.Thread(target=_publish, args=(box.broker.port, credential, enough), daemon=True)
        for credential in box.broker.credentials[:PUBLISHERS]
    ]
    before = _size_gib(log)
    for each in publishers:
        each.start()
    end = time.monotonic() + LOG_S_MAX
    while (size := _size_gib(log)) < gib or size < before + 0.05:
        if time.monotonic() > end or not any(each.is_alive() for each in publishers):
            raise BenchError(f"The log stays at {size:.2f} GiB.\n{box.broker.output()[-3_000:]}")
        time.sleep(0.1)
    pids = _pids(box)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    box.broker.kill()
    within(30, lambda: not any(is_alive(pid) for pid in pids), "all processes are gone")
    enough.set()
    for each in publishers:
        each.join()


def _publish(port: int, credential: Credential, enough: threading.Event) -> None:
    topic, numbers = f"dm/{credential.username}/noise", range(1, TOGETHER + 1)
    try:
        with RawClient(("127.0.0.1", port)) as client:
            client.connect(
                credential.username, username=credential.username, password=credential.password.encode()
            )
            while not enough.is_set():
                packets = (
                    b.publish(topic, os.urandom(PAYLOAD_BYTES), qos=1, packet_id=number) for number in numbers
                )
                client.send(*packets)
                for number in numbers:
                    client.expect_puback(number)
    except (OSError, AssertionError):
        return  # killed, as it was to be; that all of them ended before is told apart by who waits for the size


def _served_after(box: appliance.Appliance) -> float:
    """Start it; seconds until a device has a PUBACK."""
    began = time.monotonic()
    box.broker.start()
    credential = box.broker.credentials[0]
    with RawClient(("127.0.0.1", box.broker.port)) as client:
        client.connect_in_time(
            credential.username, username=credential.username, password=credential.password.encode()
        )
        client.publish(f"dm/{credential.username}/noise")
    return time.monotonic() - began


def _pids(box: appliance.Appliance) -> list[int]:
    return [box.broker.pid, *children_of(box.broker.pid)]


def _program(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return next((word.decode() for word in words if word.startswith(b"appliance")), str(pid))


def _pss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition("\nPss:")[2].split()[0]) / 1024


def _size_gib(folder: Path) -> float:
    sizes = (path.stat().st_size for path in folder.rglob("*.seg*"))
    return sum(sizes) / 1024**3
