"""What rules and anomalies are shown: released readings as columns, how unusual they are, who belongs where. Pure.

The columns of one call are sorted by (series, observed_at_ms); each series continues where its last call ended, so that a reader
needs no order of its own. Booleans are 0.0 and 1.0; texts are not among them.

Must not know: rules, detectors, batches, tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Protocol

import numpy as np

from appliance.core.arrays import F32, F64, I64, U8, U32
from appliance.management.presence import Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """Readings in the order in which they are evaluated: sorted by (series, observed_at_ms). All columns have the same length.

    Attributes:
        series: Id of the series (device, metric), as SeriesNames knows it; small and dense.
        observed_at_ms: When it was measured, UTC ms; never before the last one of its series.
        received_at_ms: When it arrived, UTC ms.
        values: May be NaN or infinite.
        quality: `readings.Quality`.
        epoch, seq: Position in the log up to which was read when these were released.
    """

    series: U32
    observed_at_ms: I64
    received_at_ms: I64
    values: F64
    quality: U8
    epoch: int = 0
    seq: int = 0

    def __len__(self) -> int:
        return len(self.series)


class Finding(IntEnum):
    """Which anomaly it is. The words are those of `Anomaly.what` in rule_conditions.py."""

    NONE = 0
    OUTLIER = 1
    LEVEL_SHIFT = 2
    DRIFT = 3
    VARIANCE = 4
    DROP_OUT = 5


WORD_OF_FINDING: Final[dict[Finding, str]] = {
    Finding.OUTLIER: "outlier",
    Finding.LEVEL_SHIFT: "level_shift",
    Finding.DRIFT: "drift",
    Finding.VARIANCE: "variance",
    Finding.DROP_OUT: "drop_out",
}


class Explains(Protocol):
    """Why a reading has its score; asked for the few that matter, before the next readings are scored."""

    def __call__(self, at: int, /) -> dict[str, Any]:
        """Of the reading at this index: `text` for people and the numbers that it is made of; JSON types only."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How unusual each of the released readings is; as long as they are, in their order.

    Attributes:
        score: 0 (as ever) to 1. A finding that lasts (level shift, drift, variance) keeps its score up for as long as it lasts.
        kind: `Finding`: the one that `score` is of.
        explain: Why, by index.
    """

    score: F32
    kind: U8
    explain: Explains


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceScores:
    """Findings that no reading brought: a series that has dropped out. The next reading of the series ends it.

    Attributes:
        series, at_ms: Which, and since when it counts (the deadline, not when it was noticed), UTC ms.
        score, kind, explain: As in Scores.
    """

    series: U32
    at_ms: I64
    score: F32
    kind: U8
    explain: Explains


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceChange:
    """A device's presence after it changed, or after its status said how often it reports.

    Attributes:
        at_ms: When it changed, UTC ms: by the log, not when it was read.
        expect_ms: How often its status says that a reading is to be expected; None while it has not said so.
    """

    device_id: str
    presence: Presence
    at_ms: int
    expect_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Where a device belongs.

    Attributes:
        is_watched: False of one that is waiting, rejected or decommissioned: no rule is about it.
    """

    groups: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    is_watched: bool = True


STRANGER: Final = Member()
"""A device that the catalog doesn't know (the topics of a mapping may name any): in no group, without tags, and watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """All devices of the catalog, as of now.

    Attributes:
        devices: By device id.
        group_names: Group id → name, for what people read; a group without a name is called by its id.
    """

    devices: Mapping[str, Member] = field(default_factory=dict)
    group_names: Mapping[str, str] = field(default_factory=dict)

    def of(self, device_id: str) -> Member:
        """Where a device belongs; STRANGER if nobody knows it."""
        return self.devices.get(device_id, STRANGER)


class SeriesNames(Protocol):
    """Which device and metric a series' id stands for. Ids are given from 0 on, are never given anew, and grow."""

    def __len__(self) -> int:
        """How many ids there are: all below have a name."""
        ...

    def name_of(self, series_id: int, /) -> tuple[str, str]:
        """(device id, metric)."""
        ...


def released(
    rows: Sequence[tuple[int, int, float]], *, quality: int = 0, epoch: int = 0, seq: int = 0
) -> Released:
    """Readings from (series, observed_at_ms, value), which need not be sorted; received when they were observed. For few of them."""
    ordered = sorted(rows, key=lambda row: row[:2])
    times = np.array([row[1] for row in ordered], np.int64)
    return Released(
        series=np.array([row[0] for row in ordered], np.uint32),
        observed_at_ms=times,
        received_at_ms=times,
        values=np.array([row[2] for row in ordered], np.float64),
        quality=np.full(len(ordered), quality, np.uint8),
        epoch=epoch,
        seq=seq,
    )
