"""What a device has to do, and in which order: one thing at a time, and what has begun first."""

from __future__ import annotations

from typing import Final

from appliance.management.execution import Execution
from appliance.management.executions import State
from storage.catalog.catalog import Catalog

_BACK: Final = (State.ROLLING_BACK, State.ROLLBACK_PENDING)
_BEGUN: Final = (
    State.TESTING,
    State.UNCONFIRMED,
    State.REBOOTING,
    State.INSTALLING,
    State.WAIT_WINDOW,
    State.VERIFIED,
    State.DOWNLOADED,
    State.DOWNLOADING,
)
_ORDER: Final[dict[State, int]] = {
    state: rank for rank, state in enumerate((*_BACK, *_BEGUN, State.NOTIFIED, State.QUEUED))
}
"""What is offered, the most urgent first; what is not in it is none of the device's business."""


def offered(catalog: Catalog, device_id: str, now_ms: int) -> list[Execution]:
    """All that is offered to a device, the most urgent first, of equals the older.

    Not yet: what its wave lets begin later, and the next attempt to go back while it is waited with.
    """
    alive = [
        execution
        for execution in catalog.executions_alive_of(device_id)
        if execution.state in _ORDER and not execution.is_over
    ]
    found = [each for each in alive if _is_due(each, now_ms)]
    return sorted(found, key=lambda each: (_ORDER[each.state], each.created_at_ms, each.execution_id))


def next_of(catalog: Catalog, device_id: str, now_ms: int) -> Execution | None:
    """What a device has to do next, None for nothing."""
    found = offered(catalog, device_id, now_ms)
    return found[0] if found else None


def _is_due(execution: Execution, now_ms: int) -> bool:
    is_early = execution.push_due_at_ms is not None and execution.push_due_at_ms > now_ms
    match execution.state:
        case State.QUEUED:
            return execution.is_admitted and not (is_early and execution.started_at_ms is None)
        case State.ROLLBACK_PENDING:
            return not is_early
        case _:
            return True
