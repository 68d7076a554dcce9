"""What the audit asks an operator to look at; nothing while it is well."""

from __future__ import annotations

from ui.audit_desk import AuditDesk
from ui.pages.views import Attention


def audit_attention(desk: AuditDesk) -> tuple[Attention, ...]:
    """Lines for the Overview, worst first."""
    numbers = desk.statistics()
    lines: list[Attention] = []
    if numbers.signing.broken or numbers.last_check_ok is False:
        text = "The audit is not what this box signed: somebody changed it, or a catalog was put back from a backup. Run homeport audit verify."
        lines.append(Attention(tone="bad", text=text))
    if numbers.entry_count >= numbers.entry_count_alarm:
        text = f"The audit has {numbers.entry_count:,} entries. Nothing of it is deleted: look at what writes so much."
        lines.append(Attention(tone="warn", text=text))
    return tuple(lines)
