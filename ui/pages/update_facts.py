"""What pages ask about rollouts again and again, read once for all that are open: lists and counts, by scope.

An answer is kept for UPDATE_FACTS_CACHE_MS, or until a page has changed something (`changed`); what devices do shows after that time at
the latest. So many open pages cost as much as one, and a page's own act is on it at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import trio

from appliance.core.errors import Unavailable
from appliance.core.limits_update_pages import UPDATE_FACTS_CACHE_MS, UPDATE_FACTS_SCOPE_COUNT_MAX
from appliance.management.permissions import Scope
from appliance.management.rollouts import LIVE, RolloutState
from appliance.management.wave_counts import Standing
from storage.catalog import Catalog
from storage.catalog.rollouts import Rollout
from ui.pages.rollout_facts import Looker, view_of
from ui.pages.rollout_views import RolloutView
from ui.services import Services

OPEN_STATES: Final = frozenset(
    {*LIVE, RolloutState.DRAFT, RolloutState.AWAITING_APPROVAL, RolloutState.READY}
)
ENDED_COUNT: Final = 30
"""Ended rollouts that the list shows."""
UNDER_WAY_COUNT: Final = 5
"""Bars on the Overview."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """Rollouts, the newest first, with the counts of their executions and their artifacts' names; how many devices need a hand."""

    rollouts: tuple[Rollout, ...]
    counts: Mapping[str, list[Standing]]
    artifacts: Mapping[str, str]
    in_need: int

    def views(self, looker: Looker) -> tuple[RolloutView, ...]:
        """All of them, as whoever looks may see them."""
        return tuple(
            view_of(
                each,
                self.counts[each.rollout_id],
                artifact=self.artifacts.get(each.artifact_id, "an artifact that was removed"),
                looker=looker,
            )
            for each in self.rollouts
        )

    def under_way(self) -> tuple[RolloutView, ...]:
        """Those that have executions which may move, for whoever only looks."""
        views = self.views(Looker(user_id="", may=frozenset()))
        return tuple(each for each in views if each.state in LIVE)[:UNDER_WAY_COUNT]


class UpdateFacts:
    """Asks the catalog at most once per UPDATE_FACTS_CACHE_MS for each scope that somebody looks with."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept: dict[Scope, tuple[int, Updates]] = {}
        self._in_need: dict[Scope, tuple[int, int]] = {}
        self._lock = trio.Lock()

    def changed(self) -> None:
        """Somebody changed something on a page: tell the engine, ask anew, and wake the pages that are open."""
        self._services.wake_updates()
        self._kept.clear()
        self._in_need.clear()
        self._services.hub.touch(("updates",))

    async def get(self, scope: Scope) -> Updates:
        """The newest answer.

        Raises:
            Unavailable: the catalog did not answer in time.
        """
        async with self._lock:
            now_ms = self._services.clock.mono_ms()
            found = self._kept.get(scope)
            if found is not None and now_ms - found[0] < UPDATE_FACTS_CACHE_MS:
                return found[1]
            updates = await self._services.catalog.read(lambda catalog: _read(catalog, scope))
            if len(self._kept) >= UPDATE_FACTS_SCOPE_COUNT_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[scope] = (now_ms, updates)
            return updates

    async def in_need(self, scope: Scope) -> int:
        """How many devices are in the work queue, for the navigation of every page; the last number while the catalog does not answer."""
        now_ms = self._services.clock.mono_ms()
        found = self._in_need.get(scope)
        if found is not None and now_ms - found[0] < UPDATE_FACTS_CACHE_MS:
            return found[1]
        try:
            count = await self._services.catalog.read(lambda catalog: catalog.count_in_need(scope=scope))
        except Unavailable:
            return found[1] if found is not None else 0
        if len(self._in_need) >= UPDATE_FACTS_SCOPE_COUNT_MAX:
            del self._in_need[next(iter(self._in_need))]
        self._in_need[scope] = (now_ms, count)
        return count


def _read(catalog: Catalog, scope: Scope) -> Updates:
    opened = catalog.rollouts_in(OPEN_STATES)
    ended = catalog.list_rollouts(states=frozenset(RolloutState) - OPEN_STATES, limit=ENDED_COUNT).rollouts
    rollouts = tuple(sorted((*opened, *ended), key=lambda each: each.rollout_id, reverse=True))
    return Updates(
        rollouts=rollouts,
        counts={each.rollout_id: catalog.standings(each.rollout_id, scope=scope) for each in rollouts},
        artifacts={each.artifact_id: f"{each.name} {each.version}" for each in catalog.artifacts()},
        in_need=catalog.count_in_need(scope=scope),
    )
