"""Numbers for devices, groups and metrics, and which series are whose.

Numbers are given from 0 on and kept as long as the object lives; series have the ids that SeriesNames gives them.

Must not know: rules.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from appliance.core.arrays import I64
from appliance.management.watched import SeriesNames


class Numbering:
    """Names and their numbers."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names: list[str] = list(names)
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def number(self, name: str) -> int:
        """The number of a name, a new one if it has none."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
        return number

    def __len__(self) -> int:
        return len(self.names)


class Places:
    """Devices with their series.

    Args:
        names: Of the series; new ones are taken over by `grow`.
    """

    def __init__(self, names: SeriesNames) -> None:
        self._names = names
        self.devices = Numbering()
        self.groups = Numbering()
        self.metrics: list[str] = []
        """The metric of each series, by its id."""
        self.series_device = np.empty(0, np.int64)
        """The device of each series, by its id."""
        self.series_of: dict[int, dict[str, int]] = {}
        """Device → metric → series."""

    @property
    def is_behind(self) -> bool:
        """Whether there are series that `grow` has not taken over."""
        return len(self._names) > len(self.metrics)

    def grow(self, count: int | None = None) -> range:
        """Take over series that are new; their ids.

        Args:
            count: So many there are afterwards; None: all.
        """
        new = range(len(self.metrics), len(self._names) if count is None else min(count, len(self._names)))
        owners = []
        for series in new:
            device_id, metric = self._names.name_of(series)
            device = self.devices.number(device_id)
            owners.append(device)
            self.metrics.append(metric)
            # A metric that changed its type has a second series: the newer one is meant by its name.
            self.series_of.setdefault(device, {})[metric] = series
        self.series_device = np.concatenate([self.series_device, np.array(owners, np.int64)])
        return new

    def series_of_devices(self, devices: Iterable[int], metric: str) -> I64:
        """The series of a metric of some devices."""
        found = (self.series_of.get(device, {}).get(metric, -1) for device in devices)
        return np.array([series for series in found if series >= 0], np.int64)
