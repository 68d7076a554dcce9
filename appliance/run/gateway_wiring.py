"""Cloud nodes of the fleet, and this box as one: who may ask what, which regions are behind which, who is told how safe this box is, and which site may be read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec
import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import NotAuthorized, NotFound
from appliance.core.limits_replication import GATEWAY_REPORT_S
from appliance.management.fleet import NodeEntry, Roster
from appliance.management.replication_state import Link, ReplicationState, SiteNodeState, StoredState
from appliance.management.site_reading import HINT, NOT_ALLOWED, SiteSummary
from appliance.management.site_reports import Report, SiteReports
from appliance.run.fleet_node import FleetNode
from appliance.run.tier_wiring import openings
from replication.tier.engine import Opening
from replication.tier.gateway import Gateway, Visitor
from replication.tier.gateway_client import GatewayClient
from replication.tier.gateway_links import Behind, GatewayLinks
from replication.tier.gateway_messages import WORDS_LENGTH_MAX, SiteReport
from replication.tier.gateway_parts import Carrier
from replication.tier.pieces import PieceName
from replication.tier.reading import ReadingAsker, ReadingDoor
from replication.tier.reading_messages import ReadingAnswer, ReadingQuestion


class CloudNode:
    """What a cloud node does for others: its door, and what it knows of sites.

    Args:
        regions: What connects each of its own regions, by name.
        roster: Who there is now.
    """

    def __init__(
        self, links: Carrier, regions: Mapping[str, Opening], *, roster: Callable[[], Roster], clock: Clock
    ) -> None:
        self._roster, self._clock = roster, clock
        self.reports = SiteReports()
        self.reader = ReadingAsker(links)
        self.gateway = Gateway(links, regions, visitor=self._visitor, on_stored=self._stored)

    def said(self, peer: str, report: SiteReport) -> None:
        """A box said how safe it is."""
        said = Report(
            rpo_ms=report.rpo_ms,
            rpo_worst_ms=report.rpo_worst_ms,
            unsafe_entries=report.unsafe_entries,
            lag_ms=report.lag_ms,
            lag_entries=report.lag_entries,
            problem=report.problem,
            may_read=report.may_read,
            devices=report.devices,
            online=report.online,
            alarms=report.alarms,
        )
        self.reports.said(peer, said, self._clock.now_ms(), self._clock.mono_ms())

    async def read(self, node_id: str, question: ReadingQuestion) -> ReadingAnswer:
        """Ask a box what its site's API answers.

        Raises:
            NotFound: `node_unknown`. NotAuthorized: `reading_not_allowed`, as the box said itself: one that didn't is not asked. As `ReadingAsker.ask`.
        """
        entry = self._roster().get(node_id)
        if entry is None or entry.decommission is not None or entry.role == "cloud":
            raise NotFound(
                f"There is no box {node_id[:32]} of a site.",
                hint="Look at the page Sites.",
                code="node_unknown",
            )
        if not self.reports.may_read(node_id):
            raise NotAuthorized(
                f"The site of {entry.name} does not let this cloud node read it.", hint=HINT, code=NOT_ALLOWED
            )
        return await self.reader.ask(node_id, question)

    def sites(self, links: Mapping[str, Link]) -> tuple[SiteNodeState, ...]:
        """The boxes of all sites.

        Args:
            links: How the link with each is.
        """
        nodes = [node for node in self._roster().admitted() if node.role != "cloud"]
        self.reports.keep(node.node_id for node in nodes)
        return self.reports.states(nodes, links, self._clock.now_ms(), self._clock.mono_ms())

    def _visitor(self, peer: str) -> Visitor | None:
        roster = self._roster()
        entry = roster.get(peer)
        if entry is None or entry.decommission is not None:
            return None
        nodes = frozenset(node.node_id for node in roster if node.site_id == entry.site_id)
        return Visitor(site_id=entry.site_id, nodes=nodes)

    def _stored(self, region: str, name: PieceName) -> None:
        if not name.stream.branch:
            self.reports.stored(
                StoredState(
                    node_id=name.stream.node_id,
                    name=name.stream.name,
                    region=region,
                    epoch=name.epoch,
                    next_seq=name.next_seq,
                    last_at_ms=name.last_at_ms,
                    at_ms=self._clock.now_ms(),
                )
            )


def make_cloud(config: Config, node: FleetNode, clock: Clock) -> CloudNode | None:
    """What this box does for others as a cloud node; None where it is none. Blocks for some ms.

    Raises:
        ConfigError: a region's address or credentials can't be used: a cloud node is good for nothing else.
    """
    if node.entry.role != "cloud":
        return None
    return CloudNode(node.links, openings(config), roster=lambda: node.keeper.roster, clock=clock)


def gateway_links(
    node: FleetNode, behind: Behind, client: GatewayClient, cloud: CloudNode | None, door: ReadingDoor
) -> GatewayLinks:
    """The links' listener, in front of all others."""
    if cloud is None:
        return GatewayLinks(node.links, behind, client, door=door)
    return GatewayLinks(
        node.links, behind, client, gateway=cloud.gateway, on_report=cloud.said, reader=cloud.reader
    )


class Reporting:
    """Tells the fleet's cloud nodes how safe this box is, and how its site does where they may read it.

    Args:
        state: What is so now.
        summary: How the site does, and who may read it; None while that isn't known.
    """

    def __init__(
        self,
        links: GatewayLinks,
        node: FleetNode,
        *,
        state: Callable[[], ReplicationState],
        summary: Callable[[], Awaitable[SiteSummary | None]],
    ) -> None:
        self._links, self._node, self._state, self._summary = links, node, state, summary

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            roster = self._node.keeper.roster
            there = [peer for peer in self._node.links.peers() if _is_cloud(roster.get(peer))]
            if there:
                summary = await self._summary()
                report = report_of(self._state())
                for peer in there:
                    self._links.report(peer, with_summary(report, summary, peer))
            await trio.sleep(GATEWAY_REPORT_S)


def report_of(state: ReplicationState) -> SiteReport:
    """What a box tells of itself."""
    live = next((region for region in state.tier if region.is_live), None)
    return SiteReport(
        rpo_ms=state.rpo_ms,
        rpo_worst_ms=state.rpo_worst_ms,
        unsafe_entries=state.unsafe_entries,
        lag_ms=live.lag_ms if live else None,
        lag_entries=live.lag_entries if live else None,
        problem=(state.problem or next((region.problem for region in state.tier if region.problem), ""))[
            :WORDS_LENGTH_MAX
        ],
    )


def with_summary(report: SiteReport, summary: SiteSummary | None, peer: str) -> SiteReport:
    """The report for one cloud node: how the site does is told only where it may be read."""
    if summary is None:
        return report
    if peer not in summary.allowed:
        return msgspec.structs.replace(report, may_read=False)
    return msgspec.structs.replace(
        report, may_read=True, devices=summary.devices, online=summary.online, alarms=summary.alarms
    )


def _is_cloud(entry: NodeEntry | None) -> bool:
    return entry is not None and entry.role == "cloud"
