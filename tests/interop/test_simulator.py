"""The simulator and the load generator against real brokers: both MQTT stacks, TCP and TLS, faults and a broker that dies."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.errors import OptionsError
from device_fw_sim.faults import FaultKind, FaultRequest
from device_fw_sim.fitting import FirmwareOptions
from device_fw_sim.fleet import Fleet, FleetOptions
from device_fw_sim.load import Credential, LoadOptions, run_load, wire
from device_fw_sim.one import OneOptions
from device_fw_sim.replay import ReplayOptions, replay
from device_fw_sim.samplers import Timestamps
from tests.interop import brokers
from tests.interop.brokers import LiveBroker

DEADLINE_S = 60.0
TRANSPORTS = pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])


def address(broker: LiveBroker, *, tls: bool = False, version: int = 5) -> BrokerAddress:
    return BrokerAddress(
        port=broker.tls_port if tls else broker.port,
        tls=tls,
        ca_file=str(broker.ca_file) if tls else None,
        mqtt_version=5 if version == 5 else 4,
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the caller sets the deadline."""
    while not condition():  # noqa: ASYNC110 - what is waited for is another process's doing
        await trio.sleep(0.01)


@TRANSPORTS
@pytest.mark.parametrize("version", [4, 5])
async def test_fleet(live_broker: LiveBroker, tls: bool, version: int) -> None:
    options = FleetOptions(
        broker=address(live_broker, tls=tls, version=version),
        credentials=live_broker.credentials,
        interval_ms=20,
        duration_s=1,
        keep_alive_s=1,
    )
    with trio.fail_after(DEADLINE_S):
        report = await Fleet(options).run()
    assert report.ok, report.failures
    assert report.sent >= 45
    assert report.reconnects == 0


@pytest.mark.parametrize("live_broker", ["mosquitto"], indirect=True)
@pytest.mark.parametrize("version", [4, 5])
async def test_devices_with_firmware_deliver_whether_or_not_anybody_answers_them(
    live_broker: LiveBroker, version: int
) -> None:
    """mosquitto answers nothing, and gives them their own requests back."""
    options = FleetOptions(
        broker=address(live_broker, version=version),
        credentials=live_broker.credentials,
        interval_ms=20,
        duration_s=1,
        firmware=FirmwareOptions(version="1.4.2"),
    )
    with trio.fail_after(DEADLINE_S):
        report = await Fleet(options).run()
    assert report.ok, report.failures
    assert report.sent >= 45
    assert report.reconnects == 0
    assert report.versions == {"1.4.2": len(live_broker.credentials)}


async def test_fleet_with_wrong_token_says_so(live_broker: LiveBroker) -> None:
    wrong = Credential(username=live_broker.credentials[0].username, password="wrong")
    options = FleetOptions(
        broker=address(live_broker), credentials=(wrong,), interval_ms=100, duration_s=0.5, drain_s=0.2
    )
    with trio.fail_after(DEADLINE_S):
        report = await Fleet(options).run()
    assert not report.ok
    assert report.connects == 0
    assert report.refusals >= 1
    assert "never connected" in report.failures[0]


@pytest.mark.parametrize(
    "kind", [FaultKind.RECONNECT_LOOP, FaultKind.DROP_OUT, FaultKind.SILENT, FaultKind.GARBAGE]
)
async def test_faulty_device_delivers_everything_in_the_end(live_broker: LiveBroker, kind: FaultKind) -> None:
    request = FaultRequest(kind=kind, count=1, after_s=0.3, for_s=0.8, every_s=None)
    options = FleetOptions(
        broker=address(live_broker),
        credentials=live_broker.credentials,
        interval_ms=20,
        duration_s=2,
        drain_s=20,
        faults=(request,),
    )
    with trio.fail_after(DEADLINE_S):
        report = await Fleet(options).run()
    assert report.ok, report.failures
    assert report.acknowledged == report.taken
    if kind is not FaultKind.GARBAGE:
        assert report.reconnects >= 1


async def test_silent_device_is_dropped_by_keep_alive(live_broker: LiveBroker) -> None:
    """The broker closes the connection after one and a half times the keep alive (MQTT 5.0 §3.1.2.10)."""
    credential = live_broker.credentials[0]
    listener = await trio.open_tcp_stream(live_broker.host, live_broker.port)
    async with listener:
        await listener.send_all(wire.connect("silent-one", credential.username, credential.password, 4, 1))
        with trio.fail_after(60):
            assert (await listener.receive_some(100))[:1] == b"\x20"
            assert await listener.receive_some(100) == b""


