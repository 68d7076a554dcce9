"""A day as it is shown and as it is decided on: how it stands in the store, and what its generation and the last check say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from appliance.management.retention import Retention
from appliance.pipeline.keeper_statistics import DayView
from storage.archive.checked import CheckedDay
from storage.archive.days import DayState
from storage.archive.index import Generation
from storage.archive.manifest import Manifest


class Generations:
    """What keeping.Situation asks of the newest generations."""

    def __init__(self, newest: Mapping[int, Generation], retention: Retention) -> None:
        self._newest = newest
        self._patterns = tuple((each.class_id, each.metric) for each in retention.classes)

    def classes_of(self, day: int) -> frozenset[str]:
        """The classes that a day's generation has files of."""
        manifest = self._manifest(day)
        return frozenset() if manifest is None else frozenset(file.class_id for file in manifest.files)

    def is_current(self, day: int) -> bool:
        """Whether its metrics were put into files by the classes that there are now."""
        manifest = self._manifest(day)
        return manifest is not None and manifest.classes == self._patterns

    def made_at_ms(self, day: int) -> int | None:
        """When it was made, UTC ms; None where there is none."""
        manifest = self._manifest(day)
        return None if manifest is None else manifest.made_at_ms

    def _manifest(self, day: int) -> Manifest | None:
        found = self._newest.get(day)
        return None if found is None else found.manifest


def view_of(state: DayState, generation: Generation | None, checks: Mapping[int, CheckedDay]) -> DayView:
    """One day.

    Args:
        generation: The one that the store knows of; None when it is in no generation.
    """
    manifest = generation.manifest if generation is not None else None
    check = checks.get(state.day)
    if check is not None and (generation is None or check.generation != generation.generation):
        check = None
    made_at_ms = manifest.made_at_ms if manifest is not None else None
    faults = check.faults if check is not None else ()
    if state.generation is not None and manifest is None:
        problem = generation.problem if generation is not None else "the generation is missing"
        faults = (("", problem),)
    return DayView(
        day=state.day,
        where=_where(state),
        generation=state.generation,
        hot_rows=state.hot + state.other,
        pending_rows=state.pending,
        archived_rows=manifest.rows if manifest is not None else 0,
        archived_bytes=manifest.bytes if manifest is not None else 0,
        verified_at_ms=check.at_ms if check is not None else made_at_ms,
        faults=faults,
        restored_until=state.restored_until,
    )


def _where(state: DayState) -> Literal["hot", "both", "part", "archived"]:
    if state.generation is None:
        return "hot"
    if state.is_whole:
        return "both"
    return "part" if state.hot else "archived"
