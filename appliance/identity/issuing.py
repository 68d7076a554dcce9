"""Issues devices' certificates, whichever way they are asked for: over EST, MQTT, the API or the command line.

Who asks has been identified before; this checks the request, signs, and notes the certificate in the catalog. It is
handed out only when the catalog has it, so that each one that exists can be revoked.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.core.clock import Clock
from appliance.core.clock_words import day_text
from appliance.core.errors import Conflict, HomeportError, NotAuthorized, Unavailable
from appliance.core.limits import (
    CERTIFICATE_BACKDATE_MS,
    CERTIFICATE_REMIND_SHARE,
    CERTIFICATE_ROTATE_SHARE,
)
from appliance.identity.ca import SiteCa, random_serial
from appliance.identity.ca_certificates import device_certificate, ms, wall
from appliance.identity.csr import key_fingerprint, public_key_of
from appliance.identity.dates import CLOCK_WRONG_BEFORE
from appliance.management.audit import Act, Actor
from storage.catalog import AsyncCatalog, Catalog, Certificate, CertificateCounts, IssuedBy

ISSUE: Final = "certificate.issue"
"""What the audit calls it."""
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCertificate:
    """A new certificate and what it needs beside it.

    Attributes:
        pem: The certificate alone.
        chain_pem: The authorities that verify it: the issuing one, then the root.
        serial: Hexadecimal, lower case.
    """

    device_id: str
    serial: str
    certificate: x509.Certificate
    pem: bytes
    chain_pem: bytes
    not_after_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuingStatistics:
    """Since start: certificates issued by way, and requests refused by code."""

    issued: dict[str, int]
    refused: dict[str, int]


class Issuing:
    """See the module's docstring. Used from one event loop.

    Args:
        life_days: Of a device's certificate.
    """

    def __init__(self, authority: SiteCa, catalog: AsyncCatalog, *, clock: Clock, life_days: int) -> None:
        self._authority = authority
        self._catalog = catalog
        self._clock = clock
        self._life_ms = life_days * _DAY_MS
        self.is_clock_ahead: Callable[[], bool] = lambda: False
        """Whether the clock leapt ahead of what can be believed; set before anything is issued."""
        self._renewal_subscribers: list[Callable[[], None]] = []
        self._issued: dict[str, int] = {}
        self._refused: dict[str, int] = {}

    @property
    def authority(self) -> SiteCa:
        return self._authority

    @property
    def remind_before_ms(self) -> int:
        """A device's last certificate that ends within this is a case for people."""
        return self._life_ms // CERTIFICATE_REMIND_SHARE

    def replace_authority(self, renewed: SiteCa) -> None:
        """Sign with a renewed authority from now on, and tell those who use its certificates."""
        self._authority = renewed
        for told in self._renewal_subscribers:
            told()

    def on_renewal(self, told: Callable[[], None]) -> None:
        """Call something quick whenever the authority was renewed."""
        self._renewal_subscribers.append(told)

    async def issue(
        self,
        csr: bytes,
        device_id: str,
        how: IssuedBy,
        by: Actor,
        *,
        shown: x509.Certificate | None = None,
        keep: str = "",
        token_hash: bytes = b"",
    ) -> IssuedCertificate:
        """Issue a certificate to an active device.

        Args:
            csr: PKCS#10: PEM, DER, or DER in base64.
            by: Who asks, for the audit.
            shown: The certificate by which the device proved to be itself, verified already; it gets another one in the last
                third of that one's life. None for whoever proved it otherwise.
            keep: Serial number of the one that the device is known by now, which is not the one that gives way to the new one: its
                answer may get lost, more than once.
            token_hash: Keyed hash of the token by which the device proved to be itself, b"" where something else did.
        Raises:
            UsageError, LimitExceeded: as `csr.public_key_of`; `certificate_count`. NotFound: `device_unknown`.
            Conflict: the device is not active (`device_waiting` …), it is too early (`certificate_not_due`), or the key was
                revoked (`key_revoked`) or is another device's (`key_in_use`).
            NotAuthorized: `certificate_revoked`, `certificate_ended`, `certificate_of_another` (shown, kept); `bad_credentials`: the
                token was revoked meanwhile.
            Unavailable: `clock_wrong`, `authority_ended`, or the catalog is away.
        """
        try:
            issued = await self._issue(csr, device_id, how, by, shown, keep, token_hash)
        except HomeportError as error:
            self._refused[error.code] = self._refused.get(error.code, 0) + 1
            raise
        self._issued[how] = self._issued.get(how, 0) + 1
        return issued

    async def _issue(
        self,
        csr: bytes,
        device_id: str,
        how: IssuedBy,
        by: Actor,
        shown: x509.Certificate | None,
        keep: str,
        token_hash: bytes,
    ) -> IssuedCertificate:
        if shown is not None:
            keep = f"{shown.serial_number:x}"
        key = public_key_of(csr, device_id)
        now_ms = self._clock.now_ms()
        authority = self._authority
        begin, end = self._life(now_ms, authority)
        if shown is not None:
            # Looked at once more in the transaction; here so that who shows a revoked one hears of that first.
            shown_serial = f"{shown.serial_number:x}"
            found = await self._catalog.read(
                lambda catalog: catalog.find_certificate(shown_serial), pool="auth"
            )
            check_shown(found, device_id)
            self._check_due(shown, now_ms)
        serial = random_serial()
        certificate = device_certificate(
            authority.key,
            authority.issuing,
            key,
            device_id=device_id,
            serial=serial,
            begin=begin,
            end=end,
        )

        def write(catalog: Catalog) -> Certificate:
            # What it came with may have been revoked since, for the thief who asks: then this would undo it.
            if keep:
                check_shown(catalog.find_certificate(keep), device_id)
            added = catalog.add_certificate(
                f"{serial:x}",
                device_id=device_id,
                fingerprint=certificate.fingerprint(SHA256()).hex(),
                key_hash=key_fingerprint(key).hex(),
                issuer_key_id=authority.key_id,
                issued_by=how,
                not_before_at_ms=ms(begin),
                not_after_at_ms=ms(end),
                keep=keep,
            )
            if token_hash:
                catalog.check_token_counts(device_id, token_hash)
            return added

        row = await self._catalog.write(write, by=Act(action=ISSUE, actor=by))
        return IssuedCertificate(
            device_id=device_id,
            serial=row.serial,
            certificate=certificate,
            pem=certificate.public_bytes(Encoding.PEM),
            chain_pem=authority.chain_pem,
            not_after_at_ms=row.not_after_at_ms,
        )

    async def counts(self) -> CertificateCounts:
        """Numbers of all certificates. Raises Unavailable: the catalog does not answer."""
        remind_before_ms = self.remind_before_ms
        return await self._catalog.read(
            lambda catalog: catalog.count_certificates(remind_before_ms=remind_before_ms)
        )

    def statistics(self) -> IssuingStatistics:
        return IssuingStatistics(issued=dict(self._issued), refused=dict(self._refused))

    def _life(self, now_ms: int, authority: SiteCa) -> tuple[dt.datetime, dt.datetime]:
        is_behind = now_ms < ms(CLOCK_WRONG_BEFORE) + CERTIFICATE_BACKDATE_MS
        if is_behind or self.is_clock_ahead():
            what = "have ended before it is used" if is_behind else "begin long after it is used"
            raise Unavailable(
                f"This box's clock says {day_text(now_ms)}: a certificate would {what}.",
                hint="Set the clock, or let it synchronize; then ask again.",
                code="clock_wrong",
            )
        end_ms = min(now_ms + self._life_ms, authority.ends_at_ms)
        if end_ms <= now_ms:
            raise Unavailable(
                "The site's issuing authority has ended.",
                hint="Fetch the recovery kit and run `homeport ca renew`.",
                code="authority_ended",
            )
        return wall(now_ms - CERTIFICATE_BACKDATE_MS), wall(end_ms)

    def _check_due(self, shown: x509.Certificate, now_ms: int) -> None:
        begin_ms, end_ms = ms(shown.not_valid_before_utc), ms(shown.not_valid_after_utc)
        if now_ms >= end_ms:
            raise NotAuthorized(
                f"The certificate has ended on {wall(end_ms):%Y-%m-%d}.",
                hint="Enrol the device again with its token or a claim.",
                code="certificate_ended",
            )
        due_ms = end_ms - (end_ms - begin_ms) // CERTIFICATE_ROTATE_SHARE
        if now_ms < due_ms:
            raise Conflict(
                f"The certificate is good until {wall(end_ms):%Y-%m-%d}: the next one can be had from {wall(due_ms):%Y-%m-%d} on.",
                hint="Ask again then; a device that has lost its key enrols with its token or a claim instead.",
                code="certificate_not_due",
            )


def check_shown(found: Certificate | None, device_id: str) -> None:
    """One that the catalog doesn't know counts: another node issued it, or an older backup was restored."""
    if found is None:
        return
    if found.revoked_at_ms is not None:
        raise NotAuthorized(
            f"The certificate was revoked ({found.revoked_because}).",
            hint="Enrol the device again with a token or a claim.",
            code="certificate_revoked",
        )
    if found.device_id != device_id:
        raise NotAuthorized(
            f"The certificate is of the device “{found.device_id}”.",
            hint="A device asks for itself.",
            code="certificate_of_another",
        )
