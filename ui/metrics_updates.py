"""What the engine of updates does, as metrics: moves, reports, what it told, what waits. How executions stand is counted with the rollouts."""

from __future__ import annotations

from ui.metrics_table import Collected
from ui.services import Services


def add_updates(out: Collected, services: Services) -> None:
    """Nothing where there is no engine."""
    if services.updates is None:
        return
    numbers = services.updates.statistics()
    for name, counts in (
        ("homeport_execution_moves", numbers.moves),
        ("homeport_execution_notes", numbers.notes),
        ("homeport_execution_reports", numbers.reports),
        ("homeport_firmware_reports", numbers.firmware),
        ("homeport_update_pushes", numbers.pushes),
    ):
        for label, count in counts.items():
            out.add(name, count, label)
    out.add("homeport_updates_waiting", numbers.waiting)
    out.add("homeport_updates_deadlines", numbers.deadlines)
    out.add("homeport_updates_listening", numbers.listening)
    out.add("homeport_updates_batches", numbers.batches, "written")
    out.add("homeport_updates_batches", numbers.batches_failed, "failed")
    out.add("homeport_updates_batches", numbers.parts_failed, "in_part")
    out.add("homeport_updates_refused_busy", numbers.refused_busy)
    out.add("homeport_updates_clock_jumps", numbers.jumps)
