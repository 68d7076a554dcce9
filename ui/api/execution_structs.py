"""Bodies, queries and answers of the API about executions: one device in one rollout. Times are UTC milliseconds in `_at_ms`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from appliance.core.limits import PAGE_ITEM_COUNT_DEFAULT
from ui.api.rollout_structs import Reason
from ui.api.structs import Answer, Limit, Query, Request

ExecutionStateName = Literal[
    "queued", "notified", "downloading", "downloaded", "verified", "wait_window", "installing", "rebooting", "testing",
    "unconfirmed", "succeeded", "failed", "rollback_pending", "rolling_back", "rolled_back", "rollback_failed", "manual",
    "lost", "regressed", "paused", "rejected", "timed_out", "canceled", "superseded", "removed", "noop",
]  # fmt: skip
ExecutionAct = Literal[
    "retry", "retry_rollback", "mark_recovered", "replace_device", "ignore", "accept", "cancel", "rollback"
]
Cursor = Annotated[str, Meta(max_length=200)]


class ExecutionQuery(Query, kw_only=True, frozen=True):
    """Which executions: in any of these states, of this rollout, of this device."""

    state: tuple[ExecutionStateName, ...] = ()
    rollout_id: Annotated[str, Meta(max_length=64)] = ""
    device_id: Annotated[str, Meta(max_length=128)] = ""
    cursor: Cursor | None = None
    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class RolloutExecutionQuery(Query, kw_only=True, frozen=True):
    """Which of a rollout's executions: in any of these states."""

    state: tuple[ExecutionStateName, ...] = ()
    cursor: Cursor | None = None
    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class WorkQueueQuery(Query, kw_only=True, frozen=True):
    """Which of the devices that need a hand: of this rollout, or all."""

    rollout_id: Annotated[str, Meta(max_length=64)] = ""
    cursor: Cursor | None = None
    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class DriftQuery(Query, kw_only=True, frozen=True):
    """How many at most."""

    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class KnownBadQuery(Query, kw_only=True, frozen=True):
    """Which marks: of one image, or those that count for one device. At most PAGE_ITEM_COUNT_MAX are told."""

    digest: Annotated[str, Meta(max_length=64)] = ""
    device_id: Annotated[str, Meta(max_length=128)] = ""


class Forgiveness(Request, kw_only=True, frozen=True):
    """Which mark, and why it is taken away, in a sentence for the audit."""

    known_bad_id: Annotated[str, Meta(min_length=1, max_length=256)]
    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class KnownBad(Answer, kw_only=True, frozen=True):
    """An image that is not offered again: to `device_id`, or with `hw` to all devices of that hardware."""

    known_bad_id: str
    device_id: str
    hw: str
    digest: str
    execution_id: str
    reason: str
    created_at_ms: int


class KnownBadList(Answer, kw_only=True, frozen=True):
    """The newest first."""

    known_bad: tuple[KnownBad, ...]


class ExecutionOrder(Request, kw_only=True, frozen=True):
    """Why, in a sentence; kept in the execution's history."""

    reason: Reason = ""


class Execution(Answer, kw_only=True, frozen=True):
    """One device in one rollout.

    `wave` is counted from 0. `attempt` of `max_attempts` and `rollback_attempt_count` of `max_rollback_attempts` are used. With
    `needs_manual_intervention` it is in the work queue, and `manual_reason` says why. `error` is a code, `error_text` words. `may` is what
    a person may do with it where it is.
    """

    execution_id: str
    rollout_id: str
    device_id: str
    wave: int
    number: int
    state: ExecutionStateName
    before_pause: str
    is_admitted: bool
    version: int
    attempt: int
    max_attempts: int
    rollback_attempt_count: int
    max_rollback_attempts: int
    needs_manual_intervention: bool
    manual_reason: str
    from_version: str
    from_digest: str
    to_version: str
    to_digest: str
    phase: str
    bytes_done: int
    bytes_total: int
    error: str
    error_text: str
    deadline_at_ms: int | None
    end_by_at_ms: int | None
    state_since_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    created_at_ms: int
    updated_at_ms: int
    may: tuple[ExecutionAct, ...]


class ExecutionPage(Answer, kw_only=True, frozen=True):
    """Executions. Give `next_cursor` as `cursor` for the next page; null at the end."""

    executions: tuple[Execution, ...]
    next_cursor: str | None


class ExecutionEvent(Answer, kw_only=True, frozen=True):
    """A move of an execution, or a report that moved nothing (`late_report` …: then both states are the same). `actor` is a person's name, or ""."""

    number: int
    at_ms: int
    source: Literal["report", "timer", "reconcile", "operator"]
    event: str
    from_state: str
    to_state: str
    attempt: int
    actor: str
    detail: dict[str, Any]


class ExecutionWithEvents(Execution, kw_only=True, frozen=True):
    """An execution with its history, the oldest first."""

    events: tuple[ExecutionEvent, ...]


class WorkItem(Answer, kw_only=True, frozen=True):
    """A device that needs a hand: its execution, since when, and what to do next, as a sentence."""

    execution: Execution
    since_ms: int
    next_step: str


class WorkQueue(Answer, kw_only=True, frozen=True):
    """Devices that need a hand; `count` is of all."""

    items: tuple[WorkItem, ...]
    count: int
    next_cursor: str | None


class DriftedDevice(Answer, kw_only=True, frozen=True):
    """A device that reports something else than its last update ended with."""

    device_id: str
    execution_id: str
    version: str
    digest: str
    expected_version: str
    expected_digest: str
    reported_at_ms: int


class DriftList(Answer, kw_only=True, frozen=True):
    """Such devices, by their id."""

    devices: tuple[DriftedDevice, ...]


class RetryOutcome(Answer, kw_only=True, frozen=True):
    """How many try again, and how many could not: something happened to them meanwhile."""

    retried_count: int
    left_count: int


class RolloutEvent(Answer, kw_only=True, frozen=True):
    """A move of a rollout; `actor` is "" for Homeport itself."""

    number: int
    at_ms: int
    event: str
    from_state: str
    to_state: str
    wave: int
    actor: str
    reason: str


class RolloutHistory(Answer, kw_only=True, frozen=True):
    """A rollout's moves, the newest first."""

    events: tuple[RolloutEvent, ...]


class Fence(Answer, kw_only=True, frozen=True):
    """The fence that orders to devices carry from now on."""

    fence: int
