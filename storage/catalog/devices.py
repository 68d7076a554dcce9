"""Devices and their tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits import (
    DEVICE_COUNT_MAX,
    DEVICE_TOKEN_COUNT_MAX,
    PAGE_ITEM_COUNT_DEFAULT,
    PAGE_ITEM_COUNT_MAX,
    WAITING_DEVICE_COUNT_MAX,
)
from appliance.management.access import Access, Kind, check_device_id
from storage.catalog.database import CatalogDatabase, Value
from storage.catalog.device_checks import check_name, check_role, check_tags
from storage.catalog.rows import DEVICE_STATES, Device, DevicePage, DeviceState, DeviceToken

_COLUMNS = (
    "device_id, kind, access, role, state, name, tags, first_contact_at_ms, created_at_ms, updated_at_ms"
)
ROLE_SCHEMA_VERSION = 2
"""From which on a device may have a role."""
_STAMPED = "updated_at_ms = ?, origin = ?, hlc = ?"


class DeviceTable(CatalogDatabase):
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
    ) -> Device:
        """Register a device as active. It has no token yet.

        Args:
            role: A role of the configuration, "" for none; the caller knows which there are.
        Raises:
            UsageError: a bad id, name or tag, or a role beside access "site" (`role_with_site`). Conflict: `device_exists`.
            LimitExceeded: `device_count`.
        """
        check_device_id(device_id)
        check_role(access, role)
        name, tags = check_name(name), check_tags(tags)
        with self.transaction():
            if self.find_device(device_id):
                raise Conflict(
                    f"There is a device “{device_id}” already.",
                    hint="Choose another id, or adopt or edit the one that is there.",
                    code="device_exists",
                )
            self._check_room()
            self._insert(device_id, kind, access, role, "active", name, tags, first_contact_at_ms=None)
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

    def find_device(self, device_id: str) -> Device | None:
        """The device, or None."""
        found = self.row(f"SELECT {_COLUMNS} FROM devices WHERE device_id = ?", (device_id,))  # noqa: S608
        return _device(found) if found else None

    def get_device(self, device_id: str) -> Device:
        """The device.

        Raises:
            NotFound: `device_unknown`.
        """
        device = self.find_device(device_id)
        if device is None:
            raise NotFound(
                f"There is no device “{device_id[:200]}”.",
                hint="Look at the list of devices; ids are case-sensitive.",
                code="device_unknown",
            )
        return device

    def list_devices(
        self,
        *,
        states: Sequence[DeviceState] = (),
        q: str = "",
        ids: Sequence[str] | None = None,
        cursor: str | None = None,
        limit: int = PAGE_ITEM_COUNT_DEFAULT,
    ) -> DevicePage:
        """A page of devices in the order of their ids.

        Args:
            states: Only these; all when empty.
            q: Only devices with this in id, name or a tag; A to Z match a to z; all when empty.
            ids: Only these (for filters on what isn't in the catalog, such as presence), up to 100,000.
            cursor: The last page's `next_cursor`.
            limit: 1..1000.
        """
        if not 1 <= limit <= PAGE_ITEM_COUNT_MAX:
            raise UsageError(
                f"A page has 1 to {PAGE_ITEM_COUNT_MAX} items, not {limit}.", hint="Ask for fewer at a time."
            )
        where, parameters = _filter(states, q, ids)
        where.append("device_id > ?")
        parameters.append(cursor or "")
        found = self.rows(
            f"SELECT {_COLUMNS} FROM devices WHERE {' AND '.join(where)} ORDER BY device_id LIMIT ?",  # noqa: S608
            (*parameters, limit + 1),
        )
        devices = tuple(_device(row) for row in found[:limit])
        return DevicePage(devices=devices, next_cursor=devices[-1].device_id if len(found) > limit else None)

    def count_devices(
        self, *, states: Sequence[DeviceState] = (), q: str = "", ids: Sequence[str] | None = None
    ) -> int:
        """How many devices `list_devices` would give in all."""
        where, parameters = _filter(states, q, ids)
        found = self.row(
            f"SELECT count(*) FROM devices WHERE {' AND '.join(where) or 'TRUE'}",  # noqa: S608
            parameters,
        )
        assert found
        return int(found[0])

    def count_by_state(self) -> dict[DeviceState, int]:
        """How many devices are in each state; every state has an entry."""
        counts = dict(self.rows("SELECT state, count(*) FROM devices GROUP BY state"))
        return {state: counts.get(state, 0) for state in DEVICE_STATES}

    def roles_in_use(self) -> dict[str, int]:
        """Roles of active devices and applications, and of how many each."""
        if self.schema_version < ROLE_SCHEMA_VERSION:
            return {}  # Opened for reading, and not upgraded yet.
        return dict(
            self.rows(
                "SELECT role, count(*) FROM devices WHERE role != '' AND state = 'active' GROUP BY role"
            )
        )

    def device_ids(self, *, states: Sequence[DeviceState] = DEVICE_STATES) -> list[str]:
        """The ids of all devices in any of these states, in order."""
        sql = (
            "SELECT device_id FROM devices WHERE state IN (SELECT value FROM json_each(?)) ORDER BY device_id"
        )
        return [row[0] for row in self.rows(sql, (json.dumps(list(states)),))]

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
        """Keep a waiting device out; its tokens end.

        Raises:
            NotFound: `device_unknown`. Conflict: it is active (`device_active`) or decommissioned.
        """
        return self._move(device_id, "rejected", ("waiting",))

    def decommission_device(self, device_id: str) -> Device:
        """End a device for good; its tokens end, its readings stay.

        Raises:
            NotFound: `device_unknown`.
        """
        return self._move(device_id, "decommissioned", ("active", "waiting", "rejected"))

    def set_token(
        self,
        device_id: str,
        token_hash: bytes,
        *,
        old_valid_until_ms: int | None = None,
        expires_at_ms: int | None = None,
    ) -> None:
        """Give a device a token. Its newest earlier one stays valid beside it, all others end.

        Args:
            token_hash: From SiteKeys.token_hash, 32 bytes.
            old_valid_until_ms: When the earlier one ends, wall time; None for when it is revoked or replaced.
            expires_at_ms: When the new one ends; None for never.
        Raises:
            NotFound: `device_unknown`. Conflict: decommissioned or rejected.
        """
        assert len(token_hash) == 32
        with self.transaction():
            device = self.get_device(device_id)
            if device.state in ("rejected", "decommissioned"):
                raise Conflict(
                    f"The device “{device_id}” is {device.state}.",
                    hint="Adopt it first." if device.state == "rejected" else "Register it under another id.",
                    code=f"device_{device.state}",
                )
            now_ms = self._clock.now_ms()
            kept = self.tokens_of(device_id)[: DEVICE_TOKEN_COUNT_MAX - 1]
            self.revoke_tokens(device_id, keep=[token.token_hash for token in kept])
            if old_valid_until_ms is not None:
                for token in kept:
                    ends = min(old_valid_until_ms, token.expires_at_ms or old_valid_until_ms)
                    self.execute(
                        "UPDATE device_tokens SET expires_at_ms = ?, origin = ?, hlc = ? WHERE token_hash = ?",
                        (ends, self.origin, self.hlc, token.token_hash.hex()),
                    )
            self.execute(
                "INSERT INTO device_tokens (token_hash, device_id, created_at_ms, expires_at_ms, origin, hlc) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (token_hash.hex(), device_id, now_ms, expires_at_ms, self.origin, self.hlc),
            )

    def tokens_of(self, device_id: str) -> list[DeviceToken]:
        """Tokens that are not revoked, the newest first (expired ones among them)."""
        found = self.rows(
            "SELECT device_id, token_hash, created_at_ms, expires_at_ms FROM device_tokens "
            "WHERE device_id = ? AND revoked_at_ms IS NULL ORDER BY created_at_ms DESC, hlc DESC, token_hash",
            (device_id,),
        )
        return [
            DeviceToken(
                device_id=row["device_id"],
                token_hash=bytes.fromhex(row["token_hash"]),
                created_at_ms=row["created_at_ms"],
                expires_at_ms=row["expires_at_ms"],
            )
            for row in found
        ]

    def revoke_tokens(self, device_id: str, *, keep: Sequence[bytes] = ()) -> int:
        """End a device's tokens at once and return how many."""
        with self.transaction():
            ended = 0
            for token in self.tokens_of(device_id):
                if token.token_hash not in keep:
                    ended += self.execute(
                        "UPDATE device_tokens SET revoked_at_ms = ?, origin = ?, hlc = ? WHERE token_hash = ?",
                        (self._clock.now_ms(), self.origin, self.hlc, token.token_hash.hex()),
                    )
            return ended

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
        first_contact_at_ms: int | None,
    ) -> None:
        now_ms = self._clock.now_ms()
        self.execute(
            f"INSERT INTO devices ({_COLUMNS}, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (
                device_id,
                kind,
                access,
                role,
                state,
                name,
                json.dumps(list(tags), ensure_ascii=False),
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
                self.revoke_tokens(device_id)
            return self.get_device(device_id)


def _filter(
    states: Sequence[DeviceState], q: str, ids: Sequence[str] | None
) -> tuple[list[str], list[Value]]:
    where: list[str] = []
    parameters: list[Value] = []
    if states:
        where.append("state IN (SELECT value FROM json_each(?))")
        parameters.append(json.dumps(list(states)))
    if q:
        escaped = q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        where.append(
            "(device_id LIKE ? ESCAPE '\\' OR name LIKE ? ESCAPE '\\' OR EXISTS "
            "(SELECT 1 FROM json_each(tags) WHERE value LIKE ? ESCAPE '\\'))"
        )
        parameters += [f"%{escaped}%"] * 3
    if ids is not None:
        where.append("device_id IN (SELECT value FROM json_each(?))")
        parameters.append(json.dumps(list(ids)))
    return where, parameters


def _device(row: Any) -> Device:
    return Device(
        device_id=row["device_id"],
        kind=row["kind"],
        access=row["access"],
        role=row["role"],
        state=row["state"],
        name=row["name"],
        tags=tuple(json.loads(row["tags"])),
        first_contact_at_ms=row["first_contact_at_ms"],
        created_at_ms=row["created_at_ms"],
        updated_at_ms=row["updated_at_ms"],
    )
