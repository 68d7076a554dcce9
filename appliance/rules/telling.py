"""Moves of slots as transitions, with what a person reads.

Must not know: how moves were found.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from appliance.management.presence import Presence
from appliance.management.rule_transition import Transition
from appliance.management.rule_words import cleared, raised
from appliance.rules.connection import NUMBER_OF_PRESENCE
from appliance.rules.delays import Delayed, Moves
from appliance.rules.instances import Instances

Facts = Callable[[int, int], dict[str, Any]]
"""(index of the move, slot) → what else is known, for the explanation."""

_LARGEST: Final = float(np.finfo(np.float64).max)
_WORD_OF_PRESENCE: Final = {number: str(presence) for presence, number in NUMBER_OF_PRESENCE.items()}


class Telling:
    """Makes transitions.

    Args:
        instances: Whose slots they are.
    """

    def __init__(self, instances: Instances) -> None:
        self._instances = instances

    def transitions(
        self, table: Delayed, moves: Moves | None, position: tuple[int, int], facts: Facts | None = None
    ) -> list[Transition]:
        """One for each move.

        Args:
            position: (epoch, seq) up to which the log was read.
            facts: None: by the table.
        """
        if moves is None:
            return []
        facts = facts or self._facts_of(table, moves)
        return [self._transition(table, moves, at, position, facts) for at in range(len(moves))]

    def _transition(
        self, table: Delayed, moves: Moves, at: int, position: tuple[int, int], facts: Facts
    ) -> Transition:
        slot, is_raised = int(moves.slots[at]), bool(moves.raised[at])
        key = self._instances.key(table, slot)
        rule = self._instances.rules[int(table.rule[slot])]
        value, measure = _known(moves.value[at]), _known(moves.measure[at])
        if table is self._instances.silences.table or table is self._instances.connections.table:
            measure = None
        at_ms, facts_here = int(moves.at_ms[at]), facts(at, slot)
        if table is self._instances.fractions.table:
            value = float(facts_here["missing"])
        if is_raised:
            explanation = raised(
                rule.definition,
                key.series,
                value=value,
                measure=measure,
                since_ms=int(moves.since_ms[at]),
                at_ms=at_ms,
                facts=facts_here,
            )
        else:
            explanation = cleared(
                rule.definition,
                key.series,
                value=value,
                measure=measure,
                began_ms=int(moves.before_ms[at]),
                at_ms=at_ms,
                facts=facts_here,
            )
        return Transition(
            key=key,
            rule_version=rule.version,
            is_raised=is_raised,
            at_ms=at_ms,
            value=value,
            explanation=explanation,
            epoch=position[0],
            seq=position[1],
        )

    def _facts_of(self, table: Delayed, moves: Moves) -> Facts:
        instances = self._instances
        if table is instances.silences.table:
            return lambda at, slot: self._silence(moves, at, slot)
        if table is instances.fractions.table:
            return lambda at, slot: self._fraction(moves, at, slot)
        if table is instances.connections.table:
            return lambda at, slot: {
                "presence": _WORD_OF_PRESENCE.get(int(moves.measure[at]), str(Presence.LOST))
            }
        return lambda at, slot: {}

    def _silence(self, moves: Moves, at: int, slot: int) -> dict[str, Any]:
        if not moves.raised[at]:
            return {}
        table = self._instances.silences.table
        last_ms = int(moves.measure[at])
        return {
            "last_ms": last_ms,
            "silent_ms": int(moves.at_ms[at]) - last_ms,
            "expected_ms": round(int(table.limit_ms[slot]) / float(table.times[slot])),
        }

    def _fraction(self, moves: Moves, at: int, slot: int) -> dict[str, Any]:
        table, places = self._instances.fractions.table, self._instances.places
        members = int(moves.value[at])
        facts: dict[str, Any] = {"missing": round(float(moves.measure[at]) * members), "members": members}
        if (group := int(table.group[slot])) >= 0:
            group_id = places.groups.names[group]
            facts["group"] = self._instances.membership.group_names.get(group_id) or group_id
        return facts


def _known(value: float) -> float | None:
    """None of NaN; the largest number of infinity, which JSON doesn't have."""
    return None if math.isnan(value) else float(np.clip(value, -_LARGEST, _LARGEST))
