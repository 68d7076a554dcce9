"""Rules as people wrote them, and from which record of this node's log on each of their versions holds.

A change is two things in one transaction: the rule as it is now (replicated), and a row of rule_versions for this node. Whoever
evaluates rules reads only the second: what holds for a record never changes afterwards.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from appliance.core.errors import Conflict, LimitExceeded, NotFound, StorageError, UsageError
from appliance.core.ids import RandomBytes
from appliance.core.limits_alarms import RULE_COUNT_MAX, RULE_VERSION_COUNT_MAX
from appliance.management.rule import Rule, RuleDefinition, check, of_json, to_json
from storage.catalog.database import CatalogDatabase

_ID_BYTES: Final = 6
Position = tuple[int, int]
"""(epoch, sequence) of the first record that a change holds for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenRule:
    """A rule with what the catalog adds to it.

    Attributes:
        version: Of its definition. row_version: Changes with everything, for If-Match.
        is_built_in: Homeport brought it: it can be changed and switched off, not removed.
    """

    rule_id: str
    name: str
    version: int
    definition: RuleDefinition
    is_enabled: bool
    is_built_in: bool
    created_by: str
    created_at_ms: int
    updated_at_ms: int
    row_version: int

    def as_rule(self) -> Rule:
        return Rule(rule_id=self.rule_id, version=self.version, name=self.name, definition=self.definition)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVersion:
    """What holds for a rule from a position of the log on.

    Attributes:
        number: Counts the changes of all rules of this node, from 1.
        definition: None: it is not evaluated from there on.
    """

    number: int
    rule_id: str
    name: str
    version: int
    epoch: int
    from_seq: int
    definition: RuleDefinition | None
    changed_by: str
    changed_at_ms: int


