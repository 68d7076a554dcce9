"""Believable readings of one device, from a seed: pure, and the same for any sampling pace.

Temperature has a daily cycle, a slow drift and noise; humidity goes against it; power jumps between the levels of a
machine; a door opens now and then; the mode is a word; the battery declines. Values are rounded like a sensor's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from device_fw_sim.randomness import Randomness

Value = float | bool | str

DAY_MS: Final = 86_400_000
_POWER_LEVELS_W: Final = (42.0, 180.0, 410.0, 920.0)
_POWER_STEP_MEAN_S: Final = 300.0
_DOOR_OPEN_MEAN_S: Final = 40.0
_DOOR_SHUT_MEAN_S: Final = 900.0
_NOISE_MEMORY_S: Final = 600.0
_BATTERY_PER_DAY_PERCENT: Final = 2.5
_COMFORT_CELSIUS: Final = 21.0


@dataclass(frozen=True, slots=True)
class Place:
    """What makes one device's readings different from the next one's."""

    mean_celsius: float
    swing_celsius: float
    phase_ms: int
    battery_percent: float

    @classmethod
    def pick(cls, source: Randomness) -> Place:
        """A place between a cellar and a roof."""
        return cls(
            mean_celsius=source.uniform(12, 24),
            swing_celsius=source.uniform(1, 7),
            phase_ms=source.randrange(-2 * 3_600_000, 2 * 3_600_000),
            battery_percent=source.uniform(60, 100),
        )


class Signals:
    """The sensors of one device.

    Args:
        source: Randomness, owned by this object from now on.
    """

    def __init__(self, source: Randomness) -> None:
        self._source = source
        self.place = Place.pick(source)
        self._at_ms: int | None = None
        self._drift = 0.0
        self._power_level = source.randrange(len(_POWER_LEVELS_W))
        self._door_open = False
        self._battery_percent = self.place.battery_percent

    def sample(self, now_ms: int) -> dict[str, Value]:
        """Readings at a time.

        Args:
            now_ms: UTC, ms. Going back counts as no time passed.
        Returns:
            temperature_celsius, humidity_percent, power_watts, door (true: open), mode, battery_percent.
        """
        elapsed_s = 0.0 if self._at_ms is None else max(now_ms - self._at_ms, 0) / 1_000
        self._at_ms = now_ms
        self._move(elapsed_s)
        source, place = self._source, self.place
        # Coldest near 5 h, warmest near 17 h.
        angle = 2 * math.pi * ((now_ms + place.phase_ms) % DAY_MS / DAY_MS - 11 / 24)
        temperature = (
            place.mean_celsius + place.swing_celsius * math.sin(angle) + self._drift + source.gauss(0, 0.05)
        )
        humidity = 52 - 2.1 * (temperature - place.mean_celsius) + source.gauss(0, 0.4)
        power = _POWER_LEVELS_W[self._power_level] * (1 + source.gauss(0, 0.01))
        return {
            "temperature_celsius": round(temperature, 2),
            "humidity_percent": round(min(max(humidity, 0.0), 100.0), 1),
            "power_watts": round(power, 1),
            "door": self._door_open,
            "mode": self._mode(temperature),
            "battery_percent": round(self._battery_percent, 2),
        }

    def _move(self, elapsed_s: float) -> None:
        source = self._source
        keep = math.exp(-elapsed_s / _NOISE_MEMORY_S)
        self._drift = self._drift * keep + source.gauss(0, 0.6) * math.sqrt(1 - keep * keep)
        if source.random() < 1 - math.exp(-elapsed_s / _POWER_STEP_MEAN_S):
            self._power_level = source.randrange(len(_POWER_LEVELS_W))
        mean_s = _DOOR_OPEN_MEAN_S if self._door_open else _DOOR_SHUT_MEAN_S
        if source.random() < 1 - math.exp(-elapsed_s / mean_s):
            self._door_open = not self._door_open
        spent = _BATTERY_PER_DAY_PERCENT * elapsed_s * 1_000 / DAY_MS
        self._battery_percent = max(self._battery_percent - spent, 0.0)

    def _mode(self, temperature_celsius: float) -> str:
        if _POWER_LEVELS_W[self._power_level] < 100:
            return "idle"
        return "heating" if temperature_celsius < _COMFORT_CELSIUS else "cooling"
