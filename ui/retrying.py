"""Trying again what failed of a rollout: all of its devices that gave up or ran out of time, each by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.core.errors import Conflict, Unavailable
from appliance.core.limits_updates import ROLLOUT_DEVICE_COUNT_MAX
from appliance.management.audit import Act, Actor
from appliance.management.execution import Execution
from appliance.management.executions import State
from appliance.management.rollouts import LIVE
from appliance.updates.desk import Operation
from storage.catalog import Catalog
from ui.services import Services

RETRIED: Final = (State.FAILED, State.TIMED_OUT)
ACTION: Final = "rollout.retry_failed"


@dataclass(frozen=True, slots=True)
class Retried:
    """How many are tried again, and how many had moved on by themselves meanwhile."""

    retried_count: int
    left_count: int


async def retry_failed(services: Services, rollout_id: str, actor: Actor) -> Retried:
    """Try them again; what happened to one meanwhile holds up no other.

    Raises:
        NotFound: `rollout_unknown`. Conflict: `rollout_state`: it has ended. Unavailable: `updates_away`, or it can't be audited.
    """
    updates = services.updates
    if updates is None:
        raise Unavailable("Updates are not ready yet.", hint="Try again in a moment.", code="updates_away")
    left, executions = 0, await services.catalog.read(lambda catalog: _failed(catalog, rollout_id))
    noted = services.audit.noted(
        Act(action=ACTION, actor=actor),
        object_kind="rollout",
        object_id=rollout_id,
        detail=f"{len(executions)} devices",
    )
    async with noted:
        for each in executions:
            try:
                await updates.operate(each.execution_id, Operation.RETRY, actor, reason="All that failed.")
            except Conflict:
                left += 1  # It moved on by itself since it was listed.
    return Retried(len(executions) - left, left)


def _failed(catalog: Catalog, rollout_id: str) -> tuple[Execution, ...]:
    rollout = catalog.get_rollout(rollout_id)
    if rollout.state not in LIVE:
        raise Conflict(
            f"The rollout is {rollout.state.replace('_', ' ')}: nothing of it is tried again together.",
            hint="Retry single devices, or make another rollout for them.",
            code="rollout_state",
        )
    found: list[Execution] = []
    cursor: str | None = None
    while True:
        page = catalog.list_executions(rollout_id=rollout_id, states=RETRIED, cursor=cursor, limit=1_000)
        found += [each for each in page.executions if each.is_over]
        cursor = page.next_cursor
        if cursor is None or len(found) >= ROLLOUT_DEVICE_COUNT_MAX:
            return tuple(found)
