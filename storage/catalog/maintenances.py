"""Maintenances in the catalog: times in which alarms of some devices are expected, and nobody is told of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits import PAGE_ITEM_COUNT_DEFAULT
from appliance.core.limits_alarms import (
    ALARM_NOTE_LENGTH_MAX,
    MAINTENANCE_AHEAD_MS_MAX,
    MAINTENANCE_COUNT_MAX,
    MAINTENANCE_DURATION_MS_MAX,
    RULE_SCOPE_WORD_COUNT_MAX,
)
from appliance.core.limits_updates import DAY_MS
from appliance.management.rule import RuleScope
from storage.catalog.database import CatalogDatabase

MaintenanceState = Literal["planned", "running", "over"]
_SELECT: Final = "SELECT maintenance_id, scope, reason, from_at_ms, until_at_ms, created_by, created_at_ms, updated_at_ms, hlc FROM maintenances"
_encode = msgspec.json.Encoder().encode
_decode_scope = msgspec.json.Decoder(RuleScope).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """A maintenance. Times are UTC ms.

    Attributes:
        scope: The devices, as a rule has it.
        version: Of the row, for entity tags.
    """

    maintenance_id: str
    scope: RuleScope
    reason: str
    from_at_ms: int
    until_at_ms: int
    created_by: str
    created_at_ms: int
    updated_at_ms: int
    version: int = field(default=0, compare=False)

    def state(self, now_ms: int) -> MaintenanceState:
        """In a word."""
        if now_ms >= self.until_at_ms:
            return "over"
        return "planned" if now_ms < self.from_at_ms else "running"


class MaintenanceTable(CatalogDatabase):
    """Methods of the catalog about maintenances."""

    def add_maintenance(
        self,
        maintenance_id: str,
        *,
        scope: RuleScope,
        reason: str,
        from_at_ms: int,
        until_at_ms: int,
        by: str,
    ) -> Maintenance:
        """Plan one, or begin it.

        Args:
            maintenance_id: A new one.
            by: Who, for people.
        Raises:
            UsageError: `maintenance_invalid`, with what is wrong and what to do. LimitExceeded: `maintenance_count`.
            NotFound: `device_unknown`, `group_unknown`, `tag_unknown`: a misspelt name would leave its devices out without a word.
        """
        now_ms = self._clock.now_ms()
        _check(scope, reason, from_at_ms, until_at_ms, now_ms)
        self._check_names(scope)
        count = self.row("SELECT count(*) FROM maintenances WHERE until_at_ms > ?", (now_ms,))
        assert count is not None
        if count[0] >= MAINTENANCE_COUNT_MAX:
            raise LimitExceeded(
                f"{MAINTENANCE_COUNT_MAX} maintenances are planned or running already.",
                hint="End some, or make one for a group of devices.",
                code="maintenance_count",
            )
        self.execute(
            "INSERT INTO maintenances (maintenance_id, scope, reason, from_at_ms, until_at_ms, created_by, created_at_ms, "
            "updated_at_ms, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                maintenance_id,
                _encode(scope).decode(),
                reason,
                from_at_ms,
                until_at_ms,
                by,
                now_ms,
                now_ms,
                self.origin,
                self.hlc,
            ),
        )
        return self.get_maintenance(maintenance_id)

    def _check_names(self, scope: RuleScope) -> None:
        for kind, words, sql in (
            ("device", (*scope.devices, *scope.except_), "SELECT device_id FROM devices"),
            ("group", scope.groups, "SELECT group_id FROM groups"),
            ("tag", scope.tags, "SELECT DISTINCT value FROM devices, json_each(devices.tags)"),
        ):
            missing = self.row(
                f"SELECT value FROM json_each(?) WHERE value NOT IN ({sql})",  # noqa: S608 - our own text
                (json.dumps(words, ensure_ascii=False),),
            )
            if missing is not None:
                raise NotFound(
                    f"There is no {kind} “{missing[0][:200]}”.",
                    hint=f"Look at the list of {kind}s; a maintenance names only what is there.",
                    code=f"{kind}_unknown",
                )

    def get_maintenance(self, maintenance_id: str) -> Maintenance:
        """One of them. Raises NotFound: `maintenance_unknown`."""
        found = self.row(f"{_SELECT} WHERE maintenance_id = ?", (maintenance_id,))
        if found is None:
            raise NotFound(
                f"There is no maintenance “{maintenance_id[:100]}”.",
                hint="Look at the list of maintenances.",
                code="maintenance_unknown",
            )
        return _maintenance(found)

    def end_maintenance(self, maintenance_id: str) -> Maintenance:
        """End a running one now; one that was only planned is over without having begun.

        Raises:
            NotFound: `maintenance_unknown`. Conflict: `maintenance_over`.
        """
        found, now_ms = self.get_maintenance(maintenance_id), self._clock.now_ms()
        if found.state(now_ms) == "over":
            raise Conflict(
                "This maintenance is over already.", hint="There is nothing to do.", code="maintenance_over"
            )
        from_at_ms = min(found.from_at_ms, now_ms - 1)  # The table wants an end after the beginning.
        self.execute(
            "UPDATE maintenances SET from_at_ms = ?, until_at_ms = ?, updated_at_ms = ?, origin = ?, hlc = ? WHERE maintenance_id = ?",
            (from_at_ms, now_ms, now_ms, self.origin, self.hlc, maintenance_id),
        )
        return self.get_maintenance(maintenance_id)

    def list_maintenances(
        self, *, states: Sequence[MaintenanceState] = (), limit: int = PAGE_ITEM_COUNT_DEFAULT
    ) -> tuple[Maintenance, ...]:
        """Those that are to be over last first.

        Args:
            states: Only those in one of them; all with none.
        """
        now_ms = self._clock.now_ms()
        words = states or ("planned", "running", "over")
        conditions = {
            "planned": "from_at_ms > ?1",
            "running": "(from_at_ms <= ?1 AND until_at_ms > ?1)",
            "over": "until_at_ms <= ?1",
        }
        where = " OR ".join(conditions[word] for word in words)
        found = self.rows(
            f"{_SELECT} WHERE {where} ORDER BY until_at_ms DESC, maintenance_id LIMIT ?2", (now_ms, limit)
        )
        return tuple(map(_maintenance, found))

    def running_maintenances(self, now_ms: int) -> tuple[Maintenance, ...]:
        """Those that are on then, the first to be over first."""
        found = self.rows(
            f"{_SELECT} WHERE until_at_ms > ? AND from_at_ms <= ? ORDER BY until_at_ms, maintenance_id",
            (now_ms, now_ms),
        )
        return tuple(map(_maintenance, found))

    def remove_old_maintenances(self, before_ms: int) -> int:
        """Remove those that were over before then; returns how many."""
        return self.execute("DELETE FROM maintenances WHERE until_at_ms < ?", (before_ms,))


def _check(scope: RuleScope, reason: str, from_at_ms: int, until_at_ms: int, now_ms: int) -> None:
    words = (*scope.devices, *scope.groups, *scope.tags, *scope.except_)
    if len(words) > RULE_SCOPE_WORD_COUNT_MAX:
        raise _invalid(
            f"A maintenance names at most {RULE_SCOPE_WORD_COUNT_MAX} devices, groups and tags.",
            "Use a group.",
        )
    if bool(scope.devices or scope.groups or scope.tags) == scope.all:
        raise _invalid(
            "It must be for all devices, or for devices, groups or tags that are named.",
            "Say one of the two.",
        )
    if not 1 <= len(reason) <= ALARM_NOTE_LENGTH_MAX or not reason.isprintable():
        raise _invalid(
            f"The reason has 1 to {ALARM_NOTE_LENGTH_MAX} characters, in one line.", "Say what is done."
        )
    if until_at_ms <= max(from_at_ms, now_ms):
        raise _invalid("It would be over before it begins, or is already.", "Choose a later end.")
    if until_at_ms - from_at_ms > MAINTENANCE_DURATION_MS_MAX:
        raise _invalid(
            f"It would last longer than {MAINTENANCE_DURATION_MS_MAX // DAY_MS} days.",
            "Switch the rules off instead, or decommission the devices.",
        )
    if not now_ms - MAINTENANCE_DURATION_MS_MAX <= from_at_ms <= now_ms + MAINTENANCE_AHEAD_MS_MAX:
        raise _invalid(
            f"It begins more than {MAINTENANCE_AHEAD_MS_MAX // DAY_MS} days ahead, or long ago.",
            "Look at the year.",
        )


def _invalid(message: str, hint: str) -> UsageError:
    return UsageError(message, hint=hint, code="maintenance_invalid")


def _maintenance(row: Any) -> Maintenance:
    values = dict(row)
    version = values.pop("hlc")
    return Maintenance(**{**values, "scope": _decode_scope(values["scope"])}, version=version)
