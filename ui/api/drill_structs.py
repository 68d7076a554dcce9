"""Answers about drills."""

from __future__ import annotations

from typing import Annotated

import msgspec

from appliance.management.drill import DrillProgress, DrillReport
from ui.api.structs import Answer


class Drills(Answer, kw_only=True, frozen=True):
    """The drill that is under way, if one is, and the newest that have ended, the newest first.

    `days` is between two that are begun by themselves, 0 for none; `due_at_ms` when the next one is; `cloud_…` of those out of the cloud.
    """

    running: DrillProgress | None
    drills: tuple[DrillReport, ...]
    days: int
    due_at_ms: int | None
    cloud_days: int
    cloud_due_at_ms: int | None


class CloudDrillWish(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Out of which region; the first that can be asked if not given."""

    region: Annotated[str, msgspec.Meta(max_length=63)] = ""


class Drill(Answer, kw_only=True, frozen=True):
    """A drill that is under way."""

    drill_id: str
    begun_at_ms: int
    step: str
