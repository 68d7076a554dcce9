"""Queries and answers of the audit's endpoints. Times are UTC milliseconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from appliance.core.limits import PAGE_ITEM_COUNT_DEFAULT
from ui.api.structs import Answer, Limit, Query

ActorKind = Literal["user", "api_token", "local", "device", "system", "nobody"]
Outcome = Literal["done", "refused"]
Text = Annotated[str, Meta(max_length=256)]
Time = Annotated[str, Meta(min_length=1, max_length=40)]


class AuditQuery(Query, kw_only=True, frozen=True):
    """Which entries; what is left out does not count.

    `action` is the whole of it (`device.adopt`) or its noun (`device`). `from` (included) and `to` (excluded) are ISO 8601
    with an offset, or UTC milliseconds.
    """

    actor: Text | None = None
    action: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    object_kind: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    object_id: Text | None = None
    outcome: Outcome | None = None
    trace_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,64}$")] | None = None
    from_: Time | None = field(name="from", default=None)
    to: Time | None = None


class AuditListQuery(AuditQuery, kw_only=True, frozen=True):
    """The same, a page at a time."""

    cursor: Annotated[str, Meta(max_length=40)] | None = None
    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class AuditExportQuery(AuditQuery, kw_only=True, frozen=True):
    """The same, as a file."""

    format: Literal["jsonl", "csv"] = "jsonl"


class AuditEntry(Answer, kw_only=True, frozen=True):
    """Who did what to what. `before` and `after` hold the values that changed; a secret's is "(hidden)"."""

    entry_id: str
    seq: int
    origin: str
    at_ms: int
    actor: str
    actor_kind: ActorKind
    address: str
    action: str
    object_kind: str
    object_id: str
    outcome: Outcome
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    detail: str
    trace_id: str
    previous_hash: str
    hash: str


class AuditPage(Answer, kw_only=True, frozen=True):
    """Entries, the newest first. Give `next_cursor` as `cursor` for the next page; null at the end."""

    entries: tuple[AuditEntry, ...]
    next_cursor: str | None


class AuditVerifyQuery(Query, kw_only=True, frozen=True):
    """`head` is `SEQ:HASH` of an entry that must be there, as an export ends with or as somebody noted."""

    head: Annotated[str, Meta(max_length=100)] | None = None


class AuditFault(Answer, kw_only=True, frozen=True):
    """The first thing that is wrong with a chain; `at_ms` is null for an entry that is missing."""

    entry_id: str
    seq: int
    code: Literal[
        "entry_changed",
        "entry_missing",
        "entry_relinked",
        "history_rewritten",
        "newest_missing",
        "signature_wrong",
        "not_signed",
    ]
    message: str
    at_ms: int | None


class AuditChain(Answer, kw_only=True, frozen=True):
    """One node's chain. `signed_seq` is of the newest entry with a right signature, 0 without one."""

    origin: str
    entry_count: int
    newest_seq: int
    newest_hash: str
    signed_seq: int
    signed_at_ms: int
    fault: AuditFault | None


class AuditVerdict(Answer, kw_only=True, frozen=True):
    """Whether the audit is whole."""

    ok: bool
    checked_at_ms: int
    entry_count: int
    key_id: str
    chains: tuple[AuditChain, ...]
