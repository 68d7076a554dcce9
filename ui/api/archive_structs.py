"""Bodies, queries and answers about the archive, retention and erasures. Days are UTC, as YYYY-MM-DD."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from appliance.core.limits import (
    DEVICE_ID_BYTES_MAX,
    PAGE_ITEM_COUNT_DEFAULT,
    RETENTION_CLASS_COUNT_MAX,
    RETENTION_DAYS_MAX,
    RETENTION_PATTERN_LENGTH_MAX,
)
from ui.api.structs import Answer, Limit, Query, Request

Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Days = Annotated[int, Meta(ge=0, le=RETENTION_DAYS_MAX)]


class ArchiveStatus(Answer, kw_only=True, frozen=True):
    """The archive, and what its keeper does.

    `state` is starting, idle, working, paused or failing; `step` is what is being done, `done_parts` of `part_count`.
    `store_free_bytes` are blocks within the store's file that new readings take first. `days_left` is how long the disk
    lasts at the present rate, null for more than ten years or without a rate. `cooled_total` counts days that left the
    store since the process began, by rule.
    """

    state: Literal["starting", "idle", "working", "paused", "failing"]
    step: str
    done_parts: int
    part_count: int
    paused_because: str
    incident: str
    hint: str
    store_used_bytes: int
    store_free_bytes: int
    store_bytes_per_day: int
    archive_bytes: int
    archive_rows: int
    archive_days: int
    archive_bytes_per_day: int
    faulty_days: int
    unarchived_days: int
    days_left: float | None
    cooled_total: dict[str, int]


class DaysQuery(Query, kw_only=True, frozen=True):
    """`before`: only days before that one, for the next page."""

    before: Day | None = None
    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class Fault(Answer, kw_only=True, frozen=True):
    """What is wrong with a file; `file` is empty for the manifest or the whole."""

    file: str
    problem: str


class ArchiveDay(Answer, kw_only=True, frozen=True):
    """A day. `where` is hot (in the store alone), both, part (some classes in the archive alone) or archived (in the archive alone).

    `pending_rows` are in no generation yet. `restored_until` is the last day on which a restored day stays in the store.
    """

    day: str
    where: Literal["hot", "both", "part", "archived"]
    generation: int | None
    hot_rows: int
    pending_rows: int
    archived_rows: int
    archived_bytes: int
    verified_at_ms: int | None
    faults: tuple[Fault, ...]
    restored_until: str | None


class ArchiveDayPage(Answer, kw_only=True, frozen=True):
    """Days, the newest first; `next_before` is where the next page begins, null at the end."""

    days: tuple[ArchiveDay, ...]
    next_before: str | None


class Verified(Answer, kw_only=True, frozen=True):
    """What a check found: nothing is good."""

    day: str
    faults: tuple[Fault, ...]


class Restoring(Request, kw_only=True, frozen=True):
    """`until`: the last day on which it stays in the store."""

    until: Day


class Restored(Answer, kw_only=True, frozen=True):
    """A day that is in the store again."""

    day: str
    until: str
    row_count: int


class RetentionClass(Answer, kw_only=True, frozen=True):
    """Metrics that are kept equally long. The class `default` is the configuration's and comes last.

    `store_bytes` and `archive_bytes` are what it takes once its days are full, at the present rate; null for no end.
    """

    class_id: str
    metric: str
    hot_days: int
    archive_days: int
    rows_per_day: int
    store_bytes: int
    archive_bytes: int | None


class RetentionClassList(Answer, kw_only=True, frozen=True):
    """In the order in which they are tried: the first that fits a metric counts."""

    classes: tuple[RetentionClass, ...]


class RetentionWish(Request, kw_only=True, frozen=True):
    """`metric` is a pattern with `*` and `?`. `archive_days` 0 is for ever. `position` counts from 1; without, the last one or as it was."""

    metric: Annotated[str, Meta(min_length=1, max_length=RETENTION_PATTERN_LENGTH_MAX)]
    hot_days: Annotated[int, Meta(ge=1, le=RETENTION_DAYS_MAX)]
    archive_days: Days
    position: Annotated[int, Meta(ge=1, le=RETENTION_CLASS_COUNT_MAX)] | UnsetType = UNSET


class ErasureWish(Request, kw_only=True, frozen=True):
    """`confirm` is the device's id once more."""

    confirm: Annotated[str, Meta(max_length=DEVICE_ID_BYTES_MAX)]


class ErasureQuery(Query, kw_only=True, frozen=True):
    """`device_id`: only those of this device."""

    device_id: Annotated[str, Meta(max_length=DEVICE_ID_BYTES_MAX)] = ""
    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class Erasure(Answer, kw_only=True, frozen=True):
    """`state` is requested, erased (store and archive have nothing of it any more) or complete (the log neither).

    No record of the device before `before_seq` of the log is ever stored again.
    """

    erasure_id: str
    device_id: str
    state: Literal["requested", "erased", "complete"]
    before_seq: int
    reading_count: int
    requested_at_ms: int
    erased_at_ms: int | None
    completed_at_ms: int | None


class ErasureList(Answer, kw_only=True, frozen=True):
    """The newest first."""

    erasures: tuple[Erasure, ...]
