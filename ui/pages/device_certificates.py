"""The part of a device's page about its certificates: which it has, until when, and revoking one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import NotFound, UsageError
from appliance.core.limits import PAGE_CERTIFICATE_COUNT_MAX
from appliance.management.permissions import may
from storage.catalog import Catalog, Certificate, RevokedBecause
from ui import auth
from ui.api.certificates import hurry_broker
from ui.pages.looks import CERTIFICATE, Look
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, form_of
from ui.pages.views import Notice

REASONS: Final[dict[RevokedBecause, str]] = {
    "unspecified": "no reason given",
    "keyCompromise": "its key may be known to others",
    "superseded": "it was replaced",
    "cessationOfOperation": "the device is not used any more",
    "affiliationChanged": "the device belongs to others now",
    "privilegeWithdrawn": "it may not do this any more",
}
"""RFC 5280's reasons in words, the usual ones first."""
ISSUED_BY: Final = {"est": "EST", "mqtt": "MQTT", "api": "the API", "cli": "the command line"}
REVOKED: Final = "certificate-revoked"
"""What the page's address says after a revocation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateView:
    """One certificate as it is shown."""

    serial: str
    look: Look
    not_after_at_ms: int
    issued_at_ms: int
    issued_by: str
    reason: str
    is_valid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatesView:
    """A device's certificates, the newest first; `more` are not shown."""

    rows: tuple[CertificateView, ...]
    more: int
    may_revoke: bool
    reasons: tuple[tuple[str, str], ...] = tuple(REASONS.items())


async def certificates_view(shell: Shell, request: Request, device_id: str) -> CertificatesView | None:
    """What the page shows; None for whom it is not for.

    Args:
        device_id: Of a device that whoever asks may see.
    """
    identity = await auth.require(request)
    if not may(identity.role, identity.scope, "certificates.read"):
        return None
    found = await shell.services.catalog.read(lambda catalog: catalog.certificates_of(device_id))
    now_ms = shell.services.clock.now_ms()
    return CertificatesView(
        rows=tuple(_view(each, now_ms) for each in found[:PAGE_CERTIFICATE_COUNT_MAX]),
        more=max(0, len(found) - PAGE_CERTIFICATE_COUNT_MAX),
        may_revoke=may(identity.role, identity.scope, "certificates.manage"),
    )


async def revoke(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/certificates/revoke` with serial and because.

    Raises:
        NotFound: `device_unknown`, `certificate_unknown`. UsageError: there is no such reason.
    """
    device_id = request.path_params["device_id"]
    form = await form_of(request)
    serial, because = form.get("serial", ""), form.get("because", "unspecified")
    reasons: tuple[RevokedBecause, ...] = get_args(RevokedBecause)
    if because not in reasons:
        raise UsageError("There is no such reason.", hint="Choose one of the list.", code="reason_unknown")
    reason = reasons[reasons.index(because)]
    scope = await scope_of(request)

    def write(catalog: Catalog) -> None:
        catalog.get_device(device_id, scope=scope)
        if catalog.get_certificate(serial).device_id != device_id:
            raise NotFound(
                "The device has no such certificate.",
                hint="Look at its page again.",
                code="certificate_unknown",
            )
        catalog.revoke_certificate(serial, because=reason)

    await shell.write(request, "certificate.revoke", write)
    await hurry_broker(shell.services, device_id)
    return RedirectResponse(f"/devices/{quote(device_id, safe='')}?done={REVOKED}", 303)


def notice(request: Request) -> Notice | None:
    """What the page says after a revocation."""
    if request.query_params.get("done") != REVOKED:
        return None
    return Notice(tone="good", text="The certificate is revoked: its connections end within a second.")


def _view(certificate: Certificate, now_ms: int) -> CertificateView:
    because = certificate.revoked_because
    return CertificateView(
        serial=certificate.serial,
        look=CERTIFICATE[certificate.state(now_ms)],
        not_after_at_ms=certificate.not_after_at_ms,
        issued_at_ms=certificate.issued_at_ms,
        issued_by=ISSUED_BY[certificate.issued_by],
        reason=REASONS[because] if because is not None else "",
        is_valid=certificate.counts(now_ms),
    )
