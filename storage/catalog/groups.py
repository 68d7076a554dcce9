"""Groups of devices, which people's accounts may be limited to, and the tags of many devices at once.

A scope never widens: a group that an account, a token or a claim names can't be removed, since another one made later under
the same id would then be theirs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from appliance.core.errors import Conflict, LimitExceeded, NotFound
from appliance.core.limits import GROUP_COUNT_MAX
from appliance.management.permissions import Scope
from storage.catalog.device_checks import check_group_id, check_group_words, check_tags
from storage.catalog.device_queries import DeviceQueries
from storage.catalog.rows import Group

_COUNTED: Final = (
    "SELECT g.*, (SELECT count(*) FROM devices WHERE EXISTS "
    "(SELECT 1 FROM json_each(devices.groups) WHERE value = g.group_id)) AS device_count FROM groups g"
)
_STAMPED: Final = "updated_at_ms = ?, origin = ?, hlc = ?"
_NAMED_BY: Final = (
    ("user", "SELECT user_id FROM users, json_each(users.scope) s WHERE s.value = ?"),
    (
        "API token",
        "SELECT name FROM api_tokens, json_each(api_tokens.scope) s WHERE s.value = ? AND revoked_at_ms IS NULL",
    ),
    (
        "claim",
        "SELECT CASE name WHEN '' THEN claim_id ELSE name END FROM claims, json_each(claims.groups) g "
        "WHERE g.value = ? AND revoked_at_ms IS NULL AND use_count < use_count_max",
    ),
)
"""Expired ones count: on a box whose clock has gone back they are valid again."""


class GroupTable(DeviceQueries):
    """Methods of the catalog about groups and tags."""

    def add_group(self, group_id: str, *, name: str = "", description: str = "") -> Group:
        """Make a group without devices.

        Raises:
            UsageError: a bad id, name or description. Conflict: `group_exists`. LimitExceeded: `group_count`.
        """
        check_group_id(group_id)
        name, description = check_group_words(name, description)
        with self.transaction():
            if self.find_group(group_id):
                raise Conflict(
                    f"There is a group “{group_id}” already.", hint="Choose another id.", code="group_exists"
                )
            found = self.row("SELECT count(*) FROM groups")
            assert found
            if found[0] >= GROUP_COUNT_MAX:
                raise LimitExceeded(
                    f"A site has at most {GROUP_COUNT_MAX} groups.",
                    hint="Remove one, or use tags.",
                    code="group_count",
                )
            now_ms = self._clock.now_ms()
            self.execute(
                "INSERT INTO groups (group_id, name, description, created_at_ms, updated_at_ms, origin, hlc) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (group_id, name, description, now_ms, now_ms, self.origin, self.hlc),
            )
            return self.get_group(group_id)

    def edit_group(self, group_id: str, *, name: str | None = None, description: str | None = None) -> Group:
        """Change a group's words; None leaves one as it is.

        Raises:
            NotFound: `group_unknown`. UsageError: a bad name or description.
        """
        with self.transaction():
            group = self.get_group(group_id)
            words = check_group_words(
                group.name if name is None else name,
                group.description if description is None else description,
            )
            if words != (group.name, group.description):
                self.execute(
                    f"UPDATE groups SET name = ?, description = ?, {_STAMPED} WHERE group_id = ?",  # noqa: S608
                    (*words, self._clock.now_ms(), self.origin, self.hlc, group_id),
                )
            return self.get_group(group_id)

    def find_group(self, group_id: str, *, scope: Scope = None) -> Group | None:
        """The group, or None; outside a scope there is none."""
        if scope is not None and group_id not in scope:
            return None
        found = self.row(f"{_COUNTED} WHERE group_id = ?", (group_id,))
        return _group(found) if found else None

    def get_group(self, group_id: str, *, scope: Scope = None) -> Group:
        """The group.

        Raises:
            NotFound: `group_unknown`.
        """
        group = self.find_group(group_id, scope=scope)
        if group is None:
            raise _unknown(group_id)
        return group

    def list_groups(self, *, scope: Scope = None, counted: bool = True) -> list[Group]:
        """All groups in the order of their ids, or those of a scope.

        Args:
            counted: Count their devices, which looks at every device; otherwise `device_count` is 0.
        """
        # One pass over the devices for all groups: a thousand of them would be a thousand passes.
        sql = "SELECT g.value, count(*) FROM devices, json_each(devices.groups) g GROUP BY g.value"
        counts = dict(self.rows(sql)) if counted else {}
        found = self.rows("SELECT *, 0 AS device_count FROM groups ORDER BY group_id")
        return [
            _group(row, counts.get(row["group_id"], 0))
            for row in found
            if scope is None or row["group_id"] in scope
        ]

    def check_groups(self, groups: Sequence[str]) -> None:
        """Refuse groups that there are not.

        Raises:
            NotFound: `group_unknown`.
        """
        known = {
            row[0]
            for row in self.rows(
                "SELECT group_id FROM groups WHERE group_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(groups)),),
            )
        }
        for group_id in groups:
            if group_id not in known:
                raise _unknown(group_id)

    def check_group_unnamed(self, group_id: str) -> None:
        """Refuse to go on while an account, a token or a claim names the group.

        Raises:
            NotFound: `group_unknown`. Conflict: `group_in_use`.
        """
        self.get_group(group_id)
        for what, sql in _NAMED_BY:
            names = [row[0] for row in self.rows(sql, (group_id,))]
            if names:
                shown = ", ".join(f"“{name}”" for name in names[:3]) + (", …" if len(names) > 3 else "")
                raise Conflict(
                    f"The group “{group_id}” is named by the {what}{'s' if len(names) > 1 else ''} {shown}.",
                    hint="Take it out there first: a group made later under this id would be theirs.",
                    code="group_in_use",
                )

    def clean_group(self, group_id: str, *, count_max: int) -> int:
        """Take devices out of a group, as many as that, and return how many it were; 0 when none is left."""
        with self.transaction():
            found = self.rows(
                "SELECT device_id, groups FROM devices WHERE EXISTS "
                "(SELECT 1 FROM json_each(devices.groups) WHERE value = ?) LIMIT ?",
                (group_id, count_max),
            )
            for row in found:
                left = [each for each in json.loads(row["groups"]) if each != group_id]
                self._set_list(row["device_id"], "groups", left)
            return len(found)

    def remove_group(self, group_id: str) -> None:
        """Remove a group that nothing names any more.

        Raises:
            NotFound: `group_unknown`. Conflict: `group_in_use`, `group_has_devices`.
        """
        with self.transaction():
            self.check_group_unnamed(group_id)
            count = self.get_group(group_id).device_count
            if count:
                raise Conflict(
                    f"{count} {'device is' if count == 1 else 'devices are'} in the group “{group_id}”.",
                    hint="Take them out of it, or remove it with force, which does so. Who may see only this group sees them no more.",
                    code="group_has_devices",
                )
            self.execute("DELETE FROM groups WHERE group_id = ?", (group_id,))

    def change_tag(self, tag: str, new: str | None, *, scope: Scope, count_max: int) -> int:
        """Rename a tag on devices, as many as that, or take it off them (None); returns how many it were, 0 when none is left.

        Raises:
            UsageError: `device_tags_invalid`.
        """
        into = [] if new is None else list(check_tags([new]))
        if into == [tag]:
            return 0
        with self.transaction():
            page = self.list_devices(tags=[tag], scope=scope, limit=count_max)
            for device in page.devices:
                changed = [each for old in device.tags for each in (into if old == tag else [old])]
                self._set_list(device.device_id, "tags", list(dict.fromkeys(changed)))
            return len(page.devices)

    def _set_list(self, device_id: str, column: str, values: Sequence[str]) -> None:
        assert column in ("groups", "tags")
        self.execute(
            f"UPDATE devices SET {column} = ?, {_STAMPED} WHERE device_id = ?",  # noqa: S608
            (
                json.dumps(list(values), ensure_ascii=False),
                self._clock.now_ms(),
                self.origin,
                self.hlc,
                device_id,
            ),
        )


def _unknown(group_id: str) -> NotFound:
    return NotFound(
        f"There is no group “{group_id[:100]}”.",
        hint="Look at the list of groups; make it first.",
        code="group_unknown",
    )


def _group(row: Any, device_count: int | None = None) -> Group:
    return Group(
        group_id=row["group_id"],
        name=row["name"],
        description=row["description"],
        created_at_ms=row["created_at_ms"],
        updated_at_ms=row["updated_at_ms"],
        device_count=row["device_count"] if device_count is None else device_count,
        version=row["hlc"],
    )
