"""What the pipeline asks of whoever watches readings for what is wrong. Wired in appliance.run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.management.arrived import Arrived
from appliance.management.rule import Rule
from appliance.management.rule_transition import Transition
from appliance.management.watched import SeriesNames
from appliance.pipeline.rule_sets import RuleSets
from appliance.watch.statistics import WatchStatistics


class Watching(Protocol):
    """Rules and anomalies, without a clock or a disk of their own (appliance/watch). In the pipeline's thread."""

    def begin(self, names: SeriesNames, rules: Sequence[Rule], saved: bytes | None) -> None:
        """Forget everything, and go on from what was saved while these rules held; from nothing without.

        Raises:
            StorageError: what was saved can't be used.
        """

    def use(self, rules: Sequence[Rule], *, epoch: int, seq: int) -> list[Transition]:
        """From this position on by these rules; gives what the ones before still found."""

    def see(self, arrived: Arrived, *, epoch: int, seq: int) -> list[Transition]:
        """What a batch brought, which ends at this position of the log."""

    def tick(self, now_ms: int, *, epoch: int, seq: int) -> list[Transition]:
        """Nothing that arrived before a time is to come any more."""

    def save(self) -> bytes:
        """All of the state."""

    def statistics(self) -> WatchStatistics:
        """From any thread."""


@dataclass(slots=True, kw_only=True)
class Watched:
    """What a pipeline needs to have its readings watched.

    Attributes:
        may_tick: Whether the clock may decide: somebody would have brought what devices send.
        when_found: Told, in the event loop, that something is in the outbox. May be set later.
    """

    watch: Watching
    rules: RuleSets
    may_tick: Callable[[], bool] = lambda: True
    when_found: Callable[[], object] = lambda: None
