"""How firmware gets to devices, as metrics: bytes, waits, refusals."""

from __future__ import annotations

from ui.metrics_table import Collected
from ui.services import Services


def add_delivery(out: Collected, services: Services) -> None:
    """Nothing where nothing delivers."""
    if services.firmware is None:
        return
    numbers = services.firmware()
    delivery, budget = numbers.delivery, numbers.delivery.budget
    for way, count in delivery.sent_bytes.items():
        out.add("homeport_delivery_sent_bytes", count, way)
    for code, count in delivery.refused.items():
        out.add("homeport_delivery_refused", count, code)
    out.add("homeport_delivery_waiting", budget.waiting)
    out.add("homeport_delivery_served", budget.served)
    out.add("homeport_delivery_in_line", budget.in_line)
    out.add("homeport_delivery_waited_seconds", budget.waited_ms / 1000)
    out.add("homeport_delivery_given_up", budget.given_up)
    out.add("homeport_delivery_granted_bytes", budget.uplink_bytes, "uplink")
    out.add("homeport_delivery_granted_bytes", budget.granted_bytes - budget.uplink_bytes, "site")
    out.add("homeport_delivery_downloads", numbers.downloads)
    for outcome, count in numbers.feedbacks.items():
        out.add("homeport_ddi_feedbacks", count, outcome)
