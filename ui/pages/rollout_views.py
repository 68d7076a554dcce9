"""What the templates of rollouts, executions and the work queue are given: plain frozen values, ready to print. Times are UTC ms."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.management.executions import State
from ui.pages.addresses import device_url, rollout_url
from ui.pages.execution_words import words_of
from ui.pages.looks import Look
from ui.pages.rollout_words import Bar, rollout_look


@dataclass(frozen=True, slots=True, kw_only=True)
class ActView:
    """A button. `key` is what the form sends; one that `asks` leads to a page that says what will happen and wants it typed."""

    key: str
    label: str
    asks: bool = False
    is_primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """A rollout as a card or a row.

    Attributes:
        stands: Where it is, in words: "Wave 2 of 4". gate: What the next wave waits for; "" where nothing is waited for.
        soak_until_ms: While it soaks. reason: Why it is paused, stopped or rolls back; "" for no reason.
        acts: What whoever looks may do. cannot: Why they may not approve, where that is what it waits for.
    """

    rollout_id: str
    name: str
    state: str
    artifact: str
    artifact_url: str
    bar: Bar
    stands: str
    gate: str = ""
    soak_until_ms: int | None = None
    reason: str = ""
    hand_count: int = 0
    created_by: str = ""
    created_at_ms: int
    approved_by: str = ""
    approved_at_ms: int | None = None
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    acts: tuple[ActView, ...] = ()
    cannot: str = ""

    @property
    def url(self) -> str:
        return rollout_url(self.rollout_id)

    @property
    def look(self) -> Look:
        return rollout_look(self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutsView:
    """The page of all rollouts."""

    live: tuple[RolloutView, ...]
    waiting: tuple[RolloutView, ...]
    drafts: tuple[RolloutView, ...]
    ended: tuple[RolloutView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveView:
    """A wave of a rollout. `look` says whether it was, is or comes."""

    number: int
    reach: str
    look: Look
    bar: Bar
    started: int
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionView:
    """One device in one rollout, as a row.

    Attributes:
        error: What went wrong, in words; "" for nothing. progress: Bytes that it has, in words.
    """

    execution_id: str
    device_id: str
    rollout_id: str
    rollout_name: str = ""
    wave: int
    state: str
    since_ms: int
    from_version: str
    to_version: str
    attempt: int
    max_attempts: int
    rollback_attempt_count: int
    max_rollback_attempts: int
    needs_hand: bool = False
    error: str = ""
    progress: str = ""
    started_at_ms: int | None = None
    ended_at_ms: int | None = None

    @property
    def device_url(self) -> str:
        return device_url(self.device_id)

    @property
    def rollout_url(self) -> str:
        return rollout_url(self.rollout_id)

    @property
    def look(self) -> Look:
        return words_of(self.state).look

    @property
    def says(self) -> str:
        return words_of(self.state).says

    @property
    def next(self) -> str:
        if self.state == State.FAILED and self.ended_at_ms is not None:
            return "No attempt is left. Mend the cause and roll it out to this device again."
        return words_of(self.state).next


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveView:
    """A move of an execution, or a report that moved nothing."""

    at_ms: int
    what: str
    source: str
    look: Look
    attempt: int
    actor: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenView:
    """Whom a rollout would get, while it is being made.

    Attributes:
        left_out: Why, how many, and the first of them by id.
        problem: Why that can't be said; "" when it can.
    """

    chosen: int = 0
    already: int = 0
    wave_sizes: tuple[int, ...] = ()
    left_out: tuple[tuple[str, int, tuple[str, ...]], ...] = ()
    needs_approval: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItemView:
    """A device in the work queue. `next` is its next step in sentences; `reported`: what it says that it runs, "" for never."""

    e: ExecutionView
    why: str
    since_ms: int
    next: str
    reported: str
    reported_at_ms: int | None
    acts: tuple[ActView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftView:
    """A device that reports something else than its last update ended with."""

    device_id: str
    should_run: str
    reports: str
    reported_at_ms: int

    @property
    def device_url(self) -> str:
        return device_url(self.device_id)
