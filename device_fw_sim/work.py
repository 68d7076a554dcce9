"""What the parts of the update agent share in one boot: the job, its reports, timers, and what is to be done outside. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from device_fw_sim import job as jobs
from device_fw_sim.acts import Act, Request
from device_fw_sim.events import Moment
from device_fw_sim.flash import Flash
from device_fw_sim.guard import Guard
from device_fw_sim.job import Job, Reporter
from device_fw_sim.limits import BLOCK_BYTES, BOOT_MS, SELF_TEST_MS
from device_fw_sim.phases import Phase
from device_fw_sim.slots import Slots
from device_fw_sim.verify import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """How a device takes its updates.

    Args:
        hardware: What images have to fit.
        trust: Whose signatures count.
        block_bytes: Of a block over MQTT.
        is_cbor: CBOR instead of JSON for blocks.
        over_https: Bytes from the job's `url`.
        boot_ms: How long a boot takes.
        self_test_ms: From the first connection after an update to the self-test's result.
    """

    hardware: str = "sim-rev2"
    trust: Trust = field(default_factory=Trust)
    block_bytes: int = BLOCK_BYTES
    is_cbor: bool = False
    over_https: bool = False
    boot_ms: int = BOOT_MS
    self_test_ms: int = SELF_TEST_MS


class Work:
    """One boot's work.

    Args:
        flash: Of the device.
        slots: Booted.
        options: How.
        boot_id: Of this boot.
        now: The end of the boot.
    """

    def __init__(
        self, flash: Flash, slots: Slots, options: AgentOptions, *, boot_id: str, now: Moment
    ) -> None:
        self.flash, self.slots, self.options, self.boot_id, self.now = flash, slots, options, boot_id, now
        self.guard = Guard(flash, slots.header.epoch)
        self.job: Job | None = None
        self.reporter: Reporter | None = None
        self.is_connected = False
        self.acts: list[Act] = []
        self._timers: dict[str, tuple[int, Callable[[], None]]] = {}

    # --- The job ---------------------------------------------------------------------------------------

    def begin(self, job: Job) -> None:
        """From now on this is the job; it is on flash before anything is done for it."""
        jobs.save(self.flash, job)
        self._timers.clear()
        self.job, self.reporter = job, Reporter(self.flash, job, self.boot_id)

    def enter(self, phase: Phase) -> None:
        """The job goes on to another phase, on flash first."""
        assert self.job is not None
        self.job.enter(phase)
        jobs.save(self.flash, self.job)

    def report(
        self, phase: str, *, is_gate: bool = False, status: str = jobs.IN_PROGRESS, **details: Any
    ) -> None:
        """Tell the box; a gate is something that the device waits to be allowed."""
        assert self.reporter is not None
        self.reporter.add(status, phase, is_gate=is_gate, **self.running(), **details)

    def end(self, status: str, phase: str, **details: Any) -> None:
        """Decide the job's last report; it is said until the box has heard it, over boots if need be."""
        assert self.job is not None
        self._timers.clear()
        self.job.enter(Phase.ENDED)
        self.job.final = {"status": status, "phase": phase, **details}
        self.report(phase, status=status, **details)

    def drop(self) -> None:
        """There is no job any more."""
        jobs.forget(self.flash)
        self._timers.clear()
        self.job = self.reporter = None

    def running(self) -> dict[str, Any]:
        """What each report says of what runs."""
        firmware = self.slots.firmware()
        return {
            "running": firmware.digest,
            "version": firmware.version,
            "slot": firmware.slot,
            "confirmed": firmware.confirmed,
            "epoch": firmware.epoch,
        }

    # --- Outside ---------------------------------------------------------------------------------------

    def send(self, topic: str, message: dict[str, Any]) -> None:
        """Publish JSON below `dm/{device}/`."""
        self.acts.append(Request(topic=topic, payload=json.dumps(message, separators=(",", ":")).encode()))

    def drain(self) -> list[Act]:
        """What is to be done now: what was collected, and the report whose turn it is."""
        if self.reporter is not None and self.is_connected:
            request = self.reporter.due(self.now.mono_ms)
            if request is not None:
                self.acts.append(request)
        acts, self.acts = self.acts, []
        return acts

    # --- Time ------------------------------------------------------------------------------------------

    def after(self, delay_ms: int, name: str, step: Callable[[], None]) -> None:
        """Take a step later, instead of the one of that name that was planned before; forgotten with the job."""
        self._timers[name] = (self.now.mono_ms + delay_ms, step)

    def cancel(self, *names: str) -> None:
        """Don't take these steps."""
        for name in names:
            self._timers.pop(name, None)

    def next_deadline_ms(self) -> int | None:
        """Monotonic ms of the next step or repetition."""
        resend_ms = self.reporter.next_deadline_ms() if self.reporter and self.is_connected else None
        deadlines = [resend_ms, *(at for at, _ in self._timers.values())]
        return min((each for each in deadlines if each is not None), default=None)

    def due(self) -> list[Callable[[], None]]:
        """Steps whose time has come, each once."""
        names = [name for name, (at, _) in self._timers.items() if at <= self.now.mono_ms]
        return [self._timers.pop(name)[1] for name in names]
