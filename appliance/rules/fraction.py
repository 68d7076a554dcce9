"""Missing fraction: so many of the devices of the site, or of a group, send nothing; one alarm for all of them.

Its members are rows of silence.py; what they do is counted here, at the times at which they do it. A member counts once it has been
heard and it is known how often it reports.

Must not know: devices, how silence is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from appliance.core.arrays import I64, Mask
from appliance.management.rule_conditions import AnyCondition, MissingFraction
from appliance.rules.bands import Banded, above
from appliance.rules.delays import Moves
from appliance.rules.silence import UNKNOWN, Events, SilenceTable
from appliance.rules.table import NEVER

_TINY: Final = 1e-9
SILENT_COUNT_MIN: Final = 2
"""One device that is silent is no sign of anything that devices share, however few there are: it has an alarm of its own."""


class FractionTable(Banded):
    """Slots with how many members they have, and how many of those are silent."""

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Banded.COLUMNS,
        "members": ("i8", 0),
        "silent": ("i8", 0),
    }
    members: I64
    silent: I64


class Fractions:
    """Counts silent members."""

    def __init__(self) -> None:
        self.table = FractionTable()
        self._recounted = False

    def add(self, condition: AnyCondition, **about: I64) -> I64:
        """Slots of one rule; see `Measuring.add`."""
        assert isinstance(condition, MissingFraction)
        band = above(condition.fraction - _TINY)
        return self.table.add(len(about["rule"]), **about, **band._asdict())

    def recount(self, rows: SilenceTable) -> None:
        """Members came or went."""
        counts = np.flatnonzero((rows.parent >= 0) & (rows.last_ms != UNKNOWN) & (rows.limit_ms != NEVER))
        count = self.table.count
        self.table.members = np.bincount(rows.parent[counts], minlength=count).astype(np.int64)
        silent = counts[rows.is_silent[counts]]
        self.table.silent = np.bincount(rows.parent[silent], minlength=count).astype(np.int64)
        self._recounted = True

    def apply(self, events: Events, horizon_ms: int) -> Moves | None:
        """What members did until the horizon, in any order.

        Returns:
            Moves whose measure is the share that is silent, and whose value is how many members there were.
        """
        table = self.table
        parent, at, silent, joined = events
        if self._recounted:
            self._recounted = False
            none = np.zeros(table.count, np.int64)
            parent = np.concatenate([parent, np.arange(table.count)])
            at = np.concatenate([at, none + horizon_ms])
            silent, joined = np.concatenate([silent, none]), np.concatenate([joined, none])
        if not len(parent):
            return None
        order = np.lexsort((at, parent))
        parent, at, silent, joined = parent[order], at[order], silent[order], joined[order]
        starts = np.flatnonzero(np.concatenate([[True], parent[1:] != parent[:-1]]))
        lengths = np.diff(starts, append=len(parent))
        slots = parent[starts]
        silent = _running(silent, starts, lengths) + np.repeat(table.silent[slots], lengths)
        members = _running(joined, starts, lengths) + np.repeat(table.members[slots], lengths)
        last = starts + lengths - 1
        table.silent[slots], table.members[slots] = silent[last], members[last]
        # What happens at one time is one step.
        stays = np.concatenate([(at[1:] != at[:-1]) | (parent[1:] != parent[:-1]), [True]])
        lengths = np.add.reduceat(stays.astype(np.int64), starts)
        at, silent, members = at[stays], silent[stays], members[stays]
        shares = np.where(silent >= SILENT_COUNT_MIN, silent / np.maximum(members, 1), 0.0)
        return table.feed(
            slots,
            lengths,
            table.codes(slots, lengths, shares),
            observed=at,
            received=at,
            measures=shares,
            values=members.astype(np.float64),
        )

    def keep(self, mask: Mask) -> None:
        """Let go of slots."""
        self.table.keep(mask)


def _running(steps: I64, starts: I64, lengths: I64) -> I64:
    """Sums of the steps so far, anew from each start on."""
    total = np.cumsum(steps)
    return total - np.repeat(total[starts] - steps[starts], lengths)
