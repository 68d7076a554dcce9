"""What a run of simulated devices did: one frozen value that turns into JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from device_fw_sim.events import DeviceStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class SimReport:
    """Sums over all devices.

    Attributes:
        sent: Different readings sent at least once and not given up.
        acknowledged: Of them, acknowledged by the broker.
        dropped: Readings given up because the buffer of an hour was full.
        undelivered: Still in a buffer at the end, sent or not.
        lost: Readings that were in RAM when a device restarted.
        boots: Starts of firmware, also those that failed.
        versions: Devices by the version that runs, of those that take updates; "2.0.0?" is on trial.
        failures: Sentences; empty when everything sent was acknowledged and delivered.
    """

    devices: int
    seconds: float
    taken: int
    sent: int
    resent: int
    acknowledged: int
    dropped: int
    undelivered: int
    connects: int
    reconnects: int
    refusals: int
    garbage: int
    lost: int
    boots: int
    versions: dict[str, int]
    failures: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Every reading that was sent was acknowledged, and none is left over."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {"ok": self.ok, **asdict(self)}


def summarise(
    statistics: Iterable[DeviceStatistics],
    seconds: float,
    problems: Iterable[str] = (),
    versions: Mapping[str, int] | None = None,
) -> SimReport:
    """Add devices up.

    Args:
        statistics: One for each device.
        seconds: Length of the run.
        problems: What else went wrong.
        versions: What runs, by version.
    """
    every = list(statistics)
    sent = sum(each.sent for each in every)
    acknowledged = sum(each.acknowledged for each in every)
    undelivered = sum(each.waiting for each in every)
    failures = list(problems)
    if sent != acknowledged:
        failures.append(f"{sent} readings sent, {acknowledged} acknowledged")
    if undelivered:
        failures.append(f"{undelivered} readings still in buffers when the time to deliver them was over")
    return SimReport(
        devices=len(every),
        seconds=round(seconds, 3),
        taken=sum(each.taken for each in every),
        sent=sent,
        resent=sum(each.resent for each in every),
        acknowledged=acknowledged,
        dropped=sum(each.dropped for each in every),
        undelivered=undelivered,
        connects=sum(each.connects for each in every),
        reconnects=sum(each.reconnects for each in every),
        refusals=sum(each.refusals for each in every),
        garbage=sum(each.garbage for each in every),
        lost=sum(each.lost for each in every),
        boots=sum(each.boots for each in every),
        versions=dict(sorted((versions or {}).items())),
        failures=tuple(failures),
    )
