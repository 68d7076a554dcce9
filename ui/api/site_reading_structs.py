"""Answers of the API about cloud nodes that read sites. Times are UTC milliseconds in `_at_ms`."""

from __future__ import annotations

from typing import Any

from ui.api.structs import Answer


class SiteReader(Answer, kw_only=True, frozen=True):
    """A cloud node of the fleet, and whether it may read this site's devices, readings and alarms."""

    node_id: str
    name: str
    is_allowed: bool


class SiteReaders(Answer, kw_only=True, frozen=True):
    """The cloud nodes of the fleet, by name."""

    readers: tuple[SiteReader, ...]


class SiteAnswer(Answer, kw_only=True, frozen=True):
    """What a site's own API answered: `answer` is as the same address without `/sites/{site_id}` has it there. `node` is the box that did, `answered_at_ms` when,
    by this cloud node's clock."""

    site_id: str
    node_id: str
    node: str
    answered_at_ms: int
    answer: dict[str, Any]
