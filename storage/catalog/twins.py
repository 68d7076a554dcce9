"""Twins: what devices should be (replicated, in the audit) and what they say that they are (this node's own).

A twin that was deleted leaves its version behind, so that the next one of that name goes on counting. What is left behind is
bounded like the twins themselves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.limits_twins import TWIN_COUNT_MAX
from appliance.management.twin import Twin, TwinChange, check_name, too_many, unknown
from appliance.management.twin_json import text_of
from storage.catalog.database import CatalogDatabase

_FIND: Final = """
    SELECT ids.name AS name, t.desired, t.desired_at, t.updated_at_ms, t.hlc, r.version, r.reported, r.reported_at, r.reported_at_ms
    FROM (SELECT ? AS twin_id, ? AS name) ids LEFT JOIN twins t USING (twin_id) LEFT JOIN twin_reports r USING (twin_id)
"""
_LIST: Final = """
    SELECT ids.name AS name, t.desired, t.desired_at, t.updated_at_ms, t.hlc, r.version, r.reported, r.reported_at, r.reported_at_ms
    FROM (SELECT twin_id, name FROM twins WHERE device_id = ? UNION SELECT twin_id, name FROM twin_reports WHERE device_id = ?) ids
    LEFT JOIN twins t USING (twin_id) LEFT JOIN twin_reports r USING (twin_id) ORDER BY ids.name
"""
_WANTED: Final = """
    SELECT t.device_id, t.name, t.desired, t.desired_at, t.updated_at_ms, t.hlc, r.version, r.reported, r.reported_at, r.reported_at_ms
    FROM twins t LEFT JOIN twin_reports r USING (twin_id)
    WHERE t.device_id IN (SELECT value FROM json_each(?)) AND t.desired != '{}' ORDER BY t.device_id, t.name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTwin:
    """A twin and when either side of it was last said, UTC ms; None for never.

    Attributes:
        desired_version: Another after every change of what is desired, and of nothing else, for If-Match: a device that reports each
            second must not void what somebody is about to set. 0 where nothing was ever desired.
    """

    device_id: str
    name: str
    twin: Twin
    desired_version: int
    desired_set_at_ms: int | None
    reported_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinChanged:
    """A change that was made: the twin before and after it."""

    before: KeptTwin
    after: KeptTwin


