"""Numbers for (device, metric, kind), held in memory, given out once and never again.

Ids count up from 1 without gaps. What was given out since the last commit is part of the next batch, so an id is
in a committed row only if its series is.
"""

from __future__ import annotations

from collections.abc import Iterable

from appliance.core.limits import SERIES_COUNT_MAX, SERIES_PER_DEVICE_COUNT_MAX
from appliance.management.readings import ValueKind
from storage.telemetry.batch import NewSeries


class SeriesCatalog:
    """All series of a store. For the pipeline's thread only."""

    def __init__(self, known: Iterable[NewSeries] = ()) -> None:
        self._ids: dict[tuple[str, str, int], int] = {}
        self._count_by_device: dict[str, int] = {}
        self._last_id = 0
        self._names: list[tuple[str, str]] = [("", "")]
        self._new: list[NewSeries] = []
        for series in known:
            self._put(series)

    def __len__(self) -> int:
        return len(self._ids)

    def id_of(self, device: str, metric: str, kind: ValueKind) -> int | None:
        """The id of a series, a new one if need be; None when the device or the node has too many."""
        found = self._ids.get((device, metric, kind))
        if found is not None:
            return found
        if (
            len(self._ids) >= SERIES_COUNT_MAX
            or self._count_by_device.get(device, 0) >= SERIES_PER_DEVICE_COUNT_MAX
        ):
            return None
        series = NewSeries(self._last_id + 1, device, metric, kind)
        self._put(series)
        self._new.append(series)
        return series.id

    def known_id(self, device: str, metric: str, kind: ValueKind) -> int | None:
        """The id of a series that was given out already."""
        return self._ids.get((device, metric, kind))

    def name_of(self, series_id: int) -> tuple[str, str]:
        """(device, metric) of an id that was given out; of 0, which never is, two empty ones."""
        return self._names[series_id]

    def take_new(self) -> list[NewSeries]:
        """Series given out since the last call."""
        new, self._new = self._new, []
        return new

    def _put(self, series: NewSeries) -> None:
        self._ids[series.device, series.metric, series.kind] = series.id
        self._count_by_device[series.device] = self._count_by_device.get(series.device, 0) + 1
        self._last_id = max(self._last_id, series.id)
        self._names.extend([("", "")] * (series.id + 1 - len(self._names)))
        self._names[series.id] = (series.device, series.metric)
