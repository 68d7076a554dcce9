"""What becomes of devices: registered, edited, adopted, rejected, replaced, decommissioned.

Who may see and change which is the caller's: it asks for the device within the scope first (`get_device`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from appliance.core.errors import Conflict, LimitExceeded, UsageError
from appliance.core.limits import DEVICE_COUNT_MAX, WAITING_DEVICE_COUNT_MAX
from appliance.management.access import Access, Kind, check_device_id
from storage.catalog.certificates import CertificateTable
from storage.catalog.database import Value
from storage.catalog.device_checks import (
    check_group_count,
    check_name,
    check_role,
    check_serial,
    check_tags,
)
from storage.catalog.device_tokens import DeviceTokenTable
from storage.catalog.groups import GroupTable
from storage.catalog.rows import Device, DeviceState, RevokedBecause

_STAMPED: Final = "updated_at_ms = ?, origin = ?, hlc = ?"


class DeviceTable(DeviceTokenTable, GroupTable, CertificateTable):
    """Methods of the catalog about devices."""

    def add_device(
        self,
        device_id: str,
        *,
        kind: Kind = "device",
        access: Access = "own",
        role: str = "",
        name: str = "",
        tags: Sequence[str] = (),
        groups: Sequence[str] = (),
        serial: str = "",
    ) -> Device:
        """Register a device as active. It has no token yet.

        Args:
            role: A role of the configuration, "" for none; the caller knows which there are.
        Raises:
            UsageError: a bad id, name, tag or serial, or a role beside access "site" (`role_with_site`). Conflict: `device_exists`.
            NotFound: `group_unknown`. LimitExceeded: `device_count`.
        """
        check_device_id(device_id)
        check_role(access, role)
        name, tags = check_name(name), check_tags(tags)
        groups, serial = check_group_count(groups), check_serial(serial)
        with self.transaction():
            self.check_groups(groups)
            if self.find_device(device_id):
                raise Conflict(
                    f"There is a device “{device_id}” already.",
                    hint="Choose another id, or adopt or edit the one that is there.",
                    code="device_exists",
                )
            self._check_room()
            self._insert(device_id, kind, access, role, "active", name, tags, groups=groups, serial=serial)
            return self.get_device(device_id)

    def edit_device(
        self,
        device_id: str,
        *,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        serial: str | None = None,
    ) -> Device:
        """Change what people say of a device; None leaves one as it is, and nothing is written where nothing differs.

        Raises:
            NotFound: `device_unknown`, `group_unknown`. UsageError: as add_device.
        """
        with self.transaction():
            device = self.get_device(device_id)
            wanted: dict[str, tuple[object, Value]] = {}
            if name is not None:
                wanted["name"] = (device.name, check_name(name))
            if serial is not None:
                wanted["serial"] = (device.serial, check_serial(serial))
            if tags is not None:
                wanted["tags"] = (_list(device.tags), _list(check_tags(tags)))
            if groups is not None:
                self.check_groups(groups)
                wanted["groups"] = (_list(device.groups), _list(check_group_count(groups)))
            changed = {column: value for column, (old, value) in wanted.items() if old != value}
            if not changed:
                return device
            assignments = ", ".join(f"{column} = ?" for column in changed)
            self.execute(
                f"UPDATE devices SET {assignments}, {_STAMPED} WHERE device_id = ?",  # noqa: S608
                (*changed.values(), self._clock.now_ms(), self.origin, self.hlc, device_id),
            )
            return self.get_device(device_id)

    def replace_device(self, device_id: str, *, serial: str | None = None) -> Device:
        """Let other hardware take over an id and its history: every credential of the one before ends.

        Args:
            serial: The new hardware's; None when it isn't known, and then the old one's goes too.
        Raises:
            NotFound: `device_unknown`. Conflict: it isn't active. UsageError: `device_serial_invalid`.
        """
        serial = check_serial(serial or "")
        with self.transaction():
            device = self.get_device(device_id)
            if device.state != "active":
                raise Conflict(
                    f"The device “{device_id}” is {device.state}; only one that is active can be replaced.",
                    hint="Adopt it, or register the new hardware under an id of its own.",
                    code=f"device_{device.state}",
                )
            now_ms = self._clock.now_ms()
            self.execute(
                f"UPDATE devices SET serial = ?, replaced_at_ms = ?, {_STAMPED} WHERE device_id = ?",  # noqa: S608
                (serial, now_ms, now_ms, self.origin, self.hlc, device_id),
            )
            self._end_credentials(device_id, "superseded")
            return self.get_device(device_id)

    def set_access(self, device_id: str, *, access: Access, role: str) -> Device:
        """Change what a device may publish and subscribe.

        Args:
            role: A role of the configuration, "" for none; the caller knows which there are.
        Raises:
            NotFound: `device_unknown`. UsageError: a role beside access "site" (`role_with_site`).
        """
        check_role(access, role)
        with self.transaction():
            self.get_device(device_id)
            self.execute(
                f"UPDATE devices SET access = ?, role = ?, {_STAMPED} WHERE device_id = ?",  # noqa: S608
                (access, role, self._clock.now_ms(), self.origin, self.hlc, device_id),
            )
            return self.get_device(device_id)

    def note_first_contact(self, device_ids: Iterable[str], *, at_ms: int) -> list[str]:
        """Put unknown devices on the list of those waiting for adoption; known ones are left as they are.

        Args:
            device_ids: User names that devices came with; those that can't be a device id are passed over.
            at_ms: When, wall time UTC ms.
        Returns:
            Ids that are waiting now because of this call; fewer when WAITING_DEVICE_COUNT_MAX is reached.
        """
        added: list[str] = []
        with self.transaction():
            room = WAITING_DEVICE_COUNT_MAX - self.count_devices(states=("waiting",))
            room = min(room, DEVICE_COUNT_MAX - self.count_devices())
            for device_id in dict.fromkeys(device_ids):
                if len(added) >= room:
                    break
                try:
                    check_device_id(device_id)
                except UsageError:
                    continue
                if self.find_device(device_id) is None:
                    self._insert(device_id, "device", "own", "", "waiting", "", (), first_contact_at_ms=at_ms)
                    added.append(device_id)
        return added

    def adopt_device(self, device_id: str) -> Device:
        """Let a waiting or rejected device in. Adopting an active one changes nothing.

        Raises:
            NotFound: `device_unknown`. Conflict: `device_decommissioned`.
        """
        return self._move(device_id, "active", ("waiting", "rejected"))

    def reject_device(self, device_id: str) -> Device:
        """Keep a waiting device out; its tokens and certificates end.

        Raises:
            NotFound: `device_unknown`. Conflict: it is active (`device_active`) or decommissioned.
        """
        return self._move(device_id, "rejected", ("waiting",))

    def decommission_device(self, device_id: str) -> Device:
        """End a device for good; its tokens and certificates end, its readings stay.

        Raises:
            NotFound: `device_unknown`.
        """
        return self._move(device_id, "decommissioned", ("active", "waiting", "rejected"))

    def _check_room(self) -> None:
        # Rows never go, so the newest rowid is at least their number and costs nothing to ask for.
        newest = self.row("SELECT max(rowid) FROM devices")
        assert newest
        if (newest[0] or 0) >= DEVICE_COUNT_MAX and self.count_devices() >= DEVICE_COUNT_MAX:
            raise LimitExceeded(
                f"A node serves at most {DEVICE_COUNT_MAX} devices.",
                hint="Register the rest on another node of the site.",
                code="device_count",
            )

    def _insert(
        self,
        device_id: str,
        kind: Kind,
        access: Access,
        role: str,
        state: DeviceState,
        name: str,
        tags: Sequence[str],
        *,
        groups: Sequence[str] = (),
        serial: str = "",
        first_contact_at_ms: int | None = None,
    ) -> None:
        now_ms = self._clock.now_ms()
        self.execute(
            "INSERT INTO devices (device_id, kind, access, role, state, name, tags, groups, serial, "
            "first_contact_at_ms, created_at_ms, updated_at_ms, origin, hlc) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                device_id,
                kind,
                access,
                role,
                state,
                name,
                _list(tags),
                _list(groups),
                serial,
                first_contact_at_ms,
                now_ms,
                now_ms,
                self.origin,
                self.hlc,
            ),
        )

    def _move(self, device_id: str, state: DeviceState, allowed: Sequence[DeviceState]) -> Device:
        with self.transaction():
            device = self.get_device(device_id)
            if device.state == state:
                return device
            if device.state not in allowed:
                raise Conflict(
                    f"The device “{device_id}” is {device.state} and can't become {state}.",
                    hint="Decommission it instead."
                    if device.state == "active"
                    else "Register it under another id.",
                    code=f"device_{device.state}",
                )
            self.execute(
                f"UPDATE devices SET state = ?, {_STAMPED} WHERE device_id = ?",  # noqa: S608
                (state, self._clock.now_ms(), self.origin, self.hlc, device_id),
            )
            if state != "active":
                self._end_credentials(device_id, "cessationOfOperation")
            return self.get_device(device_id)

    def _end_credentials(self, device_id: str, because: RevokedBecause) -> None:
        self.revoke_tokens(device_id)
        self.revoke_certificates_of(device_id, because=because)


def _list(values: Sequence[str]) -> str:
    return json.dumps(list(values), ensure_ascii=False)
