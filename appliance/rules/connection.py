"""Connection: a device is lost, or is offline as well.

Must not know: how presence is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np

from appliance.core.arrays import I64, Mask
from appliance.management.presence import Presence
from appliance.management.rule_conditions import AnyCondition, Connection
from appliance.rules.batches import SeriesIndex
from appliance.rules.delays import Delayed, Moves

NUMBER_OF_PRESENCE: Final[dict[Presence, int]] = {
    presence: number for number, presence in enumerate(Presence)
}
_LOST, _OFFLINE = NUMBER_OF_PRESENCE[Presence.LOST], NUMBER_OF_PRESENCE[Presence.OFFLINE]


class ConnectionTable(Delayed):
    """Slots of devices; `counts_offline` of the condition."""

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {**Delayed.COLUMNS, "counts_offline": ("?", False)}
    counts_offline: Mask


class Connections:
    """Slots, and the presence of every device, so that a new rule knows it."""

    def __init__(self) -> None:
        self.table = ConnectionTable()
        self.presence: dict[int, tuple[int, int]] = {}
        """Device → (number of its presence, since when)."""
        self.newcomers: list[I64] = []
        """Slots that haven't been told yet what their devices' presence is."""
        self._index = SeriesIndex()

    def add(self, condition: AnyCondition, **about: I64) -> I64:
        """Slots of one rule; see `Measuring.add`."""
        assert isinstance(condition, Connection)
        return self.table.add(len(about["rule"]), **about, counts_offline=condition.counts_offline)

    def changed(self) -> None:
        """Slots came or went."""
        self._index.build(self.table.device, np.arange(self.table.count))

    def note(self, changes: Sequence[tuple[int, Presence, int]]) -> Moves | None:
        """(device, presence, since) in the order in which it happened."""
        for device, presence, at_ms in changes:
            self.presence[device] = NUMBER_OF_PRESENCE[presence], at_ms
        return self._feed(
            np.array([device for device, _, _ in changes], np.int64),
            np.array([NUMBER_OF_PRESENCE[presence] for _, presence, _ in changes], np.int64),
            np.array([at_ms for _, _, at_ms in changes], np.int64),
        )

    def begin(self) -> Moves | None:
        """Tell new slots what their devices' presence is."""
        if not self.newcomers:
            return None
        slots, self.newcomers = np.concatenate(self.newcomers), []
        devices = [
            device for device in np.unique(self.table.device[slots]).tolist() if device in self.presence
        ]
        known = np.array([(device, *self.presence[device]) for device in devices], np.int64).reshape(-1, 3)
        return self._feed(known[:, 0], known[:, 1], known[:, 2], only=slots)

    def _feed(self, devices: I64, presence: I64, at: I64, only: I64 | None = None) -> Moves | None:
        which, slots = self._index.slots_of(devices)
        if only is not None:
            mine = np.isin(slots, only)
            which, slots = which[mine], slots[mine]
        if not len(slots):
            return None
        order = np.lexsort((which, slots))
        which, slots = which[order], slots[order]
        starts = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
        presence, at = presence[which], at[which]
        gone = (presence == _LOST) | ((presence == _OFFLINE) & self.table.counts_offline[slots])
        return self.table.feed(
            slots[starts],
            np.diff(starts, append=len(slots)),
            gone.astype(np.int8),
            observed=at,
            received=at,
            measures=presence.astype(np.float64),
            values=np.full(len(slots), np.nan),
        )

    def keep(self, mask: Mask) -> None:
        """Let go of slots."""
        place = np.cumsum(mask) - 1
        self.newcomers = [place[slots[mask[slots]]] for slots in self.newcomers]
        self.table.keep(mask)
