"""Body and answer of marking records lost."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ui.api.structs import Answer, Request

REASON_LENGTH_MAX = 200


class LostWish(Request, kw_only=True, frozen=True):
    """A range of records that is missing, as `state.missing` of `GET /replication` has it. `reason` is for people."""

    node_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$", max_length=32)]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    epoch: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    first_seq: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    next_seq: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    reason: Annotated[str, Meta(max_length=REASON_LENGTH_MAX)] = ""


class LostMark(Answer, kw_only=True, frozen=True):
    """The range that is a gap now. `key_id` is that of the node which signed it, hexadecimal."""

    node_id: str
    name: str
    epoch: int
    first_seq: int
    next_seq: int
    by: str
    reason: str
    at_ms: int
    key_id: str