class TwinTable(CatalogDatabase):
    """Methods of the catalog about twins. Whether the device is there, and who may see it, is the caller's to ask."""

    def find_twin(self, device_id: str, name: str) -> KeptTwin:
        """The twin, or how one that isn't there stands: with its version, empty.

        Raises:
            UsageError: `twin_name_invalid`.
        """
        check_name(name)
        found = self.row(_FIND, (_id(device_id, name), name))
        assert found is not None
        return _kept(device_id, found)

    def get_twin(self, device_id: str, name: str) -> KeptTwin:
        """The twin.

        Raises:
            NotFound: `twin_unknown`. UsageError: `twin_name_invalid`.
        """
        kept = self.find_twin(device_id, name)
        if not kept.twin.is_there:
            raise unknown(name)
        return kept

    def list_twins(self, device_id: str) -> list[KeptTwin]:
        """The device's twins in the order of their names, the one without a name first."""
        kept = [_kept(device_id, row) for row in self.rows(_LIST, (device_id, device_id))]
        return [each for each in kept if each.twin.is_there]

    def wanted_twins(self, device_ids: Sequence[str]) -> list[KeptTwin]:
        """All twins of these devices that somebody wants something of, in the order of devices and names."""
        found = self.rows(_WANTED, (json.dumps(list(device_ids)),))
        return [_kept(row["device_id"], row) for row in found]

    def update_twin(self, device_id: str, name: str, change: TwinChange) -> TwinChanged:
        """Put a change on top of a twin, which is made if there is none.

        Raises:
            Conflict: `twin_version`. LimitExceeded: `twin_too_large`, `twin_count`.
            UsageError: `twin_name_invalid`, `twin_too_deep`.
        """
        now_ms = self._clock.now_ms()
        with self.transaction():
            before = self.find_twin(device_id, name)
            after = before.twin.updated(change, now_ms // 1000)
            if not before.twin.is_there:
                self._make_twin_room(device_id)
            if change.desired is not None:
                self._keep_desired(device_id, name, after, now_ms)
            reported_at_ms = before.reported_at_ms if change.reported is None else now_ms
            self._keep_reported(device_id, name, after, reported_at_ms)
            kept = KeptTwin(
                device_id=device_id,
                name=name,
                twin=after,
                desired_version=before.desired_version if change.desired is None else self.hlc,
                desired_set_at_ms=before.desired_set_at_ms if change.desired is None else now_ms,
                reported_at_ms=reported_at_ms,
            )
            self.touched("twin_reports", device_id)
            return TwinChanged(before=before, after=kept)

    def delete_twin(self, device_id: str, name: str, *, version: int | None = None) -> TwinChanged:
        """Forget what is desired and reported; the version stays, and goes on.

        Raises:
            NotFound: `twin_unknown`. Conflict: `twin_version`. UsageError: `twin_name_invalid`.
        """
        with self.transaction():
            before = self.get_twin(device_id, name)
            after = before.twin.deleted(version)
            self.execute("DELETE FROM twins WHERE twin_id = ?", (_id(device_id, name),))
            self._keep_reported(device_id, name, after, None)
            self.touched("twin_reports", device_id)
            gone = KeptTwin(
                device_id=device_id,
                name=name,
                twin=after,
                desired_version=0,
                desired_set_at_ms=None,
                reported_at_ms=None,
            )
            return TwinChanged(before=before, after=gone)

    def _make_twin_room(self, device_id: str) -> None:
        """Refuse one twin too many, and forget what deleted ones left behind when that becomes too much."""
        if len(self.list_twins(device_id)) >= TWIN_COUNT_MAX:
            raise too_many()
        found = self.row("SELECT count(*) FROM twin_reports WHERE device_id = ?", (device_id,))
        assert found is not None
        if found[0] >= 2 * TWIN_COUNT_MAX:
            self.execute(
                "DELETE FROM twin_reports WHERE device_id = ? AND reported_at_ms IS NULL "
                "AND twin_id NOT IN (SELECT twin_id FROM twins WHERE device_id = ?)",
                (device_id, device_id),
            )

    def _keep_desired(self, device_id: str, name: str, twin: Twin, now_ms: int) -> None:
        self.execute(
            "INSERT INTO twins (twin_id, device_id, name, desired, desired_at, created_at_ms, updated_at_ms, origin, hlc) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (twin_id) DO UPDATE SET desired = excluded.desired, "
            "desired_at = excluded.desired_at, updated_at_ms = excluded.updated_at_ms, origin = excluded.origin, hlc = excluded.hlc",
            (
                _id(device_id, name),
                device_id,
                name,
                text_of(twin.desired),
                text_of(twin.desired_at),
                now_ms,
                now_ms,
                self.origin,
                self.hlc,
            ),
        )

    def _keep_reported(self, device_id: str, name: str, twin: Twin, reported_at_ms: int | None) -> None:
        self.execute(
            "INSERT INTO twin_reports (twin_id, device_id, name, version, reported, reported_at, reported_at_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (twin_id) DO UPDATE SET version = excluded.version, "
            "reported = excluded.reported, reported_at = excluded.reported_at, reported_at_ms = excluded.reported_at_ms",
            (
                _id(device_id, name),
                device_id,
                name,
                twin.version,
                text_of(twin.reported),
                text_of(twin.reported_at),
                reported_at_ms,
            ),
        )


def _id(device_id: str, name: str) -> str:
    # A device's id has no "/" (management/access.py), so the two can't be confused.
    return f"{device_id}/{name}" if name else device_id


def _kept(device_id: str, row: Any) -> KeptTwin:
    has_desired, is_reported = row["desired"] is not None, row["reported_at_ms"] is not None
    twin = Twin(
        version=row["version"] or 0,
        is_there=has_desired or is_reported,
        desired=json.loads(row["desired"]) if has_desired else {},
        desired_at=json.loads(row["desired_at"]) if has_desired else {},
        reported=json.loads(row["reported"]) if is_reported else {},
        reported_at=json.loads(row["reported_at"]) if is_reported else {},
    )
    return KeptTwin(
        device_id=device_id,
        name=row["name"],
        twin=twin,
        desired_version=row["hlc"] or 0,
        desired_set_at_ms=row["updated_at_ms"],
        reported_at_ms=row["reported_at_ms"],
    )
