"""What a batch of records says to rules and anomalies, in the order in which it arrived. Pure.

Must not know: batches, how readings are put into order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from appliance.core.arrays import F64, I64, U8, U32
from appliance.management.watched import PresenceChange

Heard = tuple[str, str, int]
"""A device, the node of the site in whose log it stands ("" for the own one), when it arrived there (UTC ms)."""


@dataclass(slots=True, kw_only=True)
class Arrived:
    """Readings that are numbers, as columns of one length in no order, and what else happened meanwhile.

    Attributes:
        observed_at_ms, received_at_ms: UTC ms. values: Booleans are 0.0 and 1.0.
        copies: Readings that are not among them, because another broker may have kept them: nobody knows when they were said.
        presences: In the order of the log. broker_starts: When the broker was started, or its clock went ahead, which counts as one, UTC ms, ascending.
    """

    series: U32 = field(default_factory=lambda: np.empty(0, np.uint32))
    observed_at_ms: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    received_at_ms: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    values: F64 = field(default_factory=lambda: np.empty(0, np.float64))
    quality: U8 = field(default_factory=lambda: np.empty(0, np.uint8))
    copies: int = 0
    presences: Sequence[PresenceChange] = ()
    broker_starts: Sequence[int] = ()
    heard: Sequence[Heard] = ()
    newest_own_ms: int | None = None

    def __len__(self) -> int:
        return len(self.series)
