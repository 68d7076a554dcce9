"""What limits let in and refused, as metrics."""

from __future__ import annotations

from typing import get_args

from ui.metrics_table import Collected
from ui.proof import REASONS
from ui.rate_limit import KINDS, SubjectKind
from ui.services import Services


def add_rate_limits(out: Collected, services: Services) -> None:
    """Requests, live pages and sign-ins."""
    limits = services.rate_limits.statistics()
    for subject in get_args(SubjectKind):
        for kind in KINDS:
            name = f"{subject}.{kind}"
            out.add("homeport_rate_limit_allowed", limits.allowed_total.get(name, 0), subject, kind)
            out.add("homeport_rate_limit_refused", limits.refused_total.get(name, 0), subject, kind, "own")
            out.add("homeport_rate_limit_refused", limits.refused_by_total.get(name, 0), subject, kind, "all")
        out.add("homeport_rate_limit_subjects", limits.subjects.get(subject, 0), subject)
    streams = services.streams.statistics()
    out.add("homeport_streams", streams.open)
    out.add("homeport_streams_most", streams.most)
    out.add("homeport_streams_refused", streams.refused_total)
    sign_in = services.sign_in_limiter.statistics()
    out.add("homeport_sign_in_attempts", sign_in.attempts_total)
    out.add("homeport_sign_in_refused", sign_in.refused_total)
    refusals = services.people.refusals.statistics()
    for reason in REASONS:
        out.add("homeport_sign_in_failed", refusals.by_reason.get(reason, 0), reason)
    out.add("homeport_sign_in_folded", refusals.folded_total)


def add_exports(out: Collected, services: Services) -> None:
    """Files of readings."""
    exports = services.exports.statistics()
    out.add("homeport_telemetry_exports", exports.running)
    out.add("homeport_telemetry_exports_ended", exports.completed_total, "whole")
    out.add("homeport_telemetry_exports_ended", exports.broken_off_total, "broken_off")
    out.add("homeport_telemetry_exports_ended", exports.refused_total, "refused")
    out.add("homeport_telemetry_exports_sent_bytes", exports.sent_bytes_total)
