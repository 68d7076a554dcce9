"""What membership asks for and tells."""

from __future__ import annotations

from dataclasses import dataclass

from replication.effects import Send

from .claims import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Became:
    """A member is seen otherwise than before.

    Args:
        node: Which one.
        condition: How it is seen now.
        incarnation: The node's own counter.
        by: Who found it out.
    """

    node: str
    condition: Condition
    incarnation: int
    by: str


MembershipEffect = Send | Became


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """A member, for pages and metrics.

    Args:
        node: Which one.
        condition: "alive", "suspect", "dead", or "never heard".
        incarnation: The node's own counter.
        for_ms: How long it has been so.
        heard_before_ms: How long ago something came from it over a link; None: never.
        is_linked: Whether there is a link.
    """

    node: str
    condition: str
    incarnation: int
    for_ms: int
    heard_before_ms: int | None
    is_linked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipStatistics:
    """Counts since the start, and how it is now.

    Args:
        alive_count, suspect_count, dead_count, unheard_count: Members by how they are seen.
        health_score: 0 (well) to 7: how slow this node takes itself to be.
        incarnation: This node's own.
        probe_total, probe_failed_total: Probes that were judged, and those without any answer.
        relayed_total: Probes for others.
        suspicion_total, death_total: How often a member became suspect or dead here.
        refutation_total: How often this node had to say that it lives.
        stall_total: How often it saw that it had stood still.
        refused_total: Claims that were not believed: of a stranger, or of an incarnation out of bounds.
        rumour_count: Claims that are still being told.
    """

    alive_count: int
    suspect_count: int
    dead_count: int
    unheard_count: int
    health_score: int
    incarnation: int
    probe_total: int
    probe_failed_total: int
    relayed_total: int
    suspicion_total: int
    death_total: int
    refutation_total: int
    stall_total: int
    refused_total: int
    rumour_count: int
