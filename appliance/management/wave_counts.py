"""How the executions of a wave, or of a rollout, stand: what gates and stop rules decide by. Pure.

Must not know: time, tables, devices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from appliance.management.executions import ENDED, FAILURES, NEEDS_A_HAND, State

_SAYS_NOTHING: Final = frozenset({State.CANCELED, State.SUPERSEDED, State.REMOVED, State.NOOP, State.QUEUED})
"""Whoever is or ended here never tried the artifact, as far as its wave is concerned."""
UPDATING: Final = frozenset(
    {State.NOTIFIED, State.DOWNLOADING, State.DOWNLOADED, State.VERIFIED, State.WAIT_WINDOW, State.INSTALLING,
     State.REBOOTING, State.TESTING, State.UNCONFIRMED}
)  # fmt: skip
"""On the way there: these count against the cap on concurrency, as do those that may start at any moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Executions that stand alike, and how many.

    Attributes:
        is_admitted: Whether it may start, in QUEUED.
        is_started: It was past QUEUED at some time. before_pause: Where PAUSED came from, "" elsewhere.
        is_touched: Something was written to its device's other slot.
        is_over: Nothing more happens by itself (`ended_at_ms`).
        needs_hand: It is in the work queue.
        has_moved_on: Its device has begun a later update since: what it runs is not this rollout's any more.
    """

    wave: int
    state: State
    before_pause: str = ""
    is_admitted: bool = False
    is_started: bool = False
    is_touched: bool = False
    is_over: bool = False
    needs_hand: bool = False
    has_moved_on: bool = False
    count: int = 1

    @property
    def is_failure(self) -> bool:
        """Whether it counts against its wave. A download that is tried again by itself did no harm yet."""
        if self.state is State.FAILED:
            return self.is_over or self.is_touched
        if self.state is State.TIMED_OUT:
            return self.is_started  # Whoever was never there says nothing about the artifact.
        return self.state in FAILURES

    @property
    def has_tried(self) -> bool:
        """Whether it counts as started: past QUEUED, and not taken back before it could show anything."""
        if self.state is State.QUEUED:
            return False
        if self.state is State.PAUSED:
            return self.before_pause != State.QUEUED
        if self.state is State.TIMED_OUT:
            return self.is_started
        return self.state not in _SAYS_NOTHING

    @property
    def runs_it(self) -> bool:
        """Whether its device runs the artifact because of it."""
        return self.state is State.SUCCEEDED and not self.has_moved_on

    @property
    def is_settled(self) -> bool:
        """Whether nobody has to wait for it: it ended, or a person has to see to it."""
        return self.is_over or self.state in ENDED or self.state in NEEDS_A_HAND or self.needs_hand

    @property
    def is_updating(self) -> bool:
        """Whether it takes one of the places that the cap on concurrency leaves."""
        if self.state is State.QUEUED:
            return self.is_admitted
        if self.state is State.FAILED:
            return not self.is_over
        if self.state is State.PAUSED:
            return self.is_admitted or self.before_pause != State.QUEUED
        return self.state in UPDATING


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many executions there are, and of them: started, succeeded, failed, not settled."""

    total: int = 0
    started: int = 0
    succeeded: int = 0
    failed: int = 0
    open: int = 0
    updating: int = 0

    @classmethod
    def of(cls, standings: Iterable[Standing]) -> Counts:
        """The sums over what stands alike."""
        total = started = succeeded = failed = open_ = updating = 0
        for each in standings:
            total += each.count
            started += each.count * each.has_tried
            succeeded += each.count * (each.state is State.SUCCEEDED)
            failed += each.count * each.is_failure
            open_ += each.count * (not each.is_settled)
            updating += each.count * each.is_updating
        return cls(
            total=total, started=started, succeeded=succeeded, failed=failed, open=open_, updating=updating
        )
