"""Alarms of single devices that wait until it is known whether many are missing at once.

When a site loses its uplink its devices fall silent one after the other, each at its own time, and only when enough of them are missing that is
known. So what says that one device is silent or lost waits for a while, if the device is a member of a fraction; if meanwhile the fraction is
raised, the transition says `explained_by`. Its time is not changed by waiting, and what follows it (that it is over) waits behind it.

Must not know: how fractions are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import Any, Final

import msgspec

from appliance.core.limits_alarms import RULE_HELD_COUNT_MAX
from appliance.management.rule_transition import AlarmKey, Transition
from appliance.rules.table import NEVER

HOLD_MS_MAX: Final = 600_000
"""However seldom a device reports: ten minutes later somebody is told of it."""


class Held(msgspec.Struct, kw_only=True):
    """What waits of one key: that it was raised, and what followed.

    Attributes:
        since_ms, due_ms: From when on a fraction counts as its explanation, and until when.
    """

    device: int
    since_ms: int
    due_ms: int
    transitions: list[Transition]


Episode = tuple[int, int]
"""When a fraction was raised, and when it was over (NEVER: it is active)."""
Fractions = Callable[[int], Iterable[AlarmKey]]
"""Device → the fractions that it is a member of."""


class Holding:
    """What waits, by key, and when fractions were active lately."""

    def __init__(self) -> None:
        self.held: dict[AlarmKey, list[Held]] = {}
        self.episodes: dict[AlarmKey, list[Episode]] = {}

    def __len__(self) -> int:
        return sum(len(each) for each in self.held.values())

    def put(self, transition: Transition, device: int, hold_ms: int) -> Transition | None:
        """Let a transition wait, if it has to; otherwise it is given back."""
        before = self.held.get(transition.key)
        if transition.is_raised and (hold_ms > 0 or before):
            if before and len(before) >= RULE_HELD_COUNT_MAX and not before[-1].transitions[-1].is_raised:
                before[-1].transitions.pop()
                return None
            due_ms = transition.at_ms + min(hold_ms, HOLD_MS_MAX)
            if before:
                due_ms = max(due_ms, before[-1].due_ms)
            held = Held(device=device, since_ms=transition.at_ms, due_ms=due_ms, transitions=[transition])
            self.held.setdefault(transition.key, []).append(held)
            return None
        if before:
            before[-1].transitions.append(transition)
            return None
        return transition

    def note(self, transition: Transition) -> None:
        """A fraction was raised, or is over."""
        mine = self.episodes.setdefault(transition.key, [])
        if transition.is_raised:
            mine.append((transition.at_ms, NEVER))
        elif mine:
            mine[-1] = mine[-1][0], transition.at_ms

    def release(self, horizon_ms: int, fractions: Fractions) -> list[Transition]:
        """What has waited long enough; of each key in its order."""
        found: list[Transition] = []
        for key, waiting in list(self.held.items()):
            due = [held for held in waiting if held.due_ms <= horizon_ms]
            for held in due:
                by = self._explanation(held, fractions(held.device))
                found += [explained(each, by) if each.is_raised else each for each in held.transitions]
            if len(due) == len(waiting):
                del self.held[key]
            else:
                del waiting[: len(due)]
        self._forget(horizon_ms)
        return found

    def _explanation(self, held: Held, fractions: Iterable[AlarmKey]) -> AlarmKey | None:
        for key in fractions:
            for began_ms, over_ms in self.episodes.get(key, ()):
                if began_ms <= held.due_ms and over_ms >= held.since_ms:
                    return key
        return None

    def _forget(self, horizon_ms: int) -> None:
        """Episodes that explain nothing that waits, or may still come."""
        oldest = min(
            (held.since_ms for waiting in self.held.values() for held in waiting), default=horizon_ms
        )
        oldest = min(oldest, horizon_ms) - HOLD_MS_MAX
        for key, mine in list(self.episodes.items()):
            self.episodes[key] = [each for each in mine if each[1] >= oldest]
            if not self.episodes[key]:
                del self.episodes[key]

    def drop_rules_but(self, versions: Set[tuple[str, int]]) -> None:
        """Forget what waits of rules that don't hold in this version any more: (rule id, version)."""
        self.drop(
            {
                key
                for key, waiting in self.held.items()
                if (key.rule_id, waiting[0].transitions[0].rule_version) not in versions
            }
        )

    def drop(self, keys: set[AlarmKey]) -> None:
        """Forget what waits of these, or was a fraction."""
        for key in keys:
            self.held.pop(key, None)
            self.episodes.pop(key, None)


def explained(transition: Transition, by: AlarmKey | None) -> Transition:
    """With `explained_by` in its explanation, if anything explains it."""
    if by is None:
        return transition
    said: dict[str, Any] = {
        **transition.explanation,
        "explained_by": {
            "rule_id": by.rule_id,
            "device_id": by.device_id,
            "group_id": by.group_id,
            "series": by.series,
        },
    }
    return msgspec.structs.replace(transition, explanation=said)
