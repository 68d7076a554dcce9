"""Which rules are about a device and a metric.

Rules are looked up by the words of their scope (all, a device, a group, a tag) and then by the metric, so that a series costs a few
look-ups however many rules there are. A metric with `*` is compared with each name once.

Must not know: slots, tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from appliance.management.rule import Rule
from appliance.management.rule_conditions import (
    Anomaly,
    Connection,
    MissingFraction,
    NoData,
    NodeWatch,
    Stuck,
)
from appliance.management.watched import Member

_ALL: Final = ("all", "")
_ANY: Final = "*any*"
_EACH_METRIC: Final = (Stuck, Anomaly)
_WHOLE_DEVICE: Final = (NoData, MissingFraction, Connection)


class _Shelf:
    """Rules of one word of a scope."""

    __slots__ = ("exact", "patterns", "whole")

    def __init__(self) -> None:
        self.exact: dict[str, list[int]] = {}
        self.patterns: dict[str, list[int]] = {}
        self.whole: list[int] = []


class RuleIndex:
    """Rules by what they are about.

    Args:
        rules: Number → rule; numbers come back in ascending order.
    """

    def __init__(self, rules: Mapping[int, Rule]) -> None:
        self._shelves: dict[tuple[str, str], _Shelf] = {}
        self._except: dict[int, frozenset[str]] = {}
        self._matches: dict[tuple[str, str], bool] = {}
        for number, rule in rules.items():
            self._put(number, rule)

    def _put(self, number: int, rule: Rule) -> None:
        definition = rule.definition
        condition, scope = definition.condition, definition.scope
        if isinstance(condition, NodeWatch):
            return
        if scope.except_:
            self._except[number] = frozenset(scope.except_)
        words: list[tuple[str, str]] = [_ALL] if scope.all else []
        words += [("device", name) for name in scope.devices]
        words += [("group", name) for name in scope.groups]
        words += [("tag", name) for name in scope.tags]
        for word in dict.fromkeys(words):
            shelf = self._shelves.setdefault(word, _Shelf())
            if definition.metric and "*" not in definition.metric:
                shelf.exact.setdefault(definition.metric, []).append(number)
            elif definition.metric:
                shelf.patterns.setdefault(definition.metric, []).append(number)
            elif isinstance(condition, _EACH_METRIC):
                shelf.patterns.setdefault(_ANY, []).append(number)
            elif isinstance(condition, _WHOLE_DEVICE):
                shelf.whole.append(number)

    def of_series(self, device_id: str, member: Member, metric: str) -> list[int]:
        """Rules about this metric of a device."""
        found: set[int] = set()
        for shelf in self._shelves_of(device_id, member):
            found.update(shelf.exact.get(metric, ()))
            for pattern, numbers in shelf.patterns.items():
                if self._does_match(pattern, metric):
                    found.update(numbers)
        return self._without_exceptions(found, device_id, member)

    def of_device(self, device_id: str, member: Member) -> list[int]:
        """Rules about a device as a whole."""
        found: set[int] = set()
        for shelf in self._shelves_of(device_id, member):
            found.update(shelf.whole)
        return self._without_exceptions(found, device_id, member)

    def _shelves_of(self, device_id: str, member: Member) -> Iterable[_Shelf]:
        if not member.is_watched:
            return
        words = [_ALL, ("device", device_id)]
        words += [("group", name) for name in member.groups]
        words += [("tag", name) for name in member.tags]
        for word in words:
            if (shelf := self._shelves.get(word)) is not None:
                yield shelf

    def _without_exceptions(self, found: set[int], device_id: str, member: Member) -> list[int]:
        """An exception is a device, a group or a tag."""
        mine = {device_id, *member.groups, *member.tags} if self._except else set()
        return sorted(each for each in found if each not in self._except or not self._except[each] & mine)

    def _does_match(self, pattern: str, metric: str) -> bool:
        if pattern == _ANY:
            return True
        known = self._matches.get((pattern, metric))
        if known is None:
            known = self._matches[pattern, metric] = matches(pattern, metric)
        return known


def matches(pattern: str, metric: str) -> bool:
    """Whether a metric's name is what a pattern means: `*` stands for any characters but a dot."""
    return re.fullmatch("[^.]*".join(re.escape(part) for part in pattern.split("*")), metric) is not None
