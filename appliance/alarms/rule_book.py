"""The rules in force, as alarms are judged by them: read from the catalog when they changed, kept until then.

Must not know: how rules are evaluated, who changes them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.core import logs
from appliance.core.errors import UsageError
from appliance.core.limits_alarms import ALARM_CARRY_OVER_MS_MAX, ALARM_CARRY_OVER_MS_MIN
from appliance.management.alarm_explaining import may_explain
from appliance.management.rule import RuleDefinition, of_json
from storage.catalog.catalog import Catalog

_MS_PER_S = 1_000
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRule:
    """A rule as it is now.

    Attributes:
        updated_at_ms: When it was changed last, UTC ms.
    """

    rule_id: str
    name: str
    version: int
    definition: RuleDefinition
    is_enabled: bool
    updated_at_ms: int

    @property
    def carried_over_at_ms(self) -> int:
        """When alarms of an older version count as not found by this one, UTC ms."""
        wait_ms = ALARM_CARRY_OVER_MS_MIN + int(self.definition.on_delay_s * _MS_PER_S)
        return self.updated_at_ms + min(wait_ms, ALARM_CARRY_OVER_MS_MAX)


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules by their id, and those whose alarms may explain others.

    Attributes:
        carried_over_at_ms: Of all rules, in order.
    """

    rules: Mapping[str, KnownRule]
    explaining: Mapping[str, KnownRule]
    carried_over_at_ms: Sequence[int]

    def is_carried_over(self, after_ms: int, until_ms: int) -> bool:
        """Whether a rule's time to find again what the version before found ended between these, UTC ms."""
        return bisect_right(self.carried_over_at_ms, after_ms) != bisect_right(
            self.carried_over_at_ms, until_ms
        )

    @staticmethod
    def read(catalog: Catalog, last: RuleBook | None = None) -> RuleBook:
        """As the catalog has them.

        Args:
            last: What was read before: what did not change isn't decoded again.
        """
        known = last.rules if last is not None else {}
        rules = {}
        for row in catalog.rules_of_alarms():
            old = known.get(row.rule_id)
            try:
                definition = (
                    old.definition
                    if old is not None and old.version == row.version
                    else of_json(row.definition)
                )
            except UsageError as error:
                # Nothing is raised for it, and what was raised is withdrawn: nobody could say why it is so.
                _log.error("a rule can't be read", rule=row.rule_id, error=error.message, code=error.code)
                continue
            rules[row.rule_id] = KnownRule(
                rule_id=row.rule_id,
                name=row.name,
                version=row.version,
                definition=definition,
                is_enabled=row.is_enabled,
                updated_at_ms=row.updated_at_ms,
            )
        explaining = {
            rule.rule_id: rule for rule in rules.values() if rule.is_enabled and may_explain(rule.definition)
        }
        return RuleBook(rules, explaining, sorted(rule.carried_over_at_ms for rule in rules.values()))
