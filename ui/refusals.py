"""Refusals on their way to the audit: the first of a kind is an entry at once, those like it become one more with their number.

So whoever is refused again and again neither goes unseen nor fills the disk. What is counted and not yet written is in memory: it
comes with the next refusal after REFUSAL_FOLD_MS, and is lost when the process ends.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.core.clock import Clock
from appliance.core.limits import REFUSAL_FOLD_COUNT_MAX, REFUSAL_FOLD_MS
from appliance.management.audit import ActorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What one entry tells of. Two that are equal are of one kind.

    Attributes:
        actor: User name, "" for somebody unknown.
        address: The peer's, or its network.
        object_id: A user's name or "" for unknown: never what somebody typed.
        reason: A word, such as password_wrong.
    """

    action: str
    actor: str = ""
    actor_kind: ActorKind = "nobody"
    address: str
    object_kind: str
    object_id: str = ""
    reason: str


@dataclass(frozen=True, slots=True)
class Folded:
    """A refusal to write down: itself and how many like it were not."""

    refusal: Refusal
    more_count: int

    @property
    def detail(self) -> str:
        """In words, for the entry."""
        if not self.more_count:
            return self.refusal.reason
        return f"{self.refusal.reason}, {self.more_count} more since the entry before"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalStatistics:
    """Numbers since the start.

    Attributes:
        by_reason: Refusals by their reason's word.
        folded_total: Of them those that have no entry of their own.
    """

    by_reason: Mapping[str, int]
    folded_total: int


@dataclass(slots=True)
class _Kind:
    since_mono_ms: int
    more_count: int = 0


class RefusalFold:
    """See the module's docstring. Used from one event loop."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._kinds: OrderedDict[Refusal, _Kind] = OrderedDict()
        self._folded_total = 0
        self._by_reason: Counter[str] = Counter()

    def take(self, refusal: Refusal) -> list[Folded]:
        """Count a refusal; returns what to write down now: itself if it is new, and others whose time is up."""
        now_ms = self._clock.mono_ms()
        self._by_reason[refusal.reason] += 1
        due = self.due()
        kind = self._kinds.get(refusal)
        if kind is None and len(self._kinds) >= REFUSAL_FOLD_COUNT_MAX:
            refusal = Refusal(
                action=refusal.action, address="", object_kind=refusal.object_kind, reason="many_kinds"
            )
            kind = self._kinds.get(refusal)
        if kind is None:
            self._kinds[refusal] = _Kind(now_ms)
            return [*due, Folded(refusal, 0)]
        kind.more_count += 1
        self._folded_total += 1
        return due

    def statistics(self) -> RefusalStatistics:
        return RefusalStatistics(by_reason=dict(self._by_reason), folded_total=self._folded_total)

    def due(self) -> list[Folded]:
        """Kinds whose time is up and that were repeated; the table is in the order in which they began."""
        now_ms = self._clock.mono_ms()
        due = []
        while self._kinds:
            refusal, kind = next(iter(self._kinds.items()))
            if now_ms - kind.since_mono_ms < REFUSAL_FOLD_MS:
                break
            del self._kinds[refusal]
            if kind.more_count:
                due.append(Folded(refusal, kind.more_count))
        return due
