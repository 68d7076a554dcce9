"""What devices' certificates and the site's authority ask an operator to look at."""

from __future__ import annotations

from typing import Final

from storage.catalog import CertificateCounts
from ui.pages.format import plural
from ui.pages.views import Attention
from ui.services import Services

DAY_MS: Final = 86_400_000
TLS_REMIND_DAYS: Final = 30
"""The box renews its own certificate at a start within 60 days of the end; one that was not started for a month is told."""


async def certificate_attention(services: Services) -> tuple[Attention, ...]:
    """Lines for the Overview, worst first. Raises Unavailable: the catalog does not answer."""
    return lines(
        await services.issuing.counts(),
        authority_left_ms=services.issuing.authority.ends_at_ms - services.clock.now_ms(),
        authority_is_due=services.issuing.authority.is_due(services.clock.now_ms()),
        tls_left_ms=services.tls.not_after_ms - services.clock.now_ms(),
    )


def lines(
    counts: CertificateCounts, *, authority_left_ms: int, authority_is_due: bool, tls_left_ms: int
) -> tuple[Attention, ...]:
    """See `certificate_attention`.

    Args:
        authority_left_ms, tls_left_ms: Until the issuing authority, and the box's own certificate, end.
    """
    found: list[Attention] = []
    if authority_is_due:
        what = (
            "The authority of devices' certificates has ended: none can be issued, and devices can't connect with theirs."
            if authority_left_ms <= 0
            else f"The authority of devices' certificates ends in {plural(authority_left_ms // DAY_MS, 'day', 'days')}."
        )
        text = f"{what} Fetch the recovery kit and run homeport ca renew."
        found.append(Attention(tone="bad" if authority_left_ms < 60 * DAY_MS else "warn", text=text))
    if tls_left_ms < TLS_REMIND_DAYS * DAY_MS:
        text = f"This box's own certificate ends in {plural(max(0, tls_left_ms) // DAY_MS, 'day', 'days')}: restart Homeport, it makes a new one."
        found.append(Attention(tone="bad", text=text))
    if counts.devices_ended:
        text = f"The last certificate of {plural(counts.devices_ended, 'device', 'devices')} has ended: they must enrol again."
        found.append(Attention(tone="bad", text=text))
    if counts.devices_ending:
        text = (
            f"The last certificate of {plural(counts.devices_ending, 'device', 'devices')} ends soon, "
            "and they have not asked for the next one."
        )
        found.append(Attention(tone="warn", text=text))
    return tuple(found)
