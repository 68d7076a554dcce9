"""What a cloud node knows of the boxes whose copies it hands on: what they last said, and what its regions were seen to have. Pure.

None of it is kept: after a restart boxes say it again within seconds, and what a region has is seen when a box asks for its end, each
minute. Times are wall time, UTC ms; how long a box was silent is counted by the monotonic clock, which no correction moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.management.fleet import NodeEntry
from appliance.management.replication_state import Link, SiteNodeState, StoredState

FRESH_MS = 15_000
"""A box says it every 5 s: one that was silent for longer than three times is not what it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a box said of itself; fields as in ReplicationState and SiteNodeState."""

    rpo_ms: int | None
    rpo_worst_ms: int | None
    unsafe_entries: int
    lag_ms: int | None
    lag_entries: int | None
    problem: str
    may_read: bool | None = None
    devices: int | None = None
    online: int | None = None
    alarms: tuple[int, int, int] | None = None


class SiteReports:
    """See the module."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[Report, int, int]] = {}
        self._known_mono_ms: dict[str, int] = {}
        """Since when it is known that there is a box."""
        self._stored: dict[tuple[str, str, str], StoredState] = {}

    def said(self, node_id: str, report: Report, now_ms: int, now_mono_ms: int) -> None:
        """A box said how safe it is."""
        self._said[node_id] = (report, now_ms, now_mono_ms)

    def may_read(self, node_id: str) -> bool:
        """Whether a box said last that its site lets this cloud node read it."""
        said = self._said.get(node_id)
        return said is not None and said[0].may_read is True

    def stored(self, state: StoredState) -> None:
        """A region was seen to have a stream up to here."""
        self._stored[state.node_id, state.name, state.region] = state

    def keep(self, node_ids: Iterable[str]) -> None:
        """Forget those who are not in the roster any more."""
        known = set(node_ids)
        for node_id in self._said.keys() - known:
            del self._said[node_id]
        for node_id in self._known_mono_ms.keys() - known:
            del self._known_mono_ms[node_id]
        for key in [key for key in self._stored if key[0] not in known]:
            del self._stored[key]

    def states(
        self, nodes: Iterable[NodeEntry], links: Mapping[str, Link], now_ms: int, now_mono_ms: int
    ) -> tuple[SiteNodeState, ...]:
        """All boxes, by site and name.

        Args:
            links: How the link with each is.
        """
        found = []
        for node in sorted(nodes, key=lambda node: (node.site_id, node.name, node.node_id)):
            known_mono_ms = self._known_mono_ms.setdefault(node.node_id, now_mono_ms)
            report, heard_ms, heard_mono_ms = self._said.get(node.node_id, (None, None, known_mono_ms))
            silent_ms = now_mono_ms - heard_mono_ms
            found.append(
                SiteNodeState(
                    node_id=node.node_id,
                    name=node.name,
                    site_id=node.site_id,
                    region=node.region,
                    link=links.get(node.node_id, "down"),
                    heard_at_ms=heard_ms,
                    is_fresh=heard_ms is not None and silent_ms <= FRESH_MS,
                    at_risk_ms=_at_risk_ms(report, silent_ms),
                    rpo_ms=report.rpo_ms if report else None,
                    rpo_worst_ms=report.rpo_worst_ms if report else None,
                    unsafe_entries=report.unsafe_entries if report else 0,
                    lag_ms=report.lag_ms if report else None,
                    lag_entries=report.lag_entries if report else None,
                    problem=report.problem if report else "",
                    may_read=report.may_read if report else None,
                    devices=report.devices if report else None,
                    online=report.online if report else None,
                    alarms=report.alarms if report else None,
                    stored=tuple(
                        state for key, state in sorted(self._stored.items()) if key[0] == node.node_id
                    ),
                )
            )
        return tuple(found)


def _at_risk_ms(report: Report | None, silent_ms: int) -> int | None:
    """For how long what a box took in may be nowhere else; None where it says itself that nobody could have it."""
    if report is None or (report.rpo_ms is None and silent_ms > FRESH_MS):
        return silent_ms
    if report.rpo_ms is None:
        return None
    return report.rpo_ms + (silent_ms if silent_ms > FRESH_MS else 0)
