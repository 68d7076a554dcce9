"""Whether the site's certificate authority is whole and good for long enough, and the recovery kit is kept somewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.identity.ca import RENEW_BEFORE_DAYS
from appliance.identity.ca_certificates import ms
from appliance.identity.recovery_kit import PENDING
from appliance.run import layout
from appliance.run.doctor_check import Check, Result

DAY_MS: Final = 86_400_000
RENEW_HINT: Final = "Fetch the recovery kit and run 'homeport ca renew FILE'."


def check_authority(config: Config, clock: Clock) -> Iterable[Check]:
    """Look at the authority's certificates as the broker loads them, and for the secret that the kit should hold alone."""
    path = layout.devices_ca(config)
    if not path.exists():
        yield Check(name="authority", result=Result.SKIPPED, detail="There is no authority yet.")
        return
    try:
        issuing, root = x509.load_pem_x509_certificates(path.read_bytes())
        issuing.verify_directly_issued_by(root)
    except (OSError, ValueError, TypeError, InvalidSignature) as error:
        yield Check(
            name="authority",
            result=Result.FAILED,
            detail=f"{path} can't be used: {str(error) or 'its certificates do not belong together'}.",
            hint="Put the identity folder back from a backup, or restore it with the recovery kit.",
        )
        return
    days = (ms(issuing.not_valid_after_utc) - clock.now_ms()) / DAY_MS
    if days < 0:
        detail = f"It ended {-days:.0f} days ago: devices can't connect with its certificates."
        yield Check(name="authority", result=Result.FAILED, detail=detail, hint=RENEW_HINT)
    elif days < RENEW_BEFORE_DAYS:
        detail = f"It ends in {days:.0f} days, and no certificate of a device outlives it."
        yield Check(name="authority", result=Result.WARNING, detail=detail, hint=RENEW_HINT)
    else:
        detail = f"It can issue certificates for {days:.0f} more days."
        yield Check(name="authority", result=Result.OK, detail=detail)
    if (config.node.data_dir / PENDING).exists():
        yield Check(
            name="recovery kit",
            result=Result.WARNING,
            detail="Nobody has said that it is kept elsewhere; the box still has the root's secret.",
            hint="Print it with 'homeport recovery-kit show', keep it, and run 'homeport recovery-kit confirm FILE'.",
        )
    else:
        yield Check(name="recovery kit", result=Result.OK, detail="It is kept elsewhere.")
