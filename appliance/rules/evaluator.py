"""Rules over readings: columns in, transitions out.

Theory of operation. `see` is given readings in the order of each series' times; `tick` says how late it is: everything that arrived
at or before `now - lateness` has been seen. Kinds that look at single readings decide in `see`, what depends on the clock or on several series
is put down in `see` and decided in `tick`. Both ways a transition has the time at which it happened by the readings. So the same readings
give the same transitions however they were cut into calls, and whenever ticks came in between.

A difference of huge numbers may be infinite, which is beyond any limit, or nothing, which says nothing: neither is an error.

As of now, and not by position, hold: which device is in which group, how often a device's status says that it reports, and starts of the broker.
While the broker is away nobody can send anything: whoever gives the ticks should not give any then.

Must not know: the log, batches of the store, the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from appliance.core.limits_alarms import RULE_INSTANCE_COUNT_MAX, RULE_MOVES_PER_CALL_MAX
from appliance.management.readings import Quality
from appliance.management.rule import Rule
from appliance.management.rule_transition import AlarmKey, Transition
from appliance.management.watched import (
    Membership,
    PresenceChange,
    Released,
    Scores,
    SeriesNames,
    SilenceScores,
)
from appliance.rules.anomaly import Anomalies
from appliance.rules.batches import Pairs, runs_of, saying_something
from appliance.rules.delays import Delayed, Moves
from appliance.rules.holding import Holding
from appliance.rules.instances import Instances
from appliance.rules.state import load_state, save_state
from appliance.rules.table import NEVER
from appliance.rules.telling import Facts, Telling


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStatistics:
    """What rules do.

    Attributes:
        rules: In force. instances: (rule, series) pairs that are watched.
        left_out: By rule id, how many pairs there was no room for.
        seen: Readings that were looked at since the start. moves: Transitions that were found.
        untold: Transitions in between that were too many at once to tell. active: Pairs that are raised. waiting: Transitions that wait for their explanation.
    """

    rules: int
    instances: int
    left_out: dict[str, int]
    seen: int
    moves: int
    untold: int
    active: int
    waiting: int


class RuleEvaluator:
    """All rules.

    Args:
        names: Of the series.
        lateness_ms: How long after its arrival a reading may be shown: 0 to 60,000.
        instance_count_max: How many (rule, series) pairs there may be.
    """

    def __init__(
        self, names: SeriesNames, *, lateness_ms: int = 0, instance_count_max: int = RULE_INSTANCE_COUNT_MAX
    ) -> None:
        self._names = names
        self._lateness_ms = lateness_ms
        self._count_max = instance_count_max
        self._seen = self._found = self._untold = 0
        self._position = (0, 0)
        self._begin(Instances(names, count_max=instance_count_max), Holding())

    def _begin(self, instances: Instances, holding: Holding) -> None:
        self._instances, self._holding = instances, holding
        self._telling = Telling(instances)
        self._covering: dict[int, list[int]] | None = None

    def use(self, rules: Sequence[Rule]) -> list[AlarmKey]:
        """Let these rules hold from now on; one whose version is unchanged goes on, a new version begins anew.

        Returns:
            What was active of rules that don't hold any more.
        """
        gone = self._gone(self._instances.use(rules))
        self._holding.drop_rules_but({(rule.rule_id, rule.version) for rule in rules})
        return gone

    def members(self, membership: Membership) -> list[AlarmKey]:
        """Let this membership hold from now on. Returns what was active and isn't watched any more."""
        return self._gone(self._instances.members(membership))

    def _gone(self, keys: list[AlarmKey]) -> list[AlarmKey]:
        self._covering = None
        held = {key for key in keys if key in self._holding.held}
        self._holding.drop(set(keys))
        # One that nobody has been told of has not been active for anybody.
        return [key for key in keys if key not in held]

    @np.errstate(over="ignore", invalid="ignore")
    def see(self, readings: Released, scores: Scores | None = None) -> list[Transition]:
        """Readings, sorted by (series, time); each series goes on where it ended.

        Args:
            scores: As long as the readings; None: there are no detectors.
        """
        position = self._position = readings.epoch, readings.seq
        instances = self._instances
        if instances.places.is_behind:
            instances.grow()
            self._covering = None
        if not len(readings):
            return []
        self._seen += len(readings)
        runs = runs_of(readings)
        instances.silences.see(readings, runs)
        telling = saying_something(readings)
        if telling is not readings:
            scores = None if scores is None else _thinned(scores, readings)
            readings, runs = telling, runs_of(telling)
            if not len(readings):
                return []
        instances.comparisons.see(readings, runs, self._lateness_ms)
        found: list[Transition] = []
        for _, kind in instances.measured:
            moves, pairs = kind.see(readings, runs, scores)
            moves = self._bounded(moves)
            facts = self._reasons(kind, moves, pairs, scores) if isinstance(kind, Anomalies) else None
            found += self._telling.transitions(kind.table, moves, position, facts)
        return self._told(found)

    def silence(self, silence: SilenceScores) -> list[Transition]:
        """Findings of the detectors that no reading brought."""
        kind = self._instances.anomalies
        moves, pairs = kind.see_silence(silence)
        facts = self._reasons(kind, moves, pairs, silence)
        return self._told(self._telling.transitions(kind.table, moves, self._position, facts))

    @np.errstate(over="ignore", invalid="ignore")
    def tick(self, now_ms: int) -> list[Transition]:
        """It is so late: what arrived at or before `now_ms - lateness_ms` has been seen. Time doesn't go back: an earlier one changes nothing.

        Returns:
            What came due.
        """
        instances = self._instances
        horizon_ms = now_ms - self._lateness_ms
        if horizon_ms < instances.silences.horizon_ms:
            return []
        found: list[tuple[Delayed, Moves | None]] = []
        silences, events = instances.silences.advance(horizon_ms)
        found += [(instances.silences.table, moves) for moves in silences]
        found.append((instances.fractions.table, instances.fractions.apply(events, horizon_ms)))
        found += [(instances.comparisons.table, moves) for moves in instances.comparisons.advance(now_ms)]
        found.append((instances.repetitions.table, instances.repetitions.lapse(horizon_ms)))
        found.append((instances.connections.table, instances.connections.begin()))
        transitions = [each for table, moves in found for each in self._tell(table, moves)]
        for table in instances.tables.values():
            moves = self._bounded(table.tick(horizon_ms))
            facts = None
            if table is instances.anomalies.table:
                facts = self._reasons(instances.anomalies, moves, None, None)
            transitions += self._tell(table, moves, facts)
        told = self._told(transitions)
        return told + self._count(self._holding.release(horizon_ms, self._fractions_of))

    def _bounded(self, moves: Moves | None) -> Moves | None:
        """No more than can be told in time; of what is bounded already the same."""
        if moves is None or len(moves) <= RULE_MOVES_PER_CALL_MAX:
            return moves
        kept = moves.ends()
        self._untold += len(moves) - len(kept)
        return kept

    def _tell(self, table: Delayed, moves: Moves | None, facts: Facts | None = None) -> list[Transition]:
        """Transitions of a table; those that may be explained by a fraction wait."""
        moves = self._bounded(moves)
        found = self._telling.transitions(table, moves, self._position, facts)
        instances = self._instances
        if table is instances.fractions.table:
            for each in found:
                self._holding.note(each)
        if moves is None or table not in (instances.silences.table, instances.connections.table):
            return found
        told: list[Transition] = []
        # Of a silence the measure is the last arrival.
        began = moves.measure if table is instances.silences.table else moves.since_ms
        for at, transition in enumerate(found):
            device = int(table.device[moves.slots[at]])
            hold_ms = self._hold_ms(device, transition.at_ms - int(began[at])) if transition.is_raised else 0
            if (now := self._holding.put(transition, device, hold_ms)) is not None:
                told.append(now)
        return told

    def _hold_ms(self, device: int, gone_ms: int) -> int:
        """How long what is said of a device waits, which has been gone for so long: until it counts as missing, and an interval for the others."""
        table = self._instances.silences.table
        hold_ms = 0
        for row in self._members_of(device):
            if (limit_ms := int(table.limit_ms[row])) != NEVER:
                interval_ms = round(limit_ms / float(table.times[row]))
                hold_ms = max(hold_ms, max(0, limit_ms - gone_ms) + interval_ms)
        return hold_ms

    def _members_of(self, device: int) -> list[int]:
        """The rows by which a device is a member of fractions."""
        if self._covering is None:
            table = self._instances.silences.table
            self._covering = {}
            for row in np.flatnonzero(table.parent >= 0).tolist():
                self._covering.setdefault(int(table.device[row]), []).append(row)
        return self._covering.get(device, [])

    def _fractions_of(self, device: int) -> list[AlarmKey]:
        silences, fractions = self._instances.silences.table, self._instances.fractions.table
        return [self._instances.key(fractions, int(silences.parent[row])) for row in self._members_of(device)]

    def _reasons(
        self, kind: Anomalies, moves: Moves | None, pairs: Pairs | None, scores: Scores | SilenceScores | None
    ) -> Facts:
        def facts(at: int, slot: int) -> dict[str, object]:
            assert moves is not None
            return kind.reason(slot, int(moves.pair[at]), pairs, scores) if moves.raised[at] else {}

        return facts

    def broker_started(self, at_ms: int) -> None:
        """The broker was started: nobody could send anything before."""
        silences = self._instances.silences
        silences.broker_started_ms = max(silences.broker_started_ms, at_ms)

    def presence(self, changes: Sequence[PresenceChange]) -> list[Transition]:
        """Devices' presence changed, in the order in which it did."""
        instances = self._instances
        devices = instances.places.devices
        said = [(devices.number(each.device_id), each) for each in changes]
        new = {device for device, _ in said if device not in instances.connections.presence}
        if new:
            instances.greet(new)
            self._covering = None
        instances.expect({device: each.expect_ms for device, each in said if each.expect_ms is not None})
        moves = instances.connections.note([(device, each.presence, each.at_ms) for device, each in said])
        return self._told(self._tell(instances.connections.table, moves))

    def _told(self, found: list[Transition]) -> list[Transition]:
        found.sort(key=lambda each: each.at_ms)
        return self._count(found)

    def _count(self, found: list[Transition]) -> list[Transition]:
        self._found += len(found)
        return found

    def save(self) -> bytes:
        """The state, for `load`."""
        return save_state(self._instances, self._holding)

    def load(self, state: bytes) -> None:
        """Take over a saved state: of rules that hold now, in the same version; the others begin anew.

        `use` and `members` were called before, with what held when it was saved.

        Raises:
            StorageError: `rule_state_damaged`: nothing was changed.
        """
        instances = Instances(self._names, count_max=self._count_max)
        instances.membership = self._instances.membership
        holding = load_state(state, instances, list(self._instances.rules.values()))
        self._begin(instances, holding)

    def statistics(self) -> RuleStatistics:
        """As of now. From any thread: what changes meanwhile may be in one figure and not in another."""
        instances = self._instances
        rules, left_out = dict(instances.rules), dict(instances.left_out)
        tables = instances.tables.values()
        return RuleStatistics(
            rules=len(rules),
            instances=sum(table.count for table in tables),
            left_out={rules[number].rule_id: count for number, count in left_out.items() if number in rules},
            seen=self._seen,
            moves=self._found,
            untold=self._untold,
            active=sum(int(np.count_nonzero(table.is_active)) for table in tables),
            waiting=len(self._holding),
        )


def _thinned(scores: Scores, readings: Released) -> Scores:
    """The scores of readings that say something, whose explanations are asked for by their place among all."""
    kept = np.flatnonzero(np.isfinite(readings.values) & (readings.quality != Quality.BAD))
    return Scores(
        score=scores.score[kept], kind=scores.kind[kept], explain=lambda at: scores.explain(int(kept[at]))
    )
