"""Certificates that the site's authority issued to devices. Must not know how one is made or verified."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final

from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits import (
    CERTIFICATE_COUNT_PER_DEVICE_AND_DAY_MAX,
    CERTIFICATE_COUNT_PER_DEVICE_MAX,
    CERTIFICATE_KEEP_MS,
    PAGE_ITEM_COUNT_DEFAULT,
    PAGE_ITEM_COUNT_MAX,
)
from storage.catalog.database import CatalogDatabase, Value
from storage.catalog.rows import (
    Certificate,
    CertificateCounts,
    CertificatePage,
    CertificateState,
    IssuedBy,
    RevokedBecause,
)

_COLUMNS: Final = (
    "serial, device_id, fingerprint, key_hash, issuer_key_id, issued_by, not_before_at_ms, not_after_at_ms, issued_at_ms, "
    "revoked_at_ms, revoked_because"
)
_IN_GROUPS: Final = (
    "EXISTS (SELECT 1 FROM devices d, json_each(d.groups) g WHERE d.device_id = {} "
    "AND g.value IN (SELECT value FROM json_each(?)))"
)
_DAY_MS: Final = 86_400_000
ENDED_RECENTLY_MS: Final = 30 * _DAY_MS
"""How long people are reminded of a device whose last certificate ended."""


class CertificateTable(CatalogDatabase):
    """Methods of the catalog about devices' certificates. The caller says what they are; SQL says which count."""

    def add_certificate(
        self,
        serial: str,
        *,
        device_id: str,
        fingerprint: str,
        key_hash: str,
        issuer_key_id: str,
        issued_by: IssuedBy,
        not_before_at_ms: int,
        not_after_at_ms: int,
        keep: str = "",
    ) -> Certificate:
        """Note a certificate that was issued; the oldest beyond two valid ones of the device is revoked as superseded.

        Args:
            serial: Hexadecimal, lower case, no leading zero.
            fingerprint: SHA-256 of its DER form, 64 hexadecimal digits.
            keep: Serial number of one that is not to be it: the one that the device is using.
            key_hash: SHA-256 of its public key, 64 hexadecimal digits.
        Raises:
            NotFound: `device_unknown`. Conflict: the device is not active (`device_waiting` …); its key is another device's
                (`key_in_use`), or was revoked (`key_revoked`); or the serial is taken.
            LimitExceeded: `certificate_count`: the device got too many of late.
        """
        now_ms = self._clock.now_ms()
        with self.transaction():
            state = self._state_of(device_id)
            if state != "active":
                raise Conflict(
                    f"The device “{device_id}” is {state}.",
                    hint="Adopt it first." if state != "decommissioned" else "Register it under another id.",
                    code=f"device_{state}",
                )
            # Those that ended long ago make room: nobody can show them, and no revocation list names them.
            self.execute(
                "DELETE FROM certificates WHERE device_id = ? AND not_after_at_ms < ?",
                (device_id, now_ms - CERTIFICATE_KEEP_MS),
            )
            self._check_pace(device_id, now_ms)
            self._check_public_key(device_id, key_hash, now_ms)
            self.execute(
                f"INSERT INTO certificates ({_COLUMNS}, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?, ?)",  # noqa: S608
                (
                    serial,
                    device_id,
                    fingerprint,
                    key_hash,
                    issuer_key_id,
                    issued_by,
                    not_before_at_ms,
                    not_after_at_ms,
                    now_ms,
                    self.origin,
                    self.hlc,
                ),
            )
            valid = [each for each in self.certificates_of(device_id) if each.counts(now_ms)]
            valid.sort(key=lambda each: each.serial != keep)
            kept = [each for each in valid if each.serial != serial][: CERTIFICATE_COUNT_PER_DEVICE_MAX - 1]
            for old in valid:
                if old.serial != serial and old not in kept:
                    self.revoke_certificate(old.serial, because="superseded")
            return self.get_certificate(serial)

    def find_certificate(self, serial: str) -> Certificate | None:
        """The certificate, or None."""
        found = self.row(f"SELECT {_COLUMNS} FROM certificates WHERE serial = ?", (serial,))  # noqa: S608
        return _certificate(found) if found else None

    def get_certificate(self, serial: str, *, groups: Collection[str] | None = None) -> Certificate:
        """The certificate.

        Args:
            groups: Only if it is of a device in any of these groups; None for all.
        Raises:
            NotFound: `certificate_unknown`.
        """
        certificate = self.find_certificate(serial)
        if certificate is None or (groups is not None and not self._is_in(certificate.device_id, groups)):
            raise NotFound(
                f"There is no certificate with the serial number {serial[:64]}.",
                hint="Look at the list of certificates; serial numbers are hexadecimal, in small letters.",
                code="certificate_unknown",
            )
        return certificate

    def certificates_of(self, device_id: str) -> list[Certificate]:
        """All of a device's, the newest first."""
        found = self.rows(
            f"SELECT {_COLUMNS} FROM certificates WHERE device_id = ? "  # noqa: S608
            "ORDER BY issued_at_ms DESC, hlc DESC, serial",
            (device_id,),
        )
        return [_certificate(row) for row in found]

    def list_certificates(
        self,
        *,
        device_id: str | None = None,
        state: CertificateState | None = None,
        ends_before_ms: int | None = None,
        groups: Collection[str] | None = None,
        cursor: str | None = None,
        limit: int = PAGE_ITEM_COUNT_DEFAULT,
    ) -> CertificatePage:
        """A page of certificates in the order in which they end.

        Args:
            state: Only those that are valid, ended or revoked now.
            ends_before_ms: Only those that end before, wall time UTC ms.
            groups: Only those of devices in any of these groups; None for all.
            cursor: The last page's `next_cursor`.
            limit: 1..1000.
        Raises:
            UsageError: the limit or the cursor can't be used.
        """
        if not 1 <= limit <= PAGE_ITEM_COUNT_MAX:
            raise UsageError(
                f"A page has 1 to {PAGE_ITEM_COUNT_MAX} items, not {limit}.", hint="Ask for fewer at a time."
            )
        where, parameters = ["TRUE"], list[Value]()
        if device_id is not None:
            where.append("device_id = ?")
            parameters.append(device_id)
        if state is not None:
            where.append(_IN_STATE[state])
            parameters += [self._clock.now_ms()] * _IN_STATE[state].count("?")
        if ends_before_ms is not None:
            where.append("not_after_at_ms < ?")
            parameters.append(ends_before_ms)
        if groups is not None:
            where.append(_IN_GROUPS.format("certificates.device_id"))
            parameters.append(json.dumps(sorted(groups)))
        if cursor is not None:
            end_ms, _, serial = cursor.partition("-")
            if not (end_ms.isascii() and end_ms.isdigit() and len(end_ms) < 16):
                raise UsageError(
                    "The cursor is none of this list.",
                    hint="Give the `next_cursor` of the page before.",
                    code="query_invalid",
                )
            where.append("(not_after_at_ms, serial) > (?, ?)")
            parameters += [int(end_ms), serial]
        found = self.rows(
            f"SELECT {_COLUMNS} FROM certificates WHERE {' AND '.join(where)} "  # noqa: S608
            "ORDER BY not_after_at_ms, serial LIMIT ?",
            (*parameters, limit + 1),
        )
        page = tuple(_certificate(row) for row in found[:limit])
        more = len(found) > limit
        return CertificatePage(
            certificates=page, next_cursor=f"{page[-1].not_after_at_ms}-{page[-1].serial}" if more else None
        )

    def revoke_certificate(self, serial: str, *, because: RevokedBecause) -> Certificate:
        """Revoke a certificate, now and for good; one that was revoked before stays as it is.

        Raises:
            NotFound: `certificate_unknown`.
        """
        with self.transaction():
            if self.get_certificate(serial).revoked_at_ms is None:
                self.execute(
                    "UPDATE certificates SET revoked_at_ms = ?, revoked_because = ?, origin = ?, hlc = ? WHERE serial = ?",
                    (self._clock.now_ms(), because, self.origin, self.hlc, serial),
                )
            return self.get_certificate(serial)

    def revoke_certificates_of(self, device_id: str, *, because: RevokedBecause) -> int:
        """Revoke all of a device's, and return how many: it is decommissioned, or other hardware took its place.

        Those that have ended are among them: a clock that was ahead would make them valid again, and their keys are then nobody's.
        """
        with self.transaction():
            standing = [each for each in self.certificates_of(device_id) if each.revoked_at_ms is None]
            for each in standing:
                self.revoke_certificate(each.serial, because=because)
            return len(standing)

    def revoked_certificates(self, issuer_key_id: str, *, ended_after_ms: int) -> list[Certificate]:
        """What the revocation list of an authority names: revoked, and not ended before a moment."""
        found = self.rows(
            f"SELECT {_COLUMNS} FROM certificates WHERE issuer_key_id = ? AND revoked_at_ms IS NOT NULL "  # noqa: S608
            "AND not_after_at_ms > ? ORDER BY revoked_at_ms, serial",
            (issuer_key_id, ended_after_ms),
        )
        return [_certificate(row) for row in found]

    def count_certificates(self, *, remind_before_ms: int) -> CertificateCounts:
        """Numbers for people and metrics.

        Args:
            remind_before_ms: A device's last certificate that ends before this (from now on) needs looking at.
        """
        now_ms = self._clock.now_ms()
        counts = self.row(
            "SELECT count(*) FILTER (WHERE revoked_at_ms IS NULL), count(*) FILTER (WHERE revoked_at_ms IS NOT NULL), "
            "min(not_after_at_ms) FILTER (WHERE revoked_at_ms IS NULL) FROM certificates WHERE not_after_at_ms > ?",
            (now_ms,),
        )
        assert counts
        last = (
            "SELECT count(*) FROM certificates c JOIN devices d USING (device_id) WHERE d.state = 'active' "
            "AND c.revoked_at_ms IS NULL AND c.not_after_at_ms > ? AND c.not_after_at_ms <= ? AND NOT EXISTS "
            "(SELECT 1 FROM certificates l WHERE l.device_id = c.device_id AND l.revoked_at_ms IS NULL "
            "AND (l.not_after_at_ms, l.serial) > (c.not_after_at_ms, c.serial))"
        )
        ending = self.row(last, (now_ms, now_ms + remind_before_ms))
        ended = self.row(last, (now_ms - ENDED_RECENTLY_MS, now_ms))
        assert ending
        assert ended
        return CertificateCounts(
            valid=counts[0],
            revoked=counts[1],
            first_ends_at_ms=counts[2],
            devices_ending=ending[0],
            devices_ended=ended[0],
        )

    def _is_in(self, device_id: str, groups: Collection[str]) -> bool:
        found = self.row(f"SELECT {_IN_GROUPS.format('?')}", (device_id, json.dumps(sorted(groups))))
        assert found
        return bool(found[0])

    def _state_of(self, device_id: str) -> str:
        found = self.row("SELECT state FROM devices WHERE device_id = ?", (device_id,))
        if found is None:
            raise NotFound(
                f"There is no device “{device_id[:200]}”.",
                hint="Look at the list of devices; ids are case-sensitive.",
                code="device_unknown",
            )
        return str(found[0])

    def _check_public_key(self, device_id: str, key_hash: str, now_ms: int) -> None:
        """A key that was revoked is nobody's any more: whoever stole it could ask for another certificate."""
        revoked = self.row(
            "SELECT 1 FROM certificates WHERE key_hash = ? AND revoked_at_ms IS NOT NULL AND revoked_because != 'superseded'",
            (key_hash,),
        )
        if revoked is not None:
            raise Conflict(
                "A certificate of this key was revoked.",
                hint="Make a new key on the device.",
                code="key_revoked",
            )
        other = self.row(
            "SELECT device_id FROM certificates WHERE key_hash = ? AND device_id != ? AND revoked_at_ms IS NULL "
            "AND not_after_at_ms > ?",
            (key_hash, device_id, now_ms),
        )
        if other is not None:
            raise Conflict(
                f"The device “{other[0]}” has a certificate of this key.",
                hint="Each device needs a key of its own: make it at the first start, not in the firmware's image.",
                code="key_in_use",
            )

    def _check_pace(self, device_id: str, now_ms: int) -> None:
        found = self.row(
            "SELECT count(*) FROM certificates WHERE device_id = ? AND issued_at_ms > ?",
            (device_id, now_ms - _DAY_MS),
        )
        assert found
        if found[0] >= CERTIFICATE_COUNT_PER_DEVICE_AND_DAY_MAX:
            raise LimitExceeded(
                f"The device “{device_id}” got {found[0]} certificates within a day.",
                hint="Look why it asks again and again; it may have another one tomorrow.",
                code="certificate_count",
            )


_IN_STATE: Final[dict[CertificateState, str]] = {
    "valid": "revoked_at_ms IS NULL AND not_after_at_ms > ?",
    "ended": "revoked_at_ms IS NULL AND not_after_at_ms <= ?",
    "revoked": "revoked_at_ms IS NOT NULL",
}


def _certificate(row: Any) -> Certificate:
    return Certificate(**{name: row[name] for name in _COLUMNS.split(", ")})
