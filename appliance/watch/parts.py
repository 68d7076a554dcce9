"""What the watch puts together, as it sees it: an evaluator of rules and detectors of anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from appliance.management.rule import Rule
from appliance.management.rule_transition import AlarmKey, Transition
from appliance.management.watched import Membership, PresenceChange, Released, Scores, SilenceScores


class Evaluator(Protocol):
    """Rules over released readings (appliance/rules)."""

    def use(self, rules: Sequence[Rule]) -> Sequence[AlarmKey]:
        """From here on by these rules; gives what is not watched any more."""
        ...

    def members(self, membership: Membership) -> object:
        """Where the devices belong from here on."""
        ...

    def see(self, points: Released, scores: Scores | None) -> list[Transition]:
        """Readings, with how unusual they are."""
        ...

    def silence(self, scores: SilenceScores) -> list[Transition]:
        """Series that dropped out."""
        ...

    def tick(self, now_ms: int) -> list[Transition]:
        """Everything that arrived before a time and waited long enough was seen."""
        ...

    def broker_started(self, at_ms: int) -> object: ...

    def presence(self, changes: Sequence[PresenceChange]) -> list[Transition]: ...

    def save(self) -> bytes: ...

    def load(self, data: bytes) -> None: ...

    def statistics(self) -> Any: ...


class Detectors(Protocol):
    """How unusual readings are (appliance/anomalies)."""

    def see(self, points: Released) -> Scores: ...

    def tick(self, now_ms: int) -> SilenceScores: ...

    def broker_started(self, at_ms: int) -> None: ...

    def save(self) -> bytes: ...

    def load(self, data: bytes) -> None: ...

    def statistics(self) -> Any: ...
