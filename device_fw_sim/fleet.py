"""Thousands of devices in one process: trio around the sans-IO device and session.

Faults, seeds and the ramp are dealt with here, each device's connection in runner.py.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio

from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.device import Device
from device_fw_sim.errors import OptionsError
from device_fw_sim.events import HARDWARE, DeviceOptions, Moment
from device_fw_sim.faults import FaultRequest, plan_fleet
from device_fw_sim.fitting import HTTPS_PORT, FirmwareOptions, Fitter, check_faults
from device_fw_sim.limits import DEVICE_COUNT_MAX
from device_fw_sim.load.options import Credential
from device_fw_sim.report import SimReport, summarise
from device_fw_sim.runner import DeviceRunner, system_moment

_CLOSE_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """A fleet.

    Args:
        broker: Where it connects.
        credentials: One device each; the user name is the device id.
        certificates: By device id, PEM files with key and certificate of those that come with one, and no password.
        interval_ms: Between two readings of a device.
        duration_s: None runs until `stop` is set.
        ramp_s: The devices are switched on over this time.
        drain_s: How long to deliver what is kept, after the end.
        faults: Planted ones.
        firmware: What devices are that take updates, have a twin and obey commands; None for such that only send readings.
        seed: Everything random comes from it.
    """

    broker: BrokerAddress
    credentials: tuple[Credential, ...]
    certificates: Mapping[str, str] = field(default_factory=dict)
    interval_ms: int = 5_000
    duration_s: float | None = None
    ramp_s: float = 0.0
    drain_s: float = 10.0
    keep_alive_s: int = 30
    telemetry_topic: str = "dm/{device}/telemetry"
    faults: tuple[FaultRequest, ...] = ()
    firmware: FirmwareOptions | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if not 1 <= len(self.credentials) <= DEVICE_COUNT_MAX:
            raise OptionsError(
                f"A fleet of {len(self.credentials)} devices.",
                hint=f"Give 1 to {DEVICE_COUNT_MAX} credentials.",
            )
        check_faults(self.faults, self.firmware)
        if not 1 <= self.interval_ms <= 86_400_000:
            raise OptionsError(f"An interval of {self.interval_ms} ms.", hint="Choose from 1 ms to a day.")


class Fleet:
    """Devices to be run once.

    Args:
        options: What to run.
        moment: Reads the clocks; its monotonic one must be trio's.
    """

    def __init__(self, options: FleetOptions, *, moment: Callable[[], Moment] = system_moment) -> None:
        self._options = options
        self._moment = moment
        self._source = random.Random(options.seed)
        self._plans = plan_fleet(len(options.credentials), options.faults, self._source)
        self._context = options.broker.tls_context()
        self._runners: list[DeviceRunner] = []
        self.stop = trio.Event()

    async def run(self) -> SimReport:
        """Run until the duration is over or `stop` is set, deliver what is left, and report."""
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._switch_on, nursery)
            with trio.move_on_after(self._options.duration_s or float("inf")):
                await self.stop.wait()
            ended = trio.current_time()
            with trio.move_on_after(self._options.drain_s):
                async with trio.open_nursery() as draining:
                    for runner in self._runners:
                        draining.start_soon(runner.drain)
            report = self._report(ended - started)
            with trio.move_on_after(_CLOSE_DEADLINE_S):
                async with trio.open_nursery() as closing:
                    for runner in self._runners:
                        closing.start_soon(runner.close)
            nursery.cancel_scope.cancel()
        return report

    def statistics(self) -> SimReport:
        """The counts so far, while it runs."""
        return self._report(0.0)

    def _report(self, seconds: float) -> SimReport:
        never = [runner for runner in self._runners if runner.device.statistics().connects == 0]
        problems = []
        if never:
            problems.append(
                f"{len(never)} devices were never connected (the first: {never[0].problem or 'no answer'})"
            )
        devices = [runner.device for runner in self._runners]
        versions = Counter(each.managed.running_version for each in devices if each.managed is not None)
        return summarise([device.statistics() for device in devices], seconds, problems, versions)

    async def _switch_on(self, nursery: trio.Nursery) -> None:
        options = self._options
        fitter = None if options.firmware is None else Fitter(options.firmware)
        pause_s = options.ramp_s / len(options.credentials)
        for credential, plan in zip(options.credentials, self._plans, strict=True):
            device = Device(
                DeviceOptions(
                    device_id=credential.username,
                    interval_ms=options.interval_ms,
                    keep_alive_s=options.keep_alive_s,
                    telemetry_topic=options.telemetry_topic,
                    hardware=HARDWARE if options.firmware is None else options.firmware.hardware,
                ),
                source=random.Random(self._source.getrandbits(64)),
                now=self._moment(),
                faults=plan,
                managed=None
                if fitter is None
                else fitter.managed(credential.username, interval_ms=options.interval_ms),
            )
            certificate = options.certificates.get(credential.username)
            runner = DeviceRunner(
                device,
                credential if certificate is None else None,
                options.broker,
                self._context if certificate is None else options.broker.tls_context(certificate),
                self._moment,
                https_port=HTTPS_PORT
                if options.firmware is None
                else options.firmware.https_port or HTTPS_PORT,
            )
            self._runners.append(runner)
            nursery.start_soon(runner.run)
            if pause_s:
                await trio.sleep(pause_s)
