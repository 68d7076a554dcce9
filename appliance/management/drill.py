"""What a drill found: a box lost on purpose as a scratch copy, had back from others, and compared with the living one. Pure.

Times are UTC ms, or durations in ms. It is kept as JSON (ui/drill_desk.py), and is what page, API, command line, metrics and the alarm about it
are made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from appliance.core.errors import NotFound

Outcome = Literal["good", "different", "failed", "called_off"]
From = Literal["peers", "cloud"]
SOURCES: tuple[From, ...] = ("peers", "cloud")


class DrilledStream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that was copied.

    Attributes:
        records: That are in the copy, before `next_seq`. own_next_seq: How far this box had it when it was lost.
        is_same: Whether both are one history, by the hash of the last frame; None of another node's stream that is not here to be compared.
    """

    node_id: str
    name: str
    epoch: int
    next_seq: int
    records: int
    bytes: int
    own_next_seq: int
    hash: str
    is_same: bool | None


class DrilledTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table of the catalog. `digest` is SHA-256 over all its rows, of the restored one."""

    name: str
    rows: int
    own_rows: int
    digest: str
    is_same: bool


class DrillReport(msgspec.Struct, frozen=True, kw_only=True):
    """A drill that has ended.

    Attributes:
        outcome: good: what came back is what is here. different: it isn't, `differences` says where. failed: it could not be carried
            out, `problem` says why.
        rpo_ms: Age of the oldest record that would have been lost; 0 for none. rpo_records: How many.
        serve_ms: Until a box could serve its devices: catalog, and where the log goes on. whole_ms: Until all was there.
        compared_records, compared_series: Of the log, record by record, and the devices' topics that they are of.
        difference_count: All of them; `differences` names the first.
        lacking: What nobody who was asked has. asked, away: Names of nodes, or of the region. notes: What else a restore would need.
        source: Out of what it was had back.
    """

    drill_id: str
    outcome: Outcome
    is_scheduled: bool
    begun_at_ms: int
    ended_at_ms: int
    source: From = "peers"
    by: str = ""
    problem: str = ""
    rpo_ms: int | None = None
    rpo_records: int | None = None
    serve_ms: int | None = None
    whole_ms: int | None = None
    bytes: int = 0
    compared_records: int = 0
    compared_series: int = 0
    difference_count: int = 0
    differences: tuple[str, ...] = ()
    streams: tuple[DrilledStream, ...] = ()
    tables: tuple[DrilledTable, ...] = ()
    lacking: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    away: tuple[str, ...] = ()


class DrillProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A drill under way: what it does, and how much of that is done."""

    drill_id: str
    is_scheduled: bool
    begun_at_ms: int
    source: From = "peers"
    step: str = "begins"
    done: int = 0
    total: int = 0


def due_at_ms(kept: tuple[DrillReport, ...], *, days: int, retry_ms: int, now_ms: int) -> int | None:
    """When the next scheduled drill is due; None where none is wanted.

    Args:
        kept: Those out of one source, the newest first. One that people began counts as well as a scheduled one, if it was carried out.
        retry_ms: After one that failed or was called off.
    """
    if not days:
        return None
    interval_ms = days * 86_400_000
    carried_out = next((each for each in kept if each.outcome in ("good", "different")), None)
    due = now_ms if carried_out is None else carried_out.begun_at_ms + interval_ms
    if kept and kept[0].outcome in ("failed", "called_off"):
        due = max(due, kept[0].begun_at_ms + min(retry_ms, interval_ms))
    # A clock that was ahead then must not put it off for years.
    return min(due, now_ms + interval_ms)


def is_failing(kept: tuple[DrillReport, ...]) -> bool:
    """Whether the newest scheduled drill out of either source went wrong, and none since was good: what the alarm is about.

    Args:
        kept: The newest first.
    """
    return any(_is_failing(of(kept, source)) for source in SOURCES)


def of(kept: tuple[DrillReport, ...], source: From) -> tuple[DrillReport, ...]:
    """Those out of one source, the newest first as they were."""
    return tuple(each for each in kept if each.source == source)


def _is_failing(kept: tuple[DrillReport, ...]) -> bool:
    for each in kept:
        if each.outcome == "good":
            return False
        if each.is_scheduled and each.outcome != "called_off":
            return True
    return False


def check_region(names: Sequence[str], wanted: str) -> None:
    """Whether a drill out of the cloud has a region to ask.

    Args:
        names: Of the regions that are configured. wanted: One of them; "" for any.
    Raises:
        NotFound: `tier_missing`, `tier_region_unknown`.
    """
    if not names:
        raise NotFound(
            "No region of a cloud is configured on this box.",
            hint="docs/CLOUD.md says how one is.",
            code="tier_missing",
        )
    if wanted and wanted not in names:
        raise NotFound(
            f"This box has no region {wanted[:63]}.",
            hint=f"It has {', '.join(names)}.",
            code="tier_region_unknown",
        )
