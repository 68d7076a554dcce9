"""What planted faults do to a device's measurements, before they are numbered and sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final

from device_fw_sim.faults import FaultKind
from device_fw_sim.randomness import Randomness
from device_fw_sim.signals import Value

SPIKE_RATIO: Final = 0.1
SPIKES_CELSIUS: Final = (-127.0, 85.0, 850.0)
"""What a DS18B20 says without a sensor, after a reset, and with a bit that fell over."""
BURST_CELSIUS: Final = 10.0
BURST_EXPONENT: Final = 1.5
"""Pareto's: the mean is three times the least, and the variance has no bound."""
BURST_CELSIUS_MAX: Final = 10_000.0
DRIFT_CELSIUS_PER_HOUR: Final = 6.0
"""Three times as fast as the steepest day that Signals knows: people see it on a chart, and it is no single reading that shows it."""
_TEMPERATURE: Final = "temperature_celsius"
_MS_PER_HOUR: Final = 3_600_000


class Spoiling:
    """The sensors of one device, as its faults leave them.

    Args:
        source: Randomness; asked only while a fault that needs it holds.
    """

    def __init__(self, source: Randomness) -> None:
        self._source = source
        self._last: Mapping[str, Value] = {}
        self._stuck_celsius: Value | None = None
        self._drifting_since_ms: int | None = None

    def spoiled(
        self, values: Mapping[str, Value], active: Set[FaultKind], at_mono_ms: int
    ) -> dict[str, Value]:
        """What the device reads instead of what there is.

        Args:
            values: By name.
            active: Faults that hold now.
            at_mono_ms: When it is measured, monotonic.
        """
        if FaultKind.STUCK in active and self._last:
            values = self._last
        self._last = values
        spoiled = dict(values)
        if _TEMPERATURE in spoiled:
            self._spoil_temperature(spoiled, active, at_mono_ms)
        return spoiled

    def _spoil_temperature(self, spoiled: dict[str, Value], active: Set[FaultKind], at_mono_ms: int) -> None:
        if FaultKind.DRIFT not in active:
            self._drifting_since_ms = None
        elif self._drifting_since_ms is None:
            self._drifting_since_ms = at_mono_ms
        if self._drifting_since_ms is not None:
            hours = (at_mono_ms - self._drifting_since_ms) / _MS_PER_HOUR
            spoiled[_TEMPERATURE] = round(float(spoiled[_TEMPERATURE]) + DRIFT_CELSIUS_PER_HOUR * hours, 2)
        if FaultKind.STUCK_SENSOR not in active:
            self._stuck_celsius = None
        elif self._stuck_celsius is None:
            self._stuck_celsius = spoiled[_TEMPERATURE]
        if self._stuck_celsius is not None:
            spoiled[_TEMPERATURE] = self._stuck_celsius
        if FaultKind.BURST in active:
            size = BURST_CELSIUS * (1 - self._source.random()) ** (-1 / BURST_EXPONENT)
            spoiled[_TEMPERATURE] = round(float(spoiled[_TEMPERATURE]) + min(size, BURST_CELSIUS_MAX), 2)
        if FaultKind.SPIKE in active and self._source.random() < SPIKE_RATIO:
            spoiled[_TEMPERATURE] = self._source.choice(SPIKES_CELSIUS)
        if FaultKind.DEAD_SENSOR in active:
            del spoiled[_TEMPERATURE]
