"""Answers about drills."""

from __future__ import annotations

from appliance.management.drill import DrillProgress, DrillReport
from ui.api.structs import Answer


class Drills(Answer, kw_only=True, frozen=True):
    """The drill that is under way, if one is, and the newest that have ended, the newest first.

    `days` is between two that are begun by themselves, 0 for none; `due_at_ms` when the next one is.
    """

    running: DrillProgress | None
    drills: tuple[DrillReport, ...]
    days: int
    due_at_ms: int | None


class Drill(Answer, kw_only=True, frozen=True):
    """A drill that is under way."""

    drill_id: str
    begun_at_ms: int
    step: str
