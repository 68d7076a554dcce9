"""The boxes of all sites as a cloud node's page shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.management.replication_state import ReplicationState, SiteNodeState
from ui.pages.format import plural, visible
from ui.pages.looks import SITE_NODE, Look
from ui.pages.sites_words import FRESH_MS
from ui.pages.views import dom_id

SITE_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNodeView:
    """A box as a row.

    Attributes:
        newest_ms: The time of the newest reading that a region has of it, by its own clock; None where none was seen yet.
        records: How many the log has there, since it began.
        problem: What it said, nothing hidden in it.
    """

    node: SiteNodeState
    name: str
    look: Look
    newest_ms: int | None
    records: int | None
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteView:
    """A site with its boxes.

    Attributes:
        title: Names of its boxes, since a site has none of its own.
    """

    site_id: str
    title: str
    dom_id: str
    nodes: tuple[SiteNodeView, ...]


def site_views(state: ReplicationState) -> tuple[SiteView, ...]:
    """The sites, those that want attention first."""
    by_site: dict[str, list[SiteNodeView]] = {}
    for node in state.sites:
        by_site.setdefault(node.site_id, []).append(_row(node))
    found = [_site(site_id, rows) for site_id, rows in by_site.items()]
    return tuple(
        sorted(found, key=lambda site: (all(row.look.tone == "good" for row in site.nodes), site.site_id))
    )


def site_view(site_id: str, nodes: Iterable[SiteNodeState]) -> SiteView:
    """One site."""
    return _site(site_id, map(_row, nodes))


def _site(site_id: str, rows: Iterable[SiteNodeView]) -> SiteView:
    return SiteView(
        site_id=site_id,
        title=f"Site {site_id[:SITE_DIGITS]}",
        dom_id=dom_id("site", site_id),
        nodes=tuple(rows),
    )


def sites_text(state: ReplicationState) -> str:
    """How all sites do, in a sentence."""
    if not state.sites:
        return "No box of a site belongs to the fleet yet."
    words = [word_of(node) for node in state.sites]
    count = len({node.site_id for node in state.sites})
    parts = [f"{plural(count, 'site')} with {plural(len(words), 'box', 'boxes')}"]
    for word, text in (
        ("silent", "not heard from"),
        ("only_there", "with more than moments that are nowhere else"),
        ("stopped", "that can't copy"),
    ):
        if found := words.count(word):
            parts.append(f"{found} {text}")
    return ", ".join(parts) + ("." if len(parts) > 1 else ", all safe.")


def word_of(node: SiteNodeState) -> str:
    """How a box does, as a word of looks.SITE_NODE."""
    if not node.is_fresh:
        return "silent"
    if node.rpo_ms is None or node.rpo_ms > FRESH_MS:
        return "only_there"
    return "stopped" if node.problem else "safe"


def _row(node: SiteNodeState) -> SiteNodeView:
    logs = [stored for stored in node.stored if stored.name == "telemetry"]
    return SiteNodeView(
        node=node,
        name=visible(node.name),
        look=SITE_NODE[word_of(node)],
        newest_ms=max((stored.last_at_ms for stored in logs if stored.last_at_ms), default=None),
        records=max((stored.next_seq - 1 for stored in logs), default=None),
        problem=visible(node.problem),
    )
