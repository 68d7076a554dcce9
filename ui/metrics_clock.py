"""This box's clock, as metrics."""

from __future__ import annotations

from appliance.core.believed_time import ClockDoubt
from ui.metrics_table import Collected
from ui.services import Services


def add_clock(out: Collected, services: Services) -> None:
    """As it is now."""
    believed = services.believed
    believed.look()
    for doubt in ClockDoubt:
        if doubt is not ClockDoubt.NONE:
            out.add("homeport_clock_doubted", int(believed.doubt is doubt), doubt.value)
    out.add("homeport_clock_off_by_seconds", believed.off_by_ms / 1_000)
    out.add("homeport_clock_steps", believed.steps_total)
