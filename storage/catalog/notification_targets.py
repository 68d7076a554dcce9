"""Targets of notifications in the catalog. What is secret of them is sealed before it comes here, and leaves only to be sent with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from appliance.core.errors import Conflict, LimitExceeded, NotFound
from appliance.core.limits_notifications import NOTIFICATION_TARGET_COUNT_MAX
from appliance.management.notification_targets import Kind, Settings, kind_of, of_json, to_json
from storage.catalog.database import CatalogDatabase

_COLUMNS = "target_id, name, settings, secret_sealed <> '' AS has_secret, is_enabled, created_at_ms, updated_at_ms, hlc"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationTarget:
    """A target. Times are UTC ms.

    Attributes:
        has_secret: That it has one; what it is nobody is told.
    """

    target_id: str
    name: str
    settings: Settings
    has_secret: bool
    is_enabled: bool
    created_at_ms: int
    updated_at_ms: int
    version: int

    @property
    def kind(self) -> Kind:
        return kind_of(self.settings)


class NotificationTargetTable(CatalogDatabase):
    """Methods of the catalog about targets."""

    def list_targets(self) -> list[NotificationTarget]:
        """All of them by name."""
        found = self.rows(f"SELECT {_COLUMNS} FROM notification_targets ORDER BY name")  # noqa: S608 - our own names
        return [_target(row) for row in found]

    def enabled_target_names(self) -> dict[str, str]:
        """Names of those that are switched on, by their id; without their settings, which a newer release may have written."""
        return dict(self.rows("SELECT target_id, name FROM notification_targets WHERE is_enabled = 1"))

    def find_target(self, target_id: str) -> NotificationTarget | None:
        """The target, or None."""
        found = self.row(f"SELECT {_COLUMNS} FROM notification_targets WHERE target_id = ?", (target_id,))  # noqa: S608
        return _target(found) if found else None

    def get_target(self, target_id: str) -> NotificationTarget:
        """The target.

        Raises:
            NotFound: `target_unknown`.
        """
        found = self.find_target(target_id)
        if found is None:
            raise NotFound(
                f"There is no notification target “{target_id[:100]}”.",
                hint="Look at the list of targets.",
                code="target_unknown",
            )
        return found

    def target_secret_sealed(self, target_id: str) -> bytes:
        """Its sealed secret, b"" for none (of a target that is gone, too)."""
        found = self.row("SELECT secret_sealed FROM notification_targets WHERE target_id = ?", (target_id,))
        return bytes.fromhex(found[0]) if found else b""

    def add_target(
        self, target_id: str, *, name: str, settings: Settings, secret_sealed: bytes, is_enabled: bool = True
    ) -> NotificationTarget:
        """Make a target, checked already (management/notification_targets.py).

        Raises:
            Conflict: `target_exists`. LimitExceeded: `target_count`.
        """
        with self.transaction():
            found = self.row("SELECT count(*) FROM notification_targets")
            if found is not None and found[0] >= NOTIFICATION_TARGET_COUNT_MAX:
                raise LimitExceeded(
                    f"A site has at most {NOTIFICATION_TARGET_COUNT_MAX} notification targets.",
                    hint="Remove one.",
                    code="target_count",
                )
            self._check_name(name, target_id)
            now_ms = self._clock.now_ms()
            self.execute(
                "INSERT INTO notification_targets (target_id, name, kind, settings, secret_sealed, is_enabled, created_at_ms, "
                "updated_at_ms, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    target_id,
                    name,
                    kind_of(settings),
                    to_json(settings),
                    secret_sealed.hex(),
                    int(is_enabled),
                    now_ms,
                    now_ms,
                    self.origin,
                    self.hlc,
                ),
            )
            return self.get_target(target_id)

    def edit_target(
        self,
        target_id: str,
        *,
        name: str | None = None,
        settings: Settings | None = None,
        secret_sealed: bytes | None = None,
        is_enabled: bool | None = None,
    ) -> NotificationTarget:
        """Change a target; None leaves something as it is.

        Raises:
            NotFound: `target_unknown`. Conflict: `target_exists`.
        """
        with self.transaction():
            known = self.get_target(target_id)
            name = known.name if name is None else name
            settings = known.settings if settings is None else settings
            self._check_name(name, target_id)
            sealed = self.target_secret_sealed(target_id) if secret_sealed is None else secret_sealed
            self.execute(
                "UPDATE notification_targets SET name = ?, kind = ?, settings = ?, secret_sealed = ?, is_enabled = ?, "
                "updated_at_ms = ?, origin = ?, hlc = ? WHERE target_id = ?",
                (
                    name,
                    kind_of(settings),
                    to_json(settings),
                    sealed.hex(),
                    int(known.is_enabled if is_enabled is None else is_enabled),
                    self._clock.now_ms(),
                    self.origin,
                    self.hlc,
                    target_id,
                ),
            )
            return self.get_target(target_id)

    def remove_target(self, target_id: str) -> None:
        """Remove a target that no list names.

        Raises:
            NotFound: `target_unknown`. Conflict: `target_in_use`.
        """
        with self.transaction():
            self.get_target(target_id)
            lists = self.rows(
                "SELECT DISTINCT name FROM on_call_lists, json_each(definition, '$.members') AS m, "
                "json_each(m.value, '$.targets') AS t WHERE t.value = ? ORDER BY name LIMIT 3",
                (target_id,),
            )
            if lists:
                shown = ", ".join(f"“{row[0]}”" for row in lists)
                raise Conflict(
                    f"The on-call list {shown} tells somebody by it.",
                    hint="Take it out there first, or switch it off.",
                    code="target_in_use",
                )
            self.execute("DELETE FROM notification_targets WHERE target_id = ?", (target_id,))

    def _check_name(self, name: str, target_id: str) -> None:
        if self.row(
            "SELECT 1 FROM notification_targets WHERE name = ? AND target_id <> ?", (name, target_id)
        ):
            raise Conflict(
                f"There is a notification target “{name}” already.",
                hint="Choose another name.",
                code="target_exists",
            )


def _target(row: Any) -> NotificationTarget:
    return NotificationTarget(
        target_id=row["target_id"],
        name=row["name"],
        settings=of_json(row["settings"]),
        has_secret=bool(row["has_secret"]),
        is_enabled=bool(row["is_enabled"]),
        created_at_ms=row["created_at_ms"],
        updated_at_ms=row["updated_at_ms"],
        version=row["hlc"],
    )
