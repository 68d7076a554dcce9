"""Devices that ask for a certificate without having anything, where an operator's adoption is enough (`devices.first_contact`).

The key that asks first is kept: after the adoption the device is whoever has that key, and nobody else; until other hardware takes
its place, or a certificate of it is revoked.
"""

from __future__ import annotations

from appliance.core.errors import Conflict, LimitExceeded, NotAuthorized
from appliance.core.limits import WAITING_DEVICE_COUNT_MAX
from storage.catalog.enrolments import EnrolmentTable
from storage.catalog.rows import Device

_NO_CLAIM = ""


class FirstContactTable(EnrolmentTable):
    """Methods of the catalog about first contacts that show a key."""

    def meet(self, device_id: str, key_hash: bytes) -> Device:
        """Put an unknown device on the list of those waiting for adoption, by its key; a known one must show that key.

        Args:
            device_id: The id that it wants.
            key_hash: Keyed hash of its public key, 32 bytes.
        Returns:
            The device: waiting, or active once it was adopted.
        Raises:
            NotAuthorized: `bad_credentials`: the device is another key's, came in otherwise, or the key counts no more.
            Conflict: `device_rejected`, `device_decommissioned`; `key_in_use`. UsageError: `device_id_invalid`.
            LimitExceeded: `waiting_full`.
        """
        with self.transaction():
            device = self.find_device(device_id)
            known = self.row("SELECT claim_id, key_hash FROM enrolments WHERE device_id = ?", (device_id,))
            is_first = device is None or (device.state == "waiting" and known is None)
            is_it = known is not None and tuple(known) == (_NO_CLAIM, key_hash.hex())
            if not is_first and (not is_it or self._is_ended(device_id)):
                raise NotAuthorized(
                    "The device needs its token, a claim or its certificate.",
                    hint="Give the device a new token on its page, or make a claim for it.",
                    code="bad_credentials",
                )
            if is_first:
                self._check_key(key_hash, device_id)
                if device is None and not self.note_first_contact([device_id], at_ms=self._clock.now_ms()):
                    raise LimitExceeded(
                        f"As many devices wait for adoption as may ({WAITING_DEVICE_COUNT_MAX}), or exist.",
                        hint="Adopt or reject some on the Devices page; the device asks again.",
                        code="waiting_full",
                    )
                self.execute(
                    "INSERT INTO enrolments (device_id, claim_id, key_hash, enrolled_at_ms, origin, hlc) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (device_id, _NO_CLAIM, key_hash.hex(), self._clock.now_ms(), self.origin, self.hlc),
                )
            met = self.get_device(device_id)
            if met.state in ("rejected", "decommissioned"):
                raise Conflict(
                    f"The device “{device_id}” is {met.state}.",
                    hint="Adopt it on the Devices page if it should be let in after all.",
                    code=f"device_{met.state}",
                )
            return met
