"""When rows of readings may go to a region: behind its pieces, and within the bandwidth of all of the tier. Asked of the replicator.

Rows are uploaded by the node, which knows by which mappings records are read; pieces are shipped by the replicator, which has the budget. What
uploads says with each question how far it is, so that all that is known of a region is told in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from appliance.core.clock import Clock
from appliance.core.errors import NotFound, UsageError
from appliance.core.limits_replication import TIER_READINGS_BEHIND_MS
from appliance.management.replication_state import ReplicationState, TierRowsState
from replication.replicator import Replicator

WAIT_MS: Final = 1_000
"""Until it is asked again, where pieces come first."""


class RowsTurns:
    """See the module's docstring.

    Args:
        node_id: Whose pieces come first.
    """

    def __init__(self, replicator: Replicator, node_id: str, clock: Clock) -> None:
        self._replicator, self._node_id, self._clock = replicator, node_id, clock
        self._said: dict[str, TierRowsState] = {}

    def ask(self, region: str, size_bytes: int, said: object, *, is_past_missing: bool) -> Mapping[str, Any]:
        """Whether so much may go now.

        Args:
            size_bytes: 0 where nothing is to go, and only `said` is told.
            is_past_missing: Records of this box's own log are still to come.
        Returns:
            `wait_ms`: 0 where it may, and is counted; else when to ask again. `is_past_missing`.
        Raises:
            NotFound: `tier_region_unknown`. UsageError: `said` is no TierRowsState.
        """
        shipper = self._replicator.tier.shipper
        if shipper is None or region not in {state.name for state in shipper.machine.states}:
            raise NotFound(
                f"The replicator ships to no region {region[:63]}.",
                hint=self._replicator.tier.problem
                or "Restart Homeport, so that all its processes have one configuration.",
                code="tier_region_unknown",
            )
        try:
            self._said[region] = msgspec.convert(said, TierRowsState)
        except msgspec.ValidationError as error:
            raise UsageError(f"That says nothing of rows: {error}.") from error
        wait_ms = 0
        if size_bytes > 0:
            now_ms = self._clock.mono_ms()
            budget = shipper.machine.budget
            budget.refill(now_ms)
            wait_ms = max(0, budget.open_ms(now_ms) - now_ms)
            if any(
                view.region == region
                and view.stream.node_id == self._node_id
                and view.lacks
                and view.lag_ms > TIER_READINGS_BEHIND_MS
                and not view.problem
                for view in shipper.machine.views(now_ms)
            ):
                wait_ms = max(wait_ms, WAIT_MS)
            if not wait_ms:
                budget.spend(size_bytes, now_ms)
        return {"wait_ms": wait_ms, "is_past_missing": is_past_missing}

    def told(self, state: ReplicationState) -> ReplicationState:
        """The picture, with what was said of rows."""
        if not self._said:
            return state
        tier = tuple(
            msgspec.structs.replace(region, rows=self._said.get(region.name)) for region in state.tier
        )
        return msgspec.structs.replace(state, tier=tier)
