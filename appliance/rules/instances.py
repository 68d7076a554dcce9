"""Which slots there are: one for each (rule, series) that a rule is about, made and let go as rules, series, devices and groups change.

A slot that stays keeps its state. There are at most RULE_INSTANCE_COUNT_MAX, weighed by what they keep; what doesn't fit is left out, counted by
rule, and made up for when there is room and something changes.

Must not know: how conditions are evaluated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Final, NamedTuple

import numpy as np

from appliance.core.arrays import I64, Mask
from appliance.core.limits_alarms import RULE_INSTANCE_COUNT_MAX
from appliance.management.rule import Rule
from appliance.management.rule_conditions import (
    Anomaly,
    Comparison,
    Connection,
    MissingFraction,
    NoData,
    Rate,
    Repetition,
    Stuck,
    Threshold,
)
from appliance.management.rule_transition import AlarmKey
from appliance.management.watched import Membership, SeriesNames
from appliance.rules.anomaly import Anomalies
from appliance.rules.batches import indices_of
from appliance.rules.comparison import Comparisons
from appliance.rules.connection import Connections
from appliance.rules.delays import Delayed
from appliance.rules.fraction import Fractions
from appliance.rules.index import RuleIndex
from appliance.rules.measuring import Measuring
from appliance.rules.places import Places
from appliance.rules.pools import pools_of
from appliance.rules.rate import Rates
from appliance.rules.repetition import Repetitions
from appliance.rules.silence import UNKNOWN, Silences
from appliance.rules.stuck import Stucks
from appliance.rules.threshold import Thresholds

_CROSSINGS_PER_WEIGHT: Final = 16


class Wish(NamedTuple):
    """A slot that should be: numbers, -1 for none."""

    rule: int
    series: int
    device: int
    group: int = -1


def weight(rule: Rule) -> int:
    """How many instances one of this rule counts as: what it keeps, in pieces of about 150 bytes."""
    condition = rule.definition.condition
    if isinstance(condition, Repetition):
        return 1 + condition.count // _CROSSINGS_PER_WEIGHT
    return 2 if isinstance(condition, Rate) else 1


class Instances:
    """All slots of all kinds.

    Args:
        names: Of the series.
        count_max: How many slots there may be.
    """

    def __init__(self, names: SeriesNames, *, count_max: int = RULE_INSTANCE_COUNT_MAX) -> None:
        self.places = Places(names)
        self.rules: dict[int, Rule] = {}
        self.left_out: dict[int, int] = {}
        """Rule → how many of its slots don't fit."""
        self.thresholds, self.rates, self.stucks = Thresholds(), Rates(), Stucks()
        self.repetitions, self.anomalies = Repetitions(), Anomalies()
        self.silences, self.fractions = Silences(), Fractions()
        self.comparisons, self.connections = Comparisons(), Connections()
        self.membership = Membership()
        self._count_max = count_max
        self._index = RuleIndex({})
        self._next = 0
        self._fraction_of: dict[tuple[int, int], int] = {}
        """(rule, group) → slot of its fraction."""

    @property
    def measured(self) -> tuple[tuple[type, Measuring], ...]:
        """The kinds that are about single readings, by their condition."""
        return (
            (Threshold, self.thresholds),
            (Rate, self.rates),
            (Stuck, self.stucks),
            (Repetition, self.repetitions),
            (Anomaly, self.anomalies),
        )

    @property
    def tables(self) -> dict[str, Delayed]:
        """All tables by name."""
        return {
            "threshold": self.thresholds.table,
            "rate": self.rates.table,
            "stuck": self.stucks.table,
            "repetition": self.repetitions.table,
            "anomaly": self.anomalies.table,
            "silence": self.silences.table,
            "fraction": self.fractions.table,
            "comparison": self.comparisons.table,
            "connection": self.connections.table,
        }

    @property
    def weight(self) -> int:
        """What all slots together count as."""
        weights = {number: weight(rule) for number, rule in self.rules.items()}
        return sum(
            count * weights[number]
            for table in self.tables.values()
            for number, count in zip(
                *(each.tolist() for each in np.unique(table.rule, return_counts=True)), strict=True
            )
        )

    def use(self, rules: Sequence[Rule]) -> list[AlarmKey]:
        """Let these rules hold. Returns what was active and isn't watched any more."""
        wanted = {(rule.rule_id, rule.version): rule for rule in rules}
        kept = {
            number: wanted.pop((rule.rule_id, rule.version))
            for number, rule in self.rules.items()
            if (rule.rule_id, rule.version) in wanted
        }
        gone = self._drop({number for number in self.rules if number not in kept}, None)
        new = dict(enumerate(wanted.values(), self._next))
        self._next += len(new)
        self.rules = {**kept, **new}
        self._index = RuleIndex(self.rules)
        left_out = {number for number in self.left_out if number in kept}
        self.left_out = {}
        index = RuleIndex(
            {number: rule for number, rule in self.rules.items() if number in new or number in left_out}
        )
        self._populate(index, self._known_devices(), None, from_now=True)
        self._changed()
        return gone

    def adopt(self, rules: Mapping[int, Rule], left_out: Mapping[int, int]) -> None:
        """Take over tables that were filled from outside, whose rules have these numbers; slots of other rules go."""
        self.rules = dict(rules)
        self.renumber_fractions()
        every = {number for table in self.tables.values() for number in np.unique(table.rule).tolist()}
        self._next = max(every | set(rules), default=-1) + 1
        self.left_out = {number: count for number, count in left_out.items() if number in rules}
        for name, table in self.tables.items():
            mine = np.isin(table.rule, np.array(list(rules), np.int64))
            if not mine.all():
                self._keep(name, mine)

    def members(self, membership: Membership) -> list[AlarmKey]:
        """Let these devices be in these groups, with these tags. Returns what was active and isn't watched any more."""
        before, self.membership = self.membership, membership
        ids = before.devices.keys() | membership.devices.keys()
        moved = [each for each in ids if before.of(each) != membership.of(each)]
        if not moved:
            return []
        devices = {self.places.devices.number(each) for each in moved}
        known = self._known_devices()
        wishes = set(self._wishes(self._index, devices & known, None))
        gone = self._drop(set(), (devices, wishes))
        # What didn't fit may fit now, whosever it is.
        again = known if self.left_out else devices & known
        self.left_out = {}
        self._populate(self._index, again, None, from_now=True)
        self._changed()
        return gone

    def settle(self) -> None:
        """Let slots that were filled from outside be those of where devices belong now: some may have moved since they were saved."""
        known = self._known_devices()
        self._drop(set(), (known, set(self._wishes(self._index, known, None))))
        self.left_out = {}
        self._populate(self._index, known, None, from_now=True)
        self._changed()

    def grow(self) -> None:
        """Take over series that are new."""
        if not self.places.is_behind:
            return
        known = self._known_devices()
        new = self.places.grow()
        devices = set(self.places.series_device[new.start :].tolist())
        self._populate(self._index, devices, new, from_now=False, known=known)
        self._changed()

    def greet(self, devices: set[int]) -> None:
        """Devices were heard of in another way than by a reading."""
        self._populate(self._index, devices - self.places.series_of.keys(), range(0), from_now=True)
        self._changed()

    def key(self, table: Delayed, slot: int) -> AlarmKey:
        """What the alarm of a slot is about."""
        series, device, group = int(table.series[slot]), int(table.device[slot]), int(table.group[slot])
        rule = self.rules[int(table.rule[slot])]
        name = self.places.metrics[series] if series >= 0 else ""
        if table is self.fractions.table:
            name = rule.definition.metric
        return AlarmKey(
            rule.rule_id,
            self.places.devices.names[device] if device >= 0 else "",
            self.places.groups.names[group] if group >= 0 else "",
            name,
        )

    def expect(self, expected: Mapping[int, int]) -> None:
        """How often devices say that they report, ms."""
        if self.silences.expect(expected):
            self.fractions.recount(self.silences.table)

    def _known_devices(self) -> set[int]:
        return set(self.places.series_of) | set(self.connections.presence)

    def _wishes(
        self, index: RuleIndex, devices: Iterable[int], series: range | None, known: Set[int] = frozenset()
    ) -> Iterable[Wish]:
        """All slots that should be for these devices; with `series` only for those, and for devices as a whole that are not known."""
        names, metrics = self.places.devices.names, self.places.metrics
        for device in devices:
            member = self.membership.of(names[device])
            whole = index.of_device(names[device], member) if series is None or device not in known else ()
            for rule in whole:
                yield from self._wish(rule, -1, device)
            for each in self.places.series_of.get(device, {}).values():
                if series is None or each in series:
                    for rule in index.of_series(names[device], member, metrics[each]):
                        yield from self._wish(rule, each, device)

    def _wish(self, number: int, series: int, device: int) -> Iterable[Wish]:
        definition = self.rules[number].definition
        condition = definition.condition
        if not isinstance(condition, MissingFraction) or condition.per == "site":
            yield Wish(number, series, device)
            return
        groups = self.membership.of(self.places.devices.names[device]).groups
        if definition.scope.groups:
            groups = groups & frozenset(definition.scope.groups)
        for group in sorted(groups):
            yield Wish(number, series, device, self.places.groups.number(group))

    def _populate(
        self,
        index: RuleIndex,
        devices: set[int],
        series: range | None,
        *,
        from_now: bool,
        known: Set[int] = frozenset(),
    ) -> None:
        """Make the slots that should be and aren't; what is there already stays as it is."""
        wishes = set(self._wishes(index, sorted(devices), series, known))
        if not wishes:
            return
        wishes -= self._there(devices)
        by_rule: defaultdict[int, list[Wish]] = defaultdict(list)
        for wish in sorted(wishes):
            by_rule[wish.rule].append(wish)
        room = self._count_max - self.weight
        for number, mine in by_rule.items():
            fit = max(0, room) // weight(self.rules[number])
            if len(mine) > fit:
                self.left_out[number] = self.left_out.get(number, 0) + len(mine) - fit
            if fit:
                room -= min(len(mine), fit) * weight(self.rules[number])
                self._add(number, mine[:fit], from_now=from_now)

    def _there(self, devices: set[int]) -> set[Wish]:
        found: set[Wish] = set()
        for table in self.tables.values():
            found.update(_wishes_of(table, _of(table, devices)))
        return found

    def _add(self, number: int, wishes: Sequence[Wish], *, from_now: bool) -> None:
        definition = self.rules[number].definition
        condition = definition.condition
        columns = np.array(wishes, np.int64)
        about = {name: columns[:, at] for at, name in enumerate(Wish._fields)}
        delays = {
            "on_ms": round(definition.on_delay_s * 1_000),
            "off_ms": round(definition.off_delay_s * 1_000),
        }
        given: dict[str, I64] = {
            **about,
            **{name: np.full(len(wishes), each) for name, each in delays.items()},
        }
        match condition:
            case NoData() | MissingFraction():
                if isinstance(condition, MissingFraction):
                    parent = [self._fraction(number, condition, wish.group, delays) for wish in wishes]
                    given |= {
                        "parent": np.array(parent),
                        "on_ms": given["on_ms"] * 0,
                        "off_ms": given["off_ms"] * 0,
                    }
                fixed = UNKNOWN if condition.expected_s is None else round(condition.expected_s * 1_000)
                rows = self.silences.table.add(len(wishes), **given, fixed_ms=fixed, times=condition.times)
                # A device that has been there and is new to a rule may be silent already; one that is new is being heard.
                self.silences.watch(rows, from_now=from_now)
            case Comparison():
                self.comparisons.add(condition, **given)
            case Connection():
                slots = self.connections.add(condition, **given)
                self.connections.newcomers.append(slots)
            case _:
                dict(self.measured)[type(condition)].add(condition, **given)

    def _fraction(
        self, number: int, condition: MissingFraction, group: int, delays: Mapping[str, int]
    ) -> int:
        """The slot of a fraction, made when it has its first member."""
        slot = self._fraction_of.get((number, group))
        if slot is None:
            about = {"rule": number, "series": -1, "device": -1, "group": group, **delays}
            columns = {name: np.array([each]) for name, each in about.items()}
            slot = self._fraction_of[number, group] = int(self.fractions.add(condition, **columns)[0])
        return slot

    def _drop(self, rules: set[int], devices: tuple[set[int], set[Wish]] | None) -> list[AlarmKey]:
        """Let go of slots of these rules, and of these devices' slots that are not wished for."""
        gone: list[AlarmKey] = []
        for name, table in self.tables.items():
            drop = np.isin(table.rule, np.array(sorted(rules), np.int64))
            if devices is not None and name != "fraction":
                rows = _of(table, devices[0])
                wished = [wish in devices[1] for wish in _wishes_of(table, rows)]
                drop[rows] |= ~np.array(wished, np.bool_)
            if drop.any():
                # A member of a fraction has no alarm.
                tells = drop & table.is_active
                gone += [self.key(table, slot) for slot in np.flatnonzero(tells).tolist()]
                self._keep(name, ~drop)
        return gone

    def _keep(self, name: str, mask: Mask) -> None:
        {
            **{each: kind.keep for each, kind in (("threshold", self.thresholds), ("rate", self.rates),
               ("stuck", self.stucks), ("repetition", self.repetitions), ("anomaly", self.anomalies))},
            "silence": self.silences.keep,
            "fraction": self.fractions.keep,
            "comparison": self.comparisons.keep,
            "connection": self.connections.keep,
        }[name](mask)  # fmt: skip
        if name == "fraction":
            place = np.cumsum(mask) - 1
            table = self.silences.table
            members = table.parent >= 0
            table.parent[members] = place[table.parent[members]]
            self.renumber_fractions()

    def renumber_fractions(self) -> None:
        """Find the fractions' slots anew."""
        table = self.fractions.table
        keys = zip(table.rule.tolist(), table.group.tolist(), strict=True)
        self._fraction_of = {key: slot for slot, key in enumerate(keys)}

    def _changed(self) -> None:
        for _, kind in self.measured:
            kind.changed()
        self.silences.changed(self.places.series_device)
        self.fractions.recount(self.silences.table)
        pools = pools_of(self.comparisons.table, self.rules, self.places, self.membership)
        self.comparisons.changed(len(self.places.metrics), pools)
        self.connections.changed()


def _wishes_of(table: Delayed, rows: I64) -> Iterable[Wish]:
    """What slots were made for."""
    columns = (table.rule, table.series, table.device, table.group)
    return map(Wish, *(column[rows].tolist() for column in columns))


def _of(table: Delayed, devices: set[int]) -> I64:
    """The slots of some devices."""
    return indices_of(table.device, devices)
