"""Drills as metrics."""

from __future__ import annotations

from typing import Final

from appliance.management.drill import SOURCES, DrillReport, of
from ui.metrics_table import Collected
from ui.services import Services

OUTCOMES: Final = ("good", "different", "failed", "called_off")


def add_drills(out: Collected, services: Services) -> None:
    """How old the newest out of each source is, what it found, and whether one is under way."""
    now = services.drills.now()
    out.add("homeport_drill_running", now.running is not None)
    for source in SOURCES:
        for newest in of(now.kept, source)[:1]:
            _add_newest(out, newest, services.clock.now_ms())


def _add_newest(out: Collected, newest: DrillReport, now_ms: int) -> None:
    source = newest.source
    out.add("homeport_drill_age_seconds", (now_ms - newest.begun_at_ms) / 1_000, source)
    for outcome in OUTCOMES:
        out.add("homeport_drill_outcome", newest.outcome == outcome, source, outcome)
    for name, value_ms in (
        ("homeport_drill_rpo_seconds", newest.rpo_ms),
        ("homeport_drill_serve_seconds", newest.serve_ms),
        ("homeport_drill_whole_seconds", newest.whole_ms),
    ):
        out.add(name, None if value_ms is None else value_ms / 1_000, source)
