"""What is to become of an alarm besides what rules find: set aside, standing for itself again, withdrawn.

A Judge sees one instant of the catalog: the rules, the maintenances that are on, the active alarms that explain others, and where the devices in
question belong. What it says depends on nothing else, so judging twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from appliance.alarms.rule_book import KnownRule, RuleBook
from appliance.management import alarm_steps
from appliance.management.alarm import WAITING, Alarm, AlarmMove
from appliance.management.alarm_explaining import (
    covers,
    explains,
    is_explainable,
    is_in_maintenance,
    is_in_scope,
)
from appliance.management.alarm_steps import Aside
from appliance.management.rule import Severity
from appliance.management.rule_conditions import NodeWatch
from appliance.management.rule_transition import AlarmKey
from storage.catalog.alarm_surroundings import Belonging
from storage.catalog.catalog import Catalog
from storage.catalog.maintenances import Maintenance

STRANGER: Final = Belonging(state="active", groups=frozenset(), tags=frozenset())
"""A device that the catalog doesn't know (a mapping's topics may name any): in no group, without tags, and watched."""
RULE_REMOVED: Final = "The rule was removed."
RULE_OFF: Final = "The rule is switched off."
RULE_CHANGED: Final = "The rule was changed, and does not find it any more."
OUT_OF_SCOPE: Final = "The rule is not for this device any more."
DEVICE_GONE: Final[dict[str, str]] = {
    "decommissioned": "The device was decommissioned.",
    "rejected": "The device was rejected.",
}
READINGS_ERASED: Final = "The device's readings were erased."


class Judge:
    """See the module's docstring.

    Args:
        device_ids: The devices of the alarms that it will be asked about.
        wait_ms: How long an alarm waits for an explanation that may come.
        is_caught_up: Whether rules have seen all there is: until then nothing counts as not found by a newer version.
    """

    def __init__(
        self,
        catalog: Catalog,
        book: RuleBook,
        device_ids: Collection[str],
        *,
        now_ms: int,
        wait_ms: int,
        is_caught_up: bool = True,
    ) -> None:
        self._book = book
        self._now_ms = now_ms
        self._wait_ms = wait_ms
        self._is_caught_up = is_caught_up
        self._maintenances: tuple[Maintenance, ...] = catalog.running_maintenances(now_ms)
        known = set(device_ids) - {""}
        self._belongings: Mapping[str, Belonging] = catalog.belongings(known) if known else {}
        self._erased: Mapping[str, int] = catalog.erased_since(known) if known else {}
        self._explaining: dict[str, dict[str, Alarm]] = {}
        """By the group that they are of, "" for none, and by their id: a device asks only for its own groups."""
        for each in catalog.active_alarms_of_rules(book.explaining) if book.explaining else ():
            self.note(each)

    @property
    def suppressors(self) -> frozenset[str]:
        """What may suppress alarms now: maintenances that are on, active alarms that explain others."""
        explaining = (alarm_id for alarms in self._explaining.values() for alarm_id in alarms)
        return frozenset(explaining) | {each.maintenance_id for each in self._maintenances}

    def note(self, alarm: Alarm) -> None:
        """An alarm has moved within this instant."""
        if alarm.rule_id not in self._book.explaining:
            return
        of_group = self._explaining.setdefault(alarm.group_id, {})
        if alarm.is_active:
            of_group[alarm.alarm_id] = alarm
        else:
            of_group.pop(alarm.alarm_id, None)

    def aside_at_raise(
        self,
        rule: KnownRule,
        severity: Severity,
        key: AlarmKey,
        explanation: Mapping[str, Any],
        *,
        at_ms: int,
    ) -> Aside | None:
        """What sets a new alarm aside from the beginning.

        Args:
            at_ms: When it began, by the readings: whoever found it may have waited for an explanation already.
        """
        found = self._suppressing(rule, severity, key, explanation)
        if found:
            return Aside(by=found[0])
        return self._waiting(rule, severity, key, explanation, since_ms=at_ms)

    def moves_of(self, alarm: Alarm) -> list[AlarmMove]:
        """What is to become of an alarm now; nothing where it is as it should be."""
        why = self.why_gone(alarm)
        moves = alarm_steps.withdrawn(alarm, now_ms=self._now_ms, why=why) if why else []
        if moves:
            return moves
        if alarm.shelved_until_ms is not None and alarm.shelved_until_ms <= self._now_ms:
            # The suppression is looked at first: what is explained by now does not stand for itself in between.
            moves = self._set_aside(alarm)
            alarm = moves[-1].after if moves else alarm
            return moves + alarm_steps.unshelved(alarm, now_ms=self._now_ms)
        return self._set_aside(alarm)

    def why_gone(self, alarm: Alarm) -> str:
        """Why nobody will say that an alarm is over, "" where somebody will."""
        rule = self._book.rules.get(alarm.rule_id)
        if rule is None:
            return RULE_REMOVED
        if not rule.is_enabled:
            return RULE_OFF
        if alarm.device_id:
            belonging = self._belongings.get(alarm.device_id, STRANGER)
            if belonging.state in DEVICE_GONE:
                return DEVICE_GONE[belonging.state]
            if self._erased.get(alarm.device_id, 0) > alarm.noted_at_ms:
                return READINGS_ERASED
            if not is_in_scope(
                rule.definition.scope, alarm.device_id, belonging.groups, belonging.tags
            ) and not isinstance(rule.definition.condition, NodeWatch):
                return OUT_OF_SCOPE
        # What the node watches of itself is compared with the new limit within seconds: it is cleared if it is over.
        is_old = (
            alarm.is_active
            and alarm.rule_version < rule.version
            and not isinstance(rule.definition.condition, NodeWatch)
        )
        return (
            RULE_CHANGED if is_old and self._is_caught_up and self._now_ms >= rule.carried_over_at_ms else ""
        )

    def _set_aside(self, alarm: Alarm) -> list[AlarmMove]:
        rule = self._book.rules.get(alarm.rule_id)
        if rule is None or not alarm.is_active:
            return []
        found = self._suppressing(rule, alarm.severity, alarm.key, alarm.explanation)
        if found:
            by = alarm.suppressed_by if alarm.suppressed_by in found else found[0]
            return alarm_steps.suppressed(alarm, Aside(by=by), now_ms=self._now_ms)
        if alarm.suppressed_by == WAITING:
            is_over = alarm.suppressed_until_ms is None or alarm.suppressed_until_ms <= self._now_ms
            return alarm_steps.standing(alarm, now_ms=self._now_ms) if is_over else []
        if not alarm.suppressed_by:
            return []
        # What explained it is over, and it is there still: its device may be about to come back like the others did.
        waiting = self._waiting(rule, alarm.severity, alarm.key, alarm.explanation, since_ms=self._now_ms)
        if waiting is not None:
            return alarm_steps.suppressed(alarm, waiting, now_ms=self._now_ms)
        return alarm_steps.standing(alarm, now_ms=self._now_ms)

    def _suppressing(
        self, rule: KnownRule, severity: Severity, key: AlarmKey, explanation: Mapping[str, Any]
    ) -> list[str]:
        """What suppresses an alarm: maintenances first, then alarms that explain it."""
        if isinstance(rule.definition.condition, NodeWatch):
            return []  # A full disk is told of whatever is being worked on.
        belonging = self._belongings.get(key.device_id, STRANGER)
        found = [
            each.maintenance_id
            for each in self._maintenances
            if is_in_maintenance(each.scope, key.device_id, key.group_id, belonging.groups, belonging.tags)
        ]
        if not key.device_id or not is_explainable(rule.definition, explanation):
            return found
        for group_id in ("", *sorted(belonging.groups)):
            for alarm in self._explaining.get(group_id, {}).values():
                definition = self._book.explaining[alarm.rule_id].definition
                if explains(definition, group_id, severity, key.device_id, belonging.groups, belonging.tags):
                    found.append(alarm.alarm_id)
        return found

    def _waiting(
        self,
        rule: KnownRule,
        severity: Severity,
        key: AlarmKey,
        explanation: Mapping[str, Any],
        *,
        since_ms: int,
    ) -> Aside | None:
        """Whether an alarm may yet be explained, and until when it waits for that."""
        until_ms = since_ms + self._wait_ms
        if until_ms <= self._now_ms or not key.device_id or not is_explainable(rule.definition, explanation):
            return None
        belonging = self._belongings.get(key.device_id, STRANGER)
        if any(
            covers(each.definition, severity, key.device_id, belonging.groups, belonging.tags)
            for each in self._book.explaining.values()
        ):
            # A device's clock may be ahead: nothing waits for longer than was said.
            return Aside(by=WAITING, until_ms=min(until_ms, self._now_ms + self._wait_ms))
        return None
