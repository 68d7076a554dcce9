"""Bodies, queries and answers of the API about claims. Times are UTC milliseconds in `_at_ms`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from appliance.core.limits import (
    CLAIM_GROUP_COUNT_MAX,
    CLAIM_LIFE_MS_MAX,
    CLAIM_NAME_LENGTH_MAX,
    CLAIM_USE_COUNT_MAX,
    DEVICE_ID_BYTES_MAX,
    PAGE_ITEM_COUNT_DEFAULT,
)
from ui.api.structs import Answer, GroupId, Limit, Query, Request, Tags

ClaimState = Literal["valid", "used_up", "expired", "revoked"]
LIFE_S_DEFAULT = 7 * 24 * 3_600


class ClaimQuery(Query, kw_only=True, frozen=True):
    """Which claims: all, or those in one state."""

    state: ClaimState | None = None
    cursor: Annotated[str, Meta(max_length=64)] | None = None
    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class NewClaim(Request, kw_only=True, frozen=True):
    """A claim to make: for one device (`device_id`), or for as many as `use_count_max` that nobody knows yet.

    With `adopt` they are let in at once; without it they wait for adoption.
    """

    name: Annotated[str, Meta(max_length=CLAIM_NAME_LENGTH_MAX)] = ""
    device_id: Annotated[str, Meta(max_length=DEVICE_ID_BYTES_MAX)] = ""
    groups: Annotated[tuple[GroupId, ...], Meta(max_length=CLAIM_GROUP_COUNT_MAX)] = ()
    tags: Tags = ()
    adopt: bool = False
    use_count_max: Annotated[int, Meta(ge=1, le=CLAIM_USE_COUNT_MAX)] = 1
    life_s: Annotated[int, Meta(ge=60, le=CLAIM_LIFE_MS_MAX // 1000)] = LIFE_S_DEFAULT


class Claim(Answer, kw_only=True, frozen=True):
    """A claim. Its token is in the answer to its making, and nowhere else."""

    claim_id: str
    name: str
    state: ClaimState
    device_id: str
    groups: tuple[str, ...]
    tags: tuple[str, ...]
    adopt: bool
    use_count: int
    use_count_max: int
    created_by: str
    created_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None


class ClaimWithToken(Claim, kw_only=True, frozen=True):
    """A claim that was made just now."""

    token: str


class ClaimPage(Answer, kw_only=True, frozen=True):
    """Claims, the newest first; `next_cursor` is where the next page begins, null at the end."""

    claims: tuple[Claim, ...]
    next_cursor: str | None
