"""How rollouts and executions stand, as metrics; what the engine does is in metrics_updates.py."""

from __future__ import annotations

from appliance.core.errors import Unavailable
from appliance.management.executions import State
from storage.catalog.update_numbers import UpdateNumbers
from ui.metrics_table import Collected
from ui.services import Services


async def read_update_numbers(services: Services) -> UpdateNumbers | None:
    """What the catalog says; None where it does not answer: its own metrics say why, and the other numbers still count."""
    try:
        return await services.catalog.read(lambda catalog: catalog.update_numbers())
    except Unavailable:
        return None


def add_rollouts(out: Collected, numbers: UpdateNumbers | None) -> None:
    """Counts by state, and what wants a person."""
    if numbers is None:
        return
    for state, count in numbers.rollouts.items():
        out.add("homeport_rollouts", count, state)
    for each in State:
        out.add("homeport_executions", numbers.executions.get(each, 0), each.value)
    out.add("homeport_needs_manual_intervention", numbers.in_need)
    out.add("homeport_rollback_attempts", numbers.rollback_attempts)
    out.add("homeport_firmware_drift", len(numbers.drifted))
