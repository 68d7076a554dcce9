"""Enrolments: a device comes in by a claim. The claim is used and the device made, or found, in one transaction.

A device that asks once more with the same claim and the same key (its public key, or a text that it made up) gets the
same device, and the claim is not used again: answers get lost. That ends an hour after it was given its identity first, and at once
when its certificate is revoked or other hardware takes its place. Anybody else who asks for it is refused, with whatever claim, but for a
claim that was made for that very device: an operator has said who is to come in as it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from appliance.core.errors import Conflict, LimitExceeded, NotAuthorized, UsageError
from appliance.core.limits import ENROLMENT_REPEAT_MS, WAITING_DEVICE_COUNT_MAX
from appliance.management.access import check_device_id
from appliance.management.group_rules import OWN_TOPICS
from storage.catalog.claims import Claim, ClaimTable
from storage.catalog.device_checks import check_serial
from storage.catalog.devices import DeviceTable
from storage.catalog.rows import Device

RETRY_HINT: Final = "Make another claim, and give the device its token."


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """What a claim has led to.

    Attributes:
        is_new: The claim was used for it just now; False for a device that asks once more.
    """

    device: Device
    claim: Claim
    is_new: bool


class EnrolmentTable(ClaimTable, DeviceTable):
    """Methods of the catalog about devices that come in by a claim."""

    def enrol(self, claim_hash: bytes, key_hash: bytes, *, device_id: str = "", serial: str = "") -> Enrolled:
        """Let a device come in by a claim.

        Args:
            claim_hash: Keyed hash of the claim's token, 32 bytes.
            key_hash: Keyed hash of what the device is known by when it asks again, 32 bytes.
            device_id: The id that it wants; "" for its serial number, or for the claim's.
            serial: The number printed on it, "" for none. A device registered with it is that device.
        Returns:
            The device, `active` or `waiting` for adoption.
        Raises:
            NotAuthorized: `claim_unknown`, `claim_expired`, `claim_revoked`.
            Conflict: `claim_used_up`, `claim_other_device`, `device_exists`, `key_in_use`, `serial_in_use`, `enrolment_over`, `device_rejected`,
                `device_decommissioned`.
            UsageError: `device_id_missing`, `device_id_invalid`, `device_serial_invalid`. LimitExceeded: too many devices.
        """
        serial = check_serial(serial)
        with self.transaction():
            claim = self.find_claim(claim_hash)
            if claim is None:
                raise NotAuthorized("No claim has this token.", hint=RETRY_HINT, code="claim_unknown")
            if claim.revoked_at_ms is not None:
                raise NotAuthorized("The claim was revoked.", hint=RETRY_HINT, code="claim_revoked")
            wanted = self._wanted(claim, device_id, serial)
            self._check_key(key_hash, wanted)
            device = self.find_device(wanted)
            _check_state(device)
            if device is not None and self._asks_again(wanted, claim, key_hash):
                self._note_given(device)
                return Enrolled(device=device, claim=claim, is_new=False)
            if device is not None and claim.device_id != wanted and _reaches_more_than_own(device):
                raise Conflict(
                    f"The device “{wanted}” may reach more than its own topics.",
                    hint="A claim for a batch doesn't do for it: make a claim for this device.",
                    code="device_exists",
                )
            if device is not None and claim.device_id != wanted and self._is_taken(wanted):
                raise Conflict(
                    f"The device “{wanted}” has come in already, with another key or another claim.",
                    hint="Ask with the key of the first time; for new hardware make a claim for this device.",
                    code="device_exists",
                )
            if claim.state(self._clock.now_ms()) == "expired":
                raise NotAuthorized("The claim has ended.", hint=RETRY_HINT, code="claim_expired")
            self.count_claim_use(claim.claim_id)
            made = self._take_in(wanted, device, claim, serial)
            self._note_enrolment(wanted, claim, key_hash)
            self._note_given(made)
            return Enrolled(device=made, claim=self.get_claim(claim.claim_id), is_new=True)

    def enrolled_by(self, device_id: str) -> str | None:
        """The id of the claim that a device came in by, None for one that did not."""
        found = self.row("SELECT claim_id FROM enrolments WHERE device_id = ?", (device_id,))
        return str(found[0]) if found else None

    def _wanted(self, claim: Claim, device_id: str, serial: str) -> str:
        """Which device this is to be."""
        if claim.device_id:
            if device_id not in ("", claim.device_id):
                raise Conflict(
                    f"The claim is for the device “{claim.device_id}”, not for “{device_id[:200]}”.",
                    hint="Give the device the claim that was made for it.",
                    code="claim_other_device",
                )
            return claim.device_id
        if serial:
            known = self.rows(
                "SELECT device_id FROM devices WHERE serial = ? AND state != 'decommissioned' LIMIT 2",
                (serial,),
            )
            if len(known) == 1 and device_id in ("", known[0][0]):
                return str(known[0][0])
            if known and device_id not in {row[0] for row in known}:
                raise Conflict(
                    f"The serial number “{serial}” is that of another device.",
                    hint="Ask without a device id, or correct the serial number in the list of devices.",
                    code="serial_in_use",
                )
        if not device_id and not serial:
            raise UsageError(
                "The request says neither which device this is nor its serial number.",
                hint="Give serial, or the device id as the CSR's common name or as the user name.",
                code="device_id_missing",
            )
        return check_device_id(device_id or serial)

    def _check_key(self, key_hash: bytes, wanted: str) -> None:
        other = self.row(
            "SELECT device_id FROM enrolments WHERE key_hash = ? AND device_id != ?", (key_hash.hex(), wanted)
        )
        if other is not None:
            raise Conflict(
                "Another device has come in with this key.",
                hint="Each device needs a key or nonce of its own: make it at the first start, not in the firmware's image.",
                code="key_in_use",
            )

    def _asks_again(self, device_id: str, claim: Claim, key_hash: bytes) -> bool:
        """Whether this is the device that has come in by this claim, asking once more.

        Raises:
            Conflict: `enrolment_over`: it is, and may not any more.
        """
        found = self.row(
            "SELECT given_at_ms FROM enrolments WHERE device_id = ? AND claim_id = ? AND key_hash = ?",
            (device_id, claim.claim_id, key_hash.hex()),
        )
        if found is None:
            return False
        since_ms = self._clock.now_ms() - (found["given_at_ms"] or self._clock.now_ms())
        if self._is_ended(device_id) or since_ms >= ENROLMENT_REPEAT_MS:
            raise Conflict(
                f"The device “{device_id}” has had its identity by this claim, and can't be given it again.",
                hint="Make a claim for this device.",
                code="enrolment_over",
            )
        return True

    def _is_ended(self, device_id: str) -> bool:
        """Whether the key that a device came in with counts no more: other hardware has taken its place, or a certificate that it had
        since was revoked."""
        found = self.row(
            "SELECT coalesce(d.replaced_at_ms, 0) >= e.enrolled_at_ms OR EXISTS (SELECT 1 FROM certificates c "
            "WHERE c.device_id = e.device_id AND c.issued_at_ms >= e.enrolled_at_ms "
            "AND c.revoked_at_ms IS NOT NULL AND c.revoked_because IS NOT 'superseded') "
            "FROM enrolments e JOIN devices d USING (device_id) WHERE e.device_id = ?",
            (device_id,),
        )
        return found is not None and bool(found[0])

    def _is_taken(self, device_id: str) -> bool:
        """Whether somebody has come in as this device, or could: by a claim, a token or a certificate. Revoked ones are among them: who
        holds the claim of a batch may be the thief that they were revoked for."""
        sql = (
            "SELECT 1 FROM enrolments WHERE device_id = ?1 "
            "UNION ALL SELECT 1 FROM device_tokens WHERE device_id = ?1 "
            "UNION ALL SELECT 1 FROM certificates WHERE device_id = ?1 LIMIT 1"
        )
        return self.row(sql, (device_id,)) is not None

    def _take_in(self, device_id: str, device: Device | None, claim: Claim, serial: str) -> Device:
        now_ms = self._clock.now_ms()
        if device is not None:
            if claim.adopt:
                device = self.adopt_device(device_id)
        elif claim.adopt:
            device = self.add_device(device_id)
        else:
            if not self.note_first_contact([device_id], at_ms=now_ms):
                raise LimitExceeded(
                    f"As many devices wait for adoption as may ({WAITING_DEVICE_COUNT_MAX}), or exist.",
                    hint="Adopt or reject some on the Devices page; the device asks again.",
                    code="waiting_full",
                )
            device = self.get_device(device_id)
        self.execute(
            "UPDATE devices SET serial = CASE ?1 WHEN '' THEN serial ELSE ?1 END, tags = ?2, groups = ("
            "SELECT json_group_array(value) FROM (SELECT value FROM json_each(groups) UNION SELECT value FROM json_each(?3))"
            "), updated_at_ms = ?4, origin = ?5, hlc = ?6 WHERE device_id = ?7",
            (
                serial,
                json.dumps([*dict.fromkeys((*device.tags, *claim.tags))], ensure_ascii=False),
                json.dumps(claim.groups, ensure_ascii=False),
                now_ms,
                self.origin,
                self.hlc,
                device_id,
            ),
        )
        return self.get_device(device_id)

    def _note_given(self, device: Device) -> None:
        """Note when a device was first given its identity: from when it was active."""
        if device.state == "active":
            self.execute(
                "UPDATE enrolments SET given_at_ms = ?, origin = ?, hlc = ? WHERE device_id = ? AND given_at_ms IS NULL",
                (self._clock.now_ms(), self.origin, self.hlc, device.device_id),
            )

    def _note_enrolment(self, device_id: str, claim: Claim, key_hash: bytes) -> None:
        self.execute(
            "INSERT INTO enrolments (device_id, claim_id, key_hash, enrolled_at_ms, origin, hlc) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (device_id) DO UPDATE SET claim_id = excluded.claim_id, "
            "key_hash = excluded.key_hash, enrolled_at_ms = excluded.enrolled_at_ms, given_at_ms = NULL, origin = excluded.origin, hlc = excluded.hlc",
            (device_id, claim.claim_id, key_hash.hex(), self._clock.now_ms(), self.origin, self.hlc),
        )


def _reaches_more_than_own(device: Device) -> bool:
    """Whether a device has access to the site or a role: whoever holds the claim of a batch must not come in as it."""
    return (device.access, device.role) != OWN_TOPICS


def _check_state(device: Device | None) -> None:
    if device is not None and device.state in ("rejected", "decommissioned"):
        raise Conflict(
            f"The device “{device.device_id}” is {device.state}.",
            hint="Adopt it on the Devices page if it should be let in after all."
            if device.state == "rejected"
            else "Give the device another id: this one was ended for good.",
            code=f"device_{device.state}",
        )
