"""Devices' certificates, the site's authority and the devices' HTTPS port, as metrics."""

from __future__ import annotations

from appliance.core.errors import Unavailable
from storage.catalog import CertificateCounts
from ui.metrics_table import Collected
from ui.services import Services


async def read_counts(services: Services) -> CertificateCounts | None:
    """What the catalog says; None where it does not answer: its own metrics say why, and the other numbers still count."""
    try:
        return await services.issuing.counts()
    except Unavailable:
        return None


def add_certificates(out: Collected, services: Services, counts: CertificateCounts | None) -> None:
    """How long things are good, what was issued and refused, and what came to the port."""
    now_ms = services.clock.now_ms()
    out.add(
        "homeport_issuing_authority_expires_seconds",
        (services.issuing.authority.ends_at_ms - now_ms) / 1000,
    )
    try:
        out.add("homeport_crl_next_update_seconds", (services.crl.current.next_update_at_ms - now_ms) / 1000)
    except Unavailable:
        out.add("homeport_crl_next_update_seconds", None)
    if counts is not None:
        out.add("homeport_device_certificates", counts.valid, "valid")
        out.add("homeport_device_certificates", counts.revoked, "revoked")
        out.add("homeport_devices_by_certificate", counts.devices_ending, "ending")
        out.add("homeport_devices_by_certificate", counts.devices_ended, "ended")
        if counts.first_ends_at_ms is not None:
            left_s = (counts.first_ends_at_ms - now_ms) / 1000
            out.add("homeport_device_certificate_expires_seconds", left_s)
    issuing = services.issuing.statistics()
    for how, count in issuing.issued.items():
        out.add("homeport_certificates_issued", count, how)
    for code, count in issuing.refused.items():
        out.add("homeport_certificates_refused", count, code)
    if services.device_port is not None:
        port = services.device_port()
        out.add("homeport_device_port_connections", port.connections)
        out.add("homeport_device_port_accepted", port.accepted)
        for code, count in port.refused_by_code.items():
            out.add("homeport_device_port_refused", count, code)
        for (route, status), count in port.answers.items():
            out.add("homeport_device_port_answers", count, route, str(status))
        for by in ("address", "device", "all"):
            out.add("homeport_device_port_rate_refused", getattr(port.rate, f"refused_by_{by}_total"), by)
