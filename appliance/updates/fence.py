"""The fence: a number that every order to a device carries. A device refuses orders under a lower one than it has seen.

It is raised when a backup was restored, or by hand when a box was replaced: then whatever the box of before still says is of no effect. The
new one is a time, so that it is higher than any that was given after the backup was made.
"""

from __future__ import annotations

from typing import Final

from appliance.management.executions import State
from appliance.management.rollouts import ENDED, LIVE
from appliance.updates.work import Work
from storage.catalog.catalog import Catalog

FENCE_SETTING: Final = "firmware_fence"
"""A setting of the catalog, that nobody sets but this module."""
_STARTED: Final = LIVE | ENDED


def current_fence(catalog: Catalog) -> int:
    """The fence that orders are given under now."""
    return int(catalog.get_setting(FENCE_SETTING, 0))


def raise_fence(catalog: Catalog, now_ms: int) -> int:
    """Raise it, in the caller's transaction; what is under way goes on under the higher one.

    Returns:
        The new one: UTC seconds, or one more than before where the clock is behind.
    """
    fence = max(current_fence(catalog) + 1, now_ms // 1000)
    catalog.set_setting(FENCE_SETTING, fence)
    # Of those that are over as well: they may be rolled back, and single devices of them retried.
    for rollout in catalog.rollouts_in(_STARTED, own=True):
        catalog.change_rollout(rollout.rollout_id, fence=fence)
    return fence


def raise_fence_and_tell(work: Work) -> int:
    """The same while the node runs: devices that have something to do are told it again, under the new fence."""
    fence = raise_fence(work.catalog, work.now_ms)
    for rollout in work.catalog.rollouts_in(_STARTED, own=True):
        work.forget_terms(rollout.rollout_id)
        for execution_id in work.catalog.open_executions(rollout.rollout_id):
            execution = work.get(execution_id)
            if execution.started_at_ms is not None and execution.state is not State.PAUSED:
                work.change(execution, push_due_at_ms=work.now_ms)
    return fence