@TRANSPORTS
async def test_one_device_on_amqtt(live_broker: LiveBroker, tls: bool) -> None:
    """In a process of its own, as it is used; the token comes from the environment."""
    credential = live_broker.credentials[0]
    broker = address(live_broker, tls=tls)
    command = [
        sys.executable,
        "-m",
        "device_fw_sim",
        "one",
        "--port",
        str(broker.port),
        "--rate",
        "20",
        "--duration",
        "1.5",
    ]
    command += ["--json", *(["--tls", "--ca", str(broker.ca_file)] if tls else [])]
    environment = {"HOMEPORT_SIM_USERNAME": credential.username, "HOMEPORT_SIM_PASSWORD": credential.password}
    with trio.fail_after(DEADLINE_S):
        done = await trio.run_process(
            command, env=os.environ | environment, capture_stdout=True, capture_stderr=True, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads(done.stdout)
    assert report["ok"]
    assert report["sent"] >= 20


def test_one_device_cannot_play_what_its_client_cannot(live_broker: LiveBroker) -> None:
    with pytest.raises(OptionsError):
        OneOptions(
            broker=address(live_broker),
            credential=None,
            device_id="d",
            faults=(FaultRequest(kind=FaultKind.SILENT, count=1),),
        )


@pytest.mark.parametrize("speed", [100.0, float("inf")])
async def test_replay(live_broker: LiveBroker, tmp_path: Path, speed: float) -> None:
    path = tmp_path / "machine.csv"
    path.write_text(
        "timestamp,value\n" + "".join(f"{1_386_022_500 + index // 10},{index}\n" for index in range(500))
    )
    options = ReplayOptions(
        broker=address(live_broker),
        credential=live_broker.credentials[0],
        path=path,
        device_id="interop",
        metric="temperature",
        speed=speed,
        timestamps=Timestamps.ORIGINAL,
    )
    with trio.fail_after(DEADLINE_S):
        report = await replay(options, trio.Event())
    assert report.ok, report.failures
    assert report.acknowledged == 500


async def test_fleet_survives_a_broker_that_is_killed(tmp_path: Path) -> None:
    """Readings taken while the broker is away are delivered when it is back: SIGKILL, then a restart."""
    with brokers.mosquitto(tmp_path / "broker") as broker:
        options = FleetOptions(
            broker=address(broker),
            credentials=tuple(Credential(username=f"d{index}", password="") for index in range(5)),
            interval_ms=50,
            drain_s=30,
        )
        fleet = Fleet(options)
        reports = []

        async def run() -> None:
            reports.append(await fleet.run())

        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await until(lambda: fleet.statistics().acknowledged >= 20)
                broker.kill()
                before = fleet.statistics().taken
                await until(lambda: fleet.statistics().taken >= before + 20)
                await trio.to_thread.run_sync(broker.start)
                fleet.stop.set()
    assert reports[0].ok, reports[0].failures
    assert reports[0].acknowledged == reports[0].taken
    assert reports[0].reconnects >= 5


@TRANSPORTS
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1])
async def test_load(live_broker: LiveBroker, tls: bool, version: int, qos: int) -> None:
    options = LoadOptions(
        port=live_broker.tls_port if tls else live_broker.port,
        tls=tls,
        ca_file=str(live_broker.ca_file),
        mqtt_version=5 if version == 5 else 4,
        qos=1 if qos else 0,
        credentials=live_broker.credentials,
        connections=5,
        window=20,
        duration_s=30,
        warm_up_s=0,
        messages_max=5_000,
    )
    report = await trio.to_thread.run_sync(partial(run_load, options))
    assert report.ok, report.failures
    assert report.acknowledged == report.sent == 5_000


@TRANSPORTS
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize(
    ("connections", "subscribers", "subscribe_to"),
    [(4, 4, "own"), (1, 5, "own"), (3, 2, "all"), (6, 3, "shared")],
)
async def test_load_with_subscribers(
    live_broker: LiveBroker,
    tls: bool,
    version: Any,
    qos: Any,
    connections: int,
    subscribers: int,
    subscribe_to: Any,
) -> None:
    options = LoadOptions(
        port=live_broker.tls_port if tls else live_broker.port,
        tls=tls,
        ca_file=str(live_broker.ca_file),
        mqtt_version=version,
        qos=qos,
        credentials=live_broker.credentials,
        client_id_prefix="delivered",
        topic="delivered/{index}",
        connections=connections,
        subscribers=subscribers,
        subscribe_to=subscribe_to,
        payload="marked",
        window=20,
        duration_s=30,
        warm_up_s=0,
        messages_max=1_200,
    )
    report = await trio.to_thread.run_sync(partial(run_load, options))
    assert report.ok, report.failures
    assert report.deliveries is not None
    each = {(4, "own"): 1, (5, "own"): 5, (2, "all"): 2, (3, "shared"): 1}[subscribers, subscribe_to]
    assert report.deliveries.delivered == report.deliveries.wanted == report.sent * each == 1_200 * each
