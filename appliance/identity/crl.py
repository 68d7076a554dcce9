"""The revocation list of the site's issuing authority (RFC 5280 §5), and its file for whoever verifies certificates.

A new one is made when a certificate was revoked, and every day; it counts for a week. Homeport's own broker does not wait
for it: it asks the catalog. The list is for other servers at the site that trust the same authority.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits import CRL_LIFE_MS, CRL_RENEW_MS
from appliance.identity import files
from appliance.identity.ca_certificates import ms, wall
from appliance.identity.issuing import Issuing
from storage.catalog import AsyncCatalog, Certificate, Change

PAUSE_MS: Final = 1000
"""Between two looks at what was revoked, however many certificates change."""
RETRY_MS: Final = 10_000
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crl:
    """A signed list.

    Attributes:
        serials: What it revokes, hexadecimal.
    """

    der: bytes
    pem: bytes
    number: int
    next_update_at_ms: int
    serials: frozenset[str]


def make_crl(
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate,
    revoked: Sequence[Certificate],
    *,
    number: int,
    now_ms: int,
) -> Crl:
    """Sign a list of what is revoked. Takes about 40 µs for each, so it belongs in a thread.

    Args:
        number: Larger than those of the lists before (§5.2.3).
    """
    begin = wall(now_ms)
    end = begin + dt.timedelta(milliseconds=CRL_LIFE_MS)
    entries = [_entry(each) for each in revoked]
    # Made at once: `add_revoked_certificate` copies the list every time.
    signed = (
        x509.CertificateRevocationListBuilder(issuer.subject, begin, end, [], entries)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
        .sign(key, SHA256())
    )
    return Crl(
        der=signed.public_bytes(Encoding.DER),
        pem=signed.public_bytes(Encoding.PEM),
        number=number,
        next_update_at_ms=ms(end),
        serials=frozenset(each.serial for each in revoked),
    )


def _entry(certificate: Certificate) -> x509.RevokedCertificate:
    assert certificate.revoked_at_ms is not None
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(int(certificate.serial, 16))
        .revocation_date(wall(certificate.revoked_at_ms))
    )
    if certificate.revoked_because not in (None, "unspecified"):
        # "unspecified" is said by leaving it out (§5.3.1).
        reason = x509.ReasonFlags(certificate.revoked_because)
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    return builder.build()


class CrlKeeper:
    """Keeps the list up to date, in memory and in a file.

    Args:
        path: Where its PEM form is written, for other programs (mode 0644).
    """

    def __init__(self, issuing: Issuing, catalog: AsyncCatalog, path: Path, *, clock: Clock) -> None:
        self._issuing = issuing
        self._catalog = catalog
        self._path = path
        self._clock = clock
        self._current: Crl | None = None
        self._made_for = ""
        self._changed = trio.Event()
        self._number = 0

    @property
    def current(self) -> Crl:
        """The newest list. Raises Unavailable before the first one."""
        if self._current is None:
            raise Unavailable(
                "The revocation list is being made.", hint="Ask again in a few seconds.", code="crl_not_ready"
            )
        return self._current

    def note(self, changes: tuple[Change, ...]) -> None:
        """Rows of the catalog have changed."""
        if any(change.table == "certificates" for change in changes):
            self._changed.set()

    def look_again(self) -> None:
        """The authority is another one."""
        self._changed.set()

    async def run(self) -> NoReturn:
        """Keep it; until cancelled. A catalog or disk that fails is asked again after RETRY_MS; the list before counts for days."""
        self._number = await trio.to_thread.run_sync(_number_in, self._path)
        while True:
            self._changed = trio.Event()
            pause_ms = PAUSE_MS
            try:
                await self.refresh()
            except (Unavailable, StorageError) as error:
                _log.warning("the revocation list could not be renewed", error=error.message, hint=error.hint)
                self._changed.set()
                pause_ms = RETRY_MS
            await trio.sleep(pause_ms / 1000)
            with trio.move_on_after(CRL_RENEW_MS / 1000):
                await self._changed.wait()

    async def refresh(self) -> None:
        """Make a new list, if another certificate is revoked or the last one is a day old.

        Raises:
            Unavailable: the catalog doesn't answer. StorageError: the file can't be written; the list is in memory all the same.
        """
        authority, now_ms = self._issuing.authority, self._clock.now_ms()
        key_id = authority.key_id
        revoked = await self._catalog.read(
            # What ended within the list's own life is named once more (§3.3: until a list after its end).
            lambda catalog: catalog.revoked_certificates(key_id, ended_after_ms=now_ms - CRL_LIFE_MS)
        )
        serials = frozenset(each.serial for each in revoked)
        last = self._current
        if last and self._made_for == key_id and serials == last.serials and not self._is_old(last, now_ms):
            return
        number = max(self._number + 1, now_ms // 1000)
        made = await trio.to_thread.run_sync(
            lambda: make_crl(authority.key, authority.issuing, revoked, number=number, now_ms=now_ms)
        )
        self._current, self._made_for, self._number = made, key_id, number
        await trio.to_thread.run_sync(lambda: files.replace(self._path, made.pem, mode=files.PUBLIC))

    def _is_old(self, crl: Crl, now_ms: int) -> bool:
        made_ms = crl.next_update_at_ms - CRL_LIFE_MS
        return not made_ms <= now_ms < made_ms + CRL_RENEW_MS


def _number_in(path: Path) -> int:
    """The number of the list in a file, 0 where there is none that can be read."""
    try:
        found = x509.load_pem_x509_crl(path.read_bytes())
        return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        _log.warning("the revocation list of before can't be read", path=str(path), error=str(error))
        return 0
