"""A recording played back by one device: the same connection rules as any device, and nothing is dropped."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import trio

from device_fw_sim import recording
from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.device import Device
from device_fw_sim.errors import OptionsError
from device_fw_sim.events import DeviceOptions
from device_fw_sim.load.options import Credential
from device_fw_sim.report import SimReport, summarise
from device_fw_sim.runner import DeviceRunner, system_moment
from device_fw_sim.samplers import RecordingSampler, Timestamps

_POLL_S = 0.05
_CLOSE_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """What to play.

    Args:
        path: CSV file, see `recording.read`.
        device_id: Whose readings these are.
        metric: Name of the value; the file's own name by default.
        speed: Times faster than recorded; infinity for as fast as the broker takes them.
        timestamps: Which time the readings carry.
        drain_s: How long to wait for the last acknowledgements, after the last row or after `stop`.
    """

    broker: BrokerAddress
    credential: Credential | None
    path: Path
    device_id: str
    metric: str
    speed: float = 1.0
    timestamps: Timestamps = Timestamps.SHIFTED
    telemetry_topic: str = "dm/{device}/telemetry"
    keep_alive_s: int = 30
    drain_s: float = 30.0

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise OptionsError(f"A speed of {self.speed}.", hint="Choose a number above 0, or max.")


async def replay(options: ReplayOptions, stop: trio.Event) -> SimReport:
    """Play to the end, or until `stop` is set.

    Raises:
        OptionsError: The file can't be read or a line of it is wrong, in a group of exceptions: `recording.check` says so
            before anything is played.
    """
    now = system_moment()
    sampler = RecordingSampler(
        recording.read(options.path),
        metric=options.metric,
        speed=options.speed,
        timestamps=options.timestamps,
        start_mono_ms=now.mono_ms,
    )
    device = Device(
        DeviceOptions(
            device_id=options.device_id,
            interval_ms=100,  # What bounds the buffer: 36,000 rows, of which a recording uses 1,000.
            keep_alive_s=options.keep_alive_s,
            telemetry_topic=options.telemetry_topic,
        ),
        source=random.SystemRandom(),
        now=now,
        sampler=sampler,
    )
    runner = DeviceRunner(device, options.credential, options.broker, options.broker.tls_context())
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.run)
        while not device.exhausted and not stop.is_set():
            with trio.move_on_after(_POLL_S):
                await stop.wait()
        with trio.move_on_after(options.drain_s):
            await runner.drain()
        problems = (
            [] if device.statistics().connects else [f"never connected: {runner.problem or 'no answer'}"]
        )
        report = summarise([device.statistics()], trio.current_time() - started, problems)
        with trio.move_on_after(_CLOSE_DEADLINE_S):
            await runner.close()
        nursery.cancel_scope.cancel()
    return report
