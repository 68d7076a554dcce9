"""Which rules hold at a position of the log: shared by the pipeline, which shows readings to them, and whoever changes them.

As for mappings, a change holds reading up at the head (head_gate.py), so that no reading is evaluated by rules of later on, and a
replay evaluates each by the rules of its time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from appliance.management.rule import Rule
from appliance.pipeline.head_gate import HeadGate
from storage.catalog.rules import RuleVersion


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules that hold somewhere.

    Attributes:
        number: Of the last change that is in it; 0 before the first.
    """

    number: int = 0
    rules: tuple[Rule, ...] = ()


NO_RULES: Final = RuleSet()


class RuleSets:
    """From any thread.

    Args:
        versions: All that the catalog has, in order.
    """

    def __init__(self, versions: Sequence[RuleVersion] = ()) -> None:
        self.gate = HeadGate()
        self._versions: list[RuleVersion] = list(versions)
        self._positions = [(each.epoch, each.from_seq) for each in versions]
        self._last = NO_RULES
        self._last_count = 0

    @property
    def newest_number(self) -> int:
        return self._versions[-1].number if self._versions else 0

    @contextmanager
    def reading(self, epoch: int, seq: int) -> Iterator[tuple[RuleSet, int | None]]:
        """While blocks from this position on are read: which rules hold, and the first sequence not to be read now."""
        with self.gate.reading() as held_at:
            count = bisect_right(self._positions, (epoch, seq))
            later = [at for _, at in self._positions[count : count + 1] if at > seq]
            ends = [*later, *(() if held_at is None else (held_at,))]
            yield self._set(count), min(ends, default=None)

    def add(self, new: Sequence[RuleVersion]) -> None:
        """Further changes, in order; called by who holds the gate."""
        for each in new:
            self._versions.append(each)
            self._positions.append((each.epoch, each.from_seq))

    def _set(self, count: int) -> RuleSet:
        """The rules after the first `count` changes; the last answer is remembered, since positions follow one another."""
        if count != self._last_count or not count:
            rules: dict[str, Rule] = {}
            for each in self._versions[:count]:
                if each.definition is None:
                    rules.pop(each.rule_id, None)
                    continue
                rules[each.rule_id] = Rule(
                    rule_id=each.rule_id, version=each.version, name=each.name, definition=each.definition
                )
            number = self._versions[count - 1].number if count else 0
            self._last, self._last_count = RuleSet(number, tuple(rules.values())), count
        return self._last
