"""Twins and commands as metrics."""

from __future__ import annotations

from ui.metrics_table import Collected
from ui.services import Services


def add_twins(out: Collected, services: Services) -> None:
    """What devices wrote, what they were told, and what became of commands."""
    writes = services.twins.writer_statistics()
    out.add("homeport_device_writes_waiting", writes.waiting)
    out.add("homeport_device_writes", writes.written_total, "written")
    out.add("homeport_device_writes", writes.refused_total, "refused")
    out.add("homeport_device_write_batches", writes.batches_total)
    telling = services.twins.desk.statistics()
    out.add("homeport_twin_messages_waiting", telling.waiting)
    out.add("homeport_twin_messages", telling.told_total, "told")
    out.add("homeport_twin_messages", telling.dropped_total, "dropped")
    commands = services.twins.commands.statistics()
    out.add("homeport_commands_sent", commands.sent_total)
    out.add("homeport_commands_ended", commands.answered_total, "answered")
    out.add("homeport_commands_ended", commands.late_total, "late")
    out.add("homeport_commands_ended", commands.put_back_total, "put_back")
    out.add("homeport_commands_ended", commands.ended_total, "ended")
    out.add("homeport_command_requests_waiting", commands.waiting_requests)
