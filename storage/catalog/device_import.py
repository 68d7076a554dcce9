"""Rows of a list of devices into the catalog, each by itself: a row that can't be used keeps no other out.

What a row says is compared with what is there: a device that isn't there is made, one that is as the row says stays untouched,
so that a list can be imported again and again; one that differs is reported, and changed only when asked to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast, get_args

from appliance.core.errors import Conflict, LimitExceeded, NotAuthorized, NotFound, UsageError
from appliance.core.limits import CATALOG_CHUNK_MS, CATALOG_CHUNK_ROW_COUNT_MAX
from appliance.management.access import Access, Kind, check_device_id, role_unknown
from appliance.management.device_csv import CsvRow, split_list
from appliance.management.group_rules import check_access_change, check_group_change
from appliance.management.import_report import RowResult
from appliance.management.permissions import Scope, sees
from appliance.management.token_strength import check_token_strength
from storage.catalog.device_checks import (
    check_group_count,
    check_name,
    check_role,
    check_serial,
    check_tags,
)
from storage.catalog.devices import DeviceTable
from storage.catalog.rows import Device

OF_THE_ROW: Final = (UsageError, Conflict, NotFound, NotAuthorized, LimitExceeded)
"""Errors that are one row's, or one device's of many; a full disk or a locked catalog is everybody's."""
_COLUMN_OF_CODE: Final = {
    "device_id_invalid": "device_id",
    "device_exists": "device_id",
    "device_decommissioned": "device_id",
    "device_name_invalid": "name",
    "device_tags_invalid": "tags",
    "device_groups_invalid": "groups",
    "group_unknown": "groups",
    "groups_out_of_scope": "groups",
    "device_serial_invalid": "serial",
    "role_unknown": "role",
    "role_with_site": "role",
    "scope_too_narrow": "access",
    "kind_invalid": "kind",
    "kind_differs": "kind",
    "access_invalid": "access",
    "token_weak": "token",
    "token_taken": "token",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRules:
    """How a list is imported.

    Attributes:
        scope: Of whoever imports; None for the whole site.
        roles: Names of the configuration's roles.
        update: Change devices that differ from their row; otherwise they are reported.
        hash_token: SiteKeys.token_hash.
        new_token: Makes a token for each device that is created without one in its row; None for none.
        dry_run: Look and say what would be done.
    """

    scope: Scope
    roles: frozenset[str]
    update: bool
    hash_token: Callable[[bytes], bytes]
    new_token: Callable[[], str] | None
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """A row's values, checked; None where the list has no such column."""

    device_id: str
    name: str | None
    kind: Kind | None
    access: Access | None
    role: str | None
    tags: tuple[str, ...] | None
    groups: tuple[str, ...] | None
    serial: str | None
    token_hash: bytes | None


class DeviceImportTable(DeviceTable):
    """Methods of the catalog about lists of devices."""

    def import_rows(self, rows: Sequence[CsvRow], rules: ImportRules) -> list[RowResult]:
        """Take in rows from the first on, for at most CATALOG_CHUNK_MS, and say what came of each.

        At least one of them; the caller comes again with the rest, in another transaction. A dry run reads only.
        """
        results: list[RowResult] = []
        began_at_mono_ms = self._clock.mono_ms()
        for row in rows[:CATALOG_CHUNK_ROW_COUNT_MAX]:
            if results and self._clock.mono_ms() - began_at_mono_ms >= CATALOG_CHUNK_MS:
                break
            results.append(self._import_row(row, rules))
        return results

    def _import_row(self, row: CsvRow, rules: ImportRules) -> RowResult:
        device_id = row.values["device_id"]
        try:
            with self.part():
                return self._taken(row.line, self._checked(row.values, rules), rules)
        except OF_THE_ROW as error:
            return RowResult(
                line=row.line,
                device_id=device_id[:200],
                outcome="refused",
                column=_COLUMN_OF_CODE.get(error.code, ""),
                reason=error.message,
                hint=error.hint,
                code=error.code,
            )

    def _checked(self, values: dict[str, str], rules: ImportRules) -> _Wish:
        kind = _one_of(values.get("kind"), get_args(Kind), "device", "kind")
        access = _one_of(values.get("access"), get_args(Access), "own", "access")
        role = values.get("role")
        if role and role not in rules.roles:
            raise role_unknown(role, sorted(rules.roles))
        groups = values.get("groups")
        token = values.get("token")
        if token:
            check_token_strength(token)
        return _Wish(
            device_id=check_device_id(values["device_id"]),
            name=None if "name" not in values else check_name(values["name"]),
            kind=cast("Kind | None", kind),
            access=cast("Access | None", access),
            role=role,
            tags=None if "tags" not in values else check_tags(split_list(values["tags"])),
            groups=None if groups is None else check_group_count(split_list(groups)),
            serial=None if "serial" not in values else check_serial(values["serial"]),
            token_hash=rules.hash_token(token.encode()) if token else None,
        )

    def _taken(self, line: int, wish: _Wish, rules: ImportRules) -> RowResult:
        device = self.find_device(wish.device_id)
        if device is None:
            return self._created(line, wish, rules)
        if not sees(rules.scope, device.groups):
            raise Conflict(
                f"There is a device “{wish.device_id}” already.",
                hint="Choose another id.",
                code="device_exists",
            )
        if device.state == "decommissioned":
            raise Conflict(
                f"The device “{wish.device_id}” is decommissioned.",
                hint="Register the hardware under another id.",
                code="device_decommissioned",
            )
        if wish.kind not in (None, device.kind):
            raise Conflict(
                f"“{wish.device_id}” is registered as {device.kind}, which never changes.",
                hint="Register it under another id.",
                code="kind_differs",
            )
        columns = self._differences(device, wish)
        if not columns:
            return RowResult(line=line, device_id=wish.device_id, outcome="unchanged")
        if not rules.update:
            return RowResult(
                line=line,
                device_id=wish.device_id,
                outcome="differs",
                column=", ".join(columns),
                reason=f"It is registered with another {', '.join(columns)}.",
                hint="Correct the row, or import the list once more with update.",
                code="device_differs",
            )
        self._updated(device, wish, rules)
        return RowResult(line=line, device_id=wish.device_id, outcome="updated")

    def _created(self, line: int, wish: _Wish, rules: ImportRules) -> RowResult:
        groups = wish.groups or ()
        check_group_change(rules.scope, before=(), after=groups)
        check_role(wish.access or "own", wish.role or "")
        check_access_change(rules.scope, after=(wish.access or "own", wish.role or ""))
        self.check_groups(groups)
        self._check_token_free(wish)
        token = None
        if not rules.dry_run:
            self.add_device(
                wish.device_id,
                kind=wish.kind or "device",
                access=wish.access or "own",
                role=wish.role or "",
                name=wish.name or "",
                tags=wish.tags or (),
                groups=groups,
                serial=wish.serial or "",
            )
            token_hash = wish.token_hash
            if token_hash is None and rules.new_token is not None:
                token = rules.new_token()
                token_hash = rules.hash_token(token.encode())
            if token_hash is not None:
                self.set_token(wish.device_id, token_hash)
        return RowResult(line=line, device_id=wish.device_id, outcome="created", token=token)

    def _differences(self, device: Device, wish: _Wish) -> list[str]:
        found = [
            column
            for column in ("name", "access", "role", "tags", "groups", "serial")
            if getattr(wish, column) not in (None, getattr(device, column))
        ]
        if wish.token_hash is not None and all(
            token.token_hash != wish.token_hash for token in self.tokens_of(device.device_id)
        ):
            found.append("token")
        if device.state != "active":
            found.append("state")
        return found

    def _updated(self, device: Device, wish: _Wish, rules: ImportRules) -> None:
        device_id = device.device_id
        if wish.groups is not None:
            check_group_change(rules.scope, before=device.groups, after=wish.groups)
            self.check_groups(wish.groups)
        access = device.access if wish.access is None else wish.access
        role = device.role if wish.role is None else wish.role
        check_role(access, role)
        check_access_change(rules.scope, before=(device.access, device.role), after=(access, role))
        has_token = wish.token_hash is not None and any(
            token.token_hash == wish.token_hash for token in self.tokens_of(device_id)
        )
        if not has_token:
            self._check_token_free(wish)
        if rules.dry_run:
            return
        if device.state != "active":
            self.adopt_device(device_id)
        self.edit_device(device_id, name=wish.name, tags=wish.tags, groups=wish.groups, serial=wish.serial)
        if (access, role) != (device.access, device.role):
            self.set_access(device_id, access=access, role=role)
        if wish.token_hash is not None and not has_token:
            self.revoke_tokens(device_id)
            self.set_token(device_id, wish.token_hash)

    def _check_token_free(self, wish: _Wish) -> None:
        if wish.token_hash is not None:
            self.check_token_free(wish.token_hash)


def _one_of(text: str | None, known: Sequence[str], default: str, column: str) -> str | None:
    if text is None:
        return None
    if text and text not in known:
        raise UsageError(
            f"“{text[:80]}” is no {column}.",
            hint=f"It is {' or '.join(known)}; empty for {default}.",
            code=f"{column}_invalid",
        )
    return text or default
