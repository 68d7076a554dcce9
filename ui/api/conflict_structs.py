"""Queries, bodies and answers about conflicts between nodes of a site."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ui.api.structs import Answer, Limit, Query, Request

ConflictStateName = Literal["open", "resolved"]


class ConflictQuery(Query, kw_only=True, frozen=True):
    """In that state; open ones without. `cursor` is the last page's `next_cursor`."""

    state: ConflictStateName = "open"
    cursor: Annotated[str, Meta(max_length=64)] | None = None
    limit: Limit = 100


class ConflictValue(Answer, kw_only=True, frozen=True):
    """One of the values: by field, as the catalog has it; secrets are left out. `node` is the id of the node that wrote it."""

    values: dict[str, str | int | float | None]
    node: str
    written_at_ms: int


class FieldConflict(Answer, kw_only=True, frozen=True):
    """Values that people wrote on nodes that did not know of each other. The first is in force until somebody decides.

    `register` is the field, or what several fields that mean something only together are called. `resolved_by` is "" where the field
    was simply changed again.
    """

    conflict_id: str
    table: str
    key: str
    register: str
    values: tuple[ConflictValue, ...]
    found_at_ms: int
    state: ConflictStateName
    resolved_at_ms: int | None
    resolved_by: str


class ConflictList(Answer, kw_only=True, frozen=True):
    """The newest first; `open_count` is of all that are open."""

    conflicts: tuple[FieldConflict, ...]
    open_count: int
    next_cursor: str | None


class ConflictChoice(Request, kw_only=True, frozen=True):
    """Which of `values` is to be in force on all nodes, counted from 0."""

    value: Annotated[int, Meta(ge=0, le=1_024)] = msgspec.field()
