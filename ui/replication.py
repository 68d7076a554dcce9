"""How safe this box's data is, as page, API, metrics and alarms say it: what the replicator last told.

A box that belongs to no fleet has no replicator, and that is nothing wrong. One whose replicator does not answer says so: then nothing is
known of what other boxes have.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from appliance.core.errors import HomeportError
from appliance.management.replication_state import ReplicationState
from storage.site.statistics import SiteStatistics
from ui.services import Services

NOTHING_READ: Final = SiteStatistics()
StateSource = Callable[[], Awaitable[ReplicationState | None]]
"""Asks the replicator; None where this box belongs to no fleet. Raises HomeportError where it doesn't answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationNow:
    """What is known now.

    Attributes:
        state: None for a box that is alone, and while the replicator does not answer.
        problem: Why nothing is known; "" where it is, or where there is nothing to know.
        site: How far the copies of the site's other boxes are read here.
    """

    state: ReplicationState | None = None
    problem: str = ""
    site: SiteStatistics = NOTHING_READ

    @property
    def is_alone(self) -> bool:
        return self.state is None and not self.problem


async def replication(services: Services) -> ReplicationNow:
    """Ask once; never fails."""
    site = services.site() if services.site is not None else NOTHING_READ
    try:
        return ReplicationNow(state=await services.replication(), site=site)
    except HomeportError as error:
        return ReplicationNow(problem=f"{error.message} {error.hint}".strip(), site=site)