class RuleTable(CatalogDatabase):
    """Methods of the catalog about rules."""

    def list_rules(self) -> list[WrittenRule]:
        """All rules by name. Raises StorageError: `rule_unreadable`, as whatever reads one."""
        return [_written(row) for row in self.rows("SELECT * FROM rules ORDER BY name")]

    def rules_of_kind(self, kind: str) -> list[WrittenRule]:
        """Those whose condition is of a kind and that are switched on. Raises as list_rules."""
        found = self.rows(
            "SELECT * FROM rules WHERE is_enabled AND definition ->> '$.condition.kind' = ? ORDER BY name",
            (kind,),
        )
        return [_written(row) for row in found]

    def get_rule(self, rule_id: str) -> WrittenRule:
        """Raises NotFound: `rule_unknown`."""
        found = self.row("SELECT * FROM rules WHERE rule_id = ?", (rule_id,))
        if found is None:
            raise NotFound(
                f"There is no rule “{rule_id[:100]}”.",
                hint="Look at the list of rules; perhaps somebody removed it.",
                code="rule_unknown",
            )
        return _written(found)

    def rule_named(self, name: str) -> WrittenRule | None:
        """The rule of that name."""
        found = self.row("SELECT * FROM rules WHERE name = ?", (name,))
        return None if found is None else _written(found)

    def add_rule(
        self,
        name: str,
        definition: RuleDefinition,
        *,
        position: Position,
        by: str,
        is_enabled: bool = True,
        built_in_id: str = "",
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> WrittenRule:
        """Add a rule; it holds from `position` on.

        Args:
            built_in_id: Its id when Homeport brings it; the same on every node.
        Raises:
            UsageError: `rule_invalid`. LimitExceeded: `rule_count`, `rule_version_count`. Conflict: `rule_name_taken`.
        """
        check(name, definition)
        with self.transaction():
            if self._count("rules") >= RULE_COUNT_MAX:
                raise LimitExceeded(
                    f"There are {RULE_COUNT_MAX} rules already.",
                    hint="Remove one, or let one rule with groups or tags do the work of several.",
                    code="rule_count",
                )
            self._expect_name(name)
            rule_id = built_in_id or random_bytes(_ID_BYTES).hex()
            now_ms = self._clock.now_ms()
            self.execute(
                "INSERT INTO rules (rule_id, name, version, definition, is_enabled, is_built_in, created_by, "
                "created_at_ms, updated_at_ms, origin, hlc) VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    rule_id,
                    name,
                    to_json(definition),
                    is_enabled,
                    bool(built_in_id),
                    by,
                    now_ms,
                    now_ms,
                    self.origin,
                    self.hlc,
                ),
            )
            made = self.get_rule(rule_id)
            self._put_version(made, made.definition if is_enabled else None, position, by)
            return made

    def edit_rule(
        self,
        rule_id: str,
        *,
        position: Position,
        by: str,
        name: str | None = None,
        definition: RuleDefinition | None = None,
        is_enabled: bool | None = None,
    ) -> WrittenRule:
        """Change a rule; what isn't given stays. Another definition is a new version, which begins anew from `position` on.

        Raises:
            NotFound: `rule_unknown`. Otherwise as add_rule.
        """
        with self.transaction():
            before = self.get_rule(rule_id)
            new_name = before.name if name is None else name
            new = before.definition if definition is None else definition
            enabled = before.is_enabled if is_enabled is None else is_enabled
            check(new_name, new)
            if new_name != before.name:
                self._expect_name(new_name)
            version = before.version + (new != before.definition)
            if (new_name, version, enabled) == (before.name, before.version, before.is_enabled):
                return before
            self.execute(
                "UPDATE rules SET name = ?, version = ?, definition = ?, is_enabled = ?, updated_at_ms = ?, origin = ?, "
                "hlc = ? WHERE rule_id = ?",
                (
                    new_name,
                    version,
                    to_json(new),
                    enabled,
                    self._clock.now_ms(),
                    self.origin,
                    self.hlc,
                    rule_id,
                ),
            )
            after = self.get_rule(rule_id)
            self._put_version(after, new if enabled else None, position, by)
            return after

    def remove_rule(self, rule_id: str, *, position: Position, by: str) -> None:
        """Remove a rule; its alarms are withdrawn by whoever evaluates rules.

        Raises:
            NotFound: `rule_unknown`. Conflict: `rule_built_in`.
        """
        with self.transaction():
            before = self.get_rule(rule_id)
            if before.is_built_in:
                raise Conflict(
                    f"“{before.name}” came with Homeport and can't be removed.",
                    hint="Switch it off instead.",
                    code="rule_built_in",
                )
            self._put_version(before, None, position, by)
            self.execute("DELETE FROM rules WHERE rule_id = ?", (rule_id,))

    def follow_rules(self, position: Position) -> int:
        """Have what other nodes changed of rules hold here from `position` on; how many rules that were.

        Raises:
            LimitExceeded: `rule_version_count`.
        """
        changed = 0
        with self.transaction():
            newest = {
                row["rule_id"]: row
                for row in self.rows(
                    "SELECT rule_id, version, name, definition, max(number) FROM rule_versions GROUP BY rule_id"
                )
            }
            rules = {row["rule_id"]: row for row in self.rows("SELECT * FROM rules")}
            for rule_id in sorted(rules.keys() | newest.keys()):
                row, last = rules.get(rule_id), newest.get(rule_id)
                text = row["definition"] if row is not None and row["is_enabled"] else ""
                if (
                    last is not None
                    and last["definition"] == text
                    and (row is None or last["name"] == row["name"])
                ):
                    continue
                shown = row if row is not None else last
                assert shown is not None
                self._put_text(rule_id, shown["version"], shown["name"], text, position, "another node")
                changed += 1
        return changed

    def list_rule_versions(self, *, after: int = 0) -> list[RuleVersion]:
        """What changed since the change `after`, in order."""
        return self._versions("WHERE number > ?", (after,))

    def rule_history(self, rule_id: str) -> list[RuleVersion]:
        """A rule's versions as this node knows them, the newest first; of a removed one as well."""
        return self._versions("WHERE rule_id = ?", (rule_id,))[::-1]

    def forget_rule_versions(self, first_seq: int) -> int:
        """Remove versions that were over before the log's first record, when there are very many.

        Returns:
            How many went.
        """
        with self.transaction():
            if self._count("rule_versions") < RULE_VERSION_COUNT_MAX:
                return 0
            return self.execute(
                "DELETE FROM rule_versions WHERE EXISTS (SELECT 1 FROM rule_versions later WHERE later.rule_id = "
                "rule_versions.rule_id AND later.number > rule_versions.number AND later.from_seq <= ?)",
                (first_seq,),
            )

    def _versions(self, where: str, values: Sequence[Any]) -> list[RuleVersion]:
        found = self.rows(f"SELECT * FROM rule_versions {where} ORDER BY number", values)  # noqa: S608
        return [
            RuleVersion(
                number=row["number"],
                rule_id=row["rule_id"],
                name=row["name"],
                version=row["version"],
                epoch=row["epoch"],
                from_seq=row["from_seq"],
                definition=_read(row) if row["definition"] else None,
                changed_by=row["changed_by"],
                changed_at_ms=row["changed_at_ms"],
            )
            for row in found
        ]

    def _put_version(
        self, rule: WrittenRule, definition: RuleDefinition | None, position: Position, by: str
    ) -> None:
        text = "" if definition is None else to_json(definition)
        self._put_text(rule.rule_id, rule.version, rule.name, text, position, by)

    def _put_text(
        self, rule_id: str, version: int, name: str, definition: str, position: Position, by: str
    ) -> None:
        count = self._count("rule_versions")
        newest = self.row("SELECT coalesce(max(number), 0) AS number FROM rule_versions")
        assert newest is not None
        if count >= RULE_VERSION_COUNT_MAX:
            raise LimitExceeded(
                f"Rules were changed {count} times, and the log still has readings from before.",
                hint="Change them again when the log has moved on, and several of them at once by an import.",
                code="rule_version_count",
            )
        self.execute(
            "INSERT INTO rule_versions (rule_id, version, number, name, epoch, from_seq, definition, changed_by, "
            "changed_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                rule_id,
                version,
                newest["number"] + 1,
                name,
                *position,
                definition,
                by,
                self._clock.now_ms(),
            ),
        )

    def _count(self, table: Literal["rules", "rule_versions"]) -> int:
        found = self.row(f"SELECT count(*) AS count FROM {table}")  # noqa: S608
        return 0 if found is None else int(found["count"])

    def _expect_name(self, name: str) -> None:
        if self.rule_named(name) is not None:
            raise Conflict(
                f"There is a rule “{name}” already.", hint="Give it another name.", code="rule_name_taken"
            )


def _written(row: Any) -> WrittenRule:
    return WrittenRule(
        rule_id=row["rule_id"],
        name=row["name"],
        version=row["version"],
        definition=_read(row),
        is_enabled=bool(row["is_enabled"]),
        is_built_in=bool(row["is_built_in"]),
        created_by=row["created_by"],
        created_at_ms=row["created_at_ms"],
        updated_at_ms=row["updated_at_ms"],
        row_version=row["hlc"],
    )


def _read(row: Any) -> RuleDefinition:
    try:
        return of_json(row["definition"])
    except UsageError as error:
        raise StorageError(
            f"The rule {row['rule_id']} can't be read. {error.message}",
            hint="A newer Homeport wrote it: start that one again.",
            code="rule_unreadable",
        ) from error
