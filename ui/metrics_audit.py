"""The audit's numbers as metrics, and what is remembered of idempotent requests."""

from __future__ import annotations

from ui.audit_desk import AuditDesk
from ui.metrics_table import Collected


def add_audit(out: Collected, desk: AuditDesk) -> None:
    """How much there is, how far it is signed, what was refused."""
    numbers = desk.statistics()
    out.add("homeport_audit_entries", numbers.entry_count)
    out.add("homeport_audit_signed_seq", numbers.signing.seq)
    out.add("homeport_audit_broken", numbers.signing.broken)
    out.add("homeport_audit_sign_failures", numbers.signing.failures_total)
    out.add("homeport_audit_check_ok", numbers.last_check_ok)
    out.add("homeport_audit_refusals", numbers.refusals_total)
    out.add("homeport_idempotent_answers", numbers.idempotent_count)
    out.add("homeport_idempotent_answer_bytes", numbers.idempotent_bytes)
