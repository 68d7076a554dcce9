"""The second factor: time-based one-time passwords (RFC 6238), six digits, SHA-1, 30 s, as every authenticator app has them.

A secret of 160 bits (RFC 4226 §4) is in the catalog only sealed, under a label with its user's name, so that it can't be put
beside another user. Between showing a secret and the first code that it made nothing is kept: the secret travels sealed with the
form, with the time until which it can be used.

Must not know: which steps were used before; storage.catalog.sign_ins does.
"""

from __future__ import annotations

import hmac

import pyotp

from appliance.core.clock import Clock
from appliance.core.errors import ConfigError, UsageError
from appliance.core.limits import TOTP_ENROLMENT_MS, TOTP_STEP_DRIFT_MAX, TOTP_STEP_MS
from appliance.identity.keys import SiteKeys

ISSUER = "Homeport"
_TIME_BYTES = 8


class Totp:
    """Makes secrets and checks codes."""

    def __init__(self, keys: SiteKeys, *, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        # Checked against where there is no second factor, so that the work is the same.
        self._nobody = pyotp.random_base32()

    def begin(self, user_id: str) -> tuple[str, str]:
        """A new secret (base32), and the same sealed for `finish`."""
        secret = pyotp.random_base32()
        until_ms = self._clock.now_ms() + TOTP_ENROLMENT_MS
        content = until_ms.to_bytes(_TIME_BYTES, "big") + secret.encode()
        return secret, self._keys.seal(f"totp-enrolment/{user_id}", content).hex()

    def finish(self, user_id: str, enrolment: str, code: str) -> tuple[str, int]:
        """The secret sealed for the catalog, and the step of the code that proved it.

        Args:
            enrolment: What `begin` sealed.
            code: The first one of the app.
        Raises:
            UsageError: `totp_enrolment_invalid`, or `totp_code_wrong`.
        """
        try:
            content = self._keys.unseal(f"totp-enrolment/{user_id}", bytes.fromhex(enrolment))
        except (ConfigError, ValueError) as error:
            raise _stale() from error
        if self._clock.now_ms() >= int.from_bytes(content[:_TIME_BYTES], "big"):
            raise _stale()
        secret = content[_TIME_BYTES:].decode()
        step = self._step_of(secret, code)
        if step is None:
            raise UsageError(
                "The code is not the one that this secret makes now.",
                hint="Check the phone's clock, and enter the code that the app shows.",
                code="totp_code_wrong",
            )
        return self._keys.seal(f"totp/{user_id}", secret.encode()).hex(), step

    def matching_step(self, user_id: str, sealed: str | None, code: str) -> int | None:
        """The time step whose code this is, None if it isn't one of now or its neighbours.

        Args:
            sealed: The user's, from the catalog; None: no second factor, whose codes are all wrong, after the same work.
        Raises:
            ConfigError: `seal_broken`.
        """
        secret = self._keys.unseal(f"totp/{user_id}", bytes.fromhex(sealed)).decode() if sealed else None
        step = self._step_of(secret or self._nobody, code)
        return step if secret else None

    def _step_of(self, secret: str, code: str) -> int | None:
        offered = "".join(code.split()).encode()[:16]
        now = self._clock.now_ms() // TOTP_STEP_MS
        maker = pyotp.HOTP(secret)
        found = None
        for step in range(now - TOTP_STEP_DRIFT_MAX, now + TOTP_STEP_DRIFT_MAX + 1):
            if hmac.compare_digest(maker.at(step).encode(), offered):
                found = step
        return found


def totp_uri(user_id: str, secret: str, *, node_name: str) -> str:
    """The otpauth: address that authenticator apps take, as text or QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=f"{user_id}@{node_name}", issuer_name=ISSUER)


def _stale() -> UsageError:
    return UsageError(
        "This secret was shown too long ago, or for somebody else.",
        hint="Begin anew: the app then gets a new one.",
        code="totp_enrolment_invalid",
    )
