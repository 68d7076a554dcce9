"""The replicator process: links to the fleet's other nodes, and the copies that go over them.

It is its own, so that copying goes on while the node is away or has no memory left. It reads the log's files as any cursor does, writes
the copies of others and the fleet's folder, and answers on its control socket. The supervisor starts it once this box belongs
to a fleet.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
import trio

from appliance.core.clock import Clock, SystemClock
from appliance.core.config import Config
from appliance.core.errors import NotFound, UsageError
from appliance.core.limits_replication import TIER_KEY_GENERATION_MAX
from appliance.identity.keys import SiteKeys
from appliance.management.replication_state import Link, ReplicationState
from appliance.run import layout
from appliance.run.child import ChildLink
from appliance.run.copying_wiring import lost_state, make_replicator, with_copies
from appliance.run.epoch_claiming import EpochClaiming
from appliance.run.first_run import lock
from appliance.run.fleet_inviting import Inviting
from appliance.run.fleet_node import FleetNode
from appliance.run.gateway_wiring import CloudNode, Reporting, gateway_links, make_cloud
from appliance.run.linked_regions import is_linked, linked_opening
from appliance.run.past_fetching import PastFetching
from appliance.run.process import run_process
from appliance.run.reading_wiring import SiteAsking, read_site, reading_state
from appliance.run.replicator_state import LinkAges, state_of
from appliance.run.rows_turns import RowsTurns
from appliance.run.tier_checking import checked
from appliance.run.tier_key import keep_generation
from appliance.run.tier_wiring import make_claims, make_tier, site_tier_keys
from replication.control import ControlServer
from replication.guest_socket import GuestServer
from replication.guests import Guests
from replication.losing import Losing
from replication.replicator import Replicator
from replication.tier.engine import Opening
from replication.tier.gateway_client import GatewayClient
from replication.tier.keys import SiteTierKeys
from replication.tier.reading import ReadingCounts
from storage.replicas.streams import StreamId

STATUS_INTERVAL_S: Final = 5
LINKED_CHECK_S: Final = 8.0
"""For a region behind a cloud node to be connected: whoever asks on the control socket waits for 10 s."""


class Answers:
    """What node and command line may ask (replication/control.py).

    Args:
        claiming: Whether this box may write, of which it tells.
    """

    def __init__(
        self,
        node: FleetNode,
        replicator: Replicator,
        claiming: EpochClaiming,
        past: PastFetching,
        losing: Losing,
        *,
        clock: Clock,
        cloud: CloudNode | None = None,
    ) -> None:
        self._node = node
        self._past = past
        self.losing = losing
        self._cloud = cloud
        self.linked: dict[str, Opening] = {}
        self.tier_key: Callable[[int], Awaitable[int]] | None = None
        self.reading = cloud.reader.counts if cloud is not None else ReadingCounts()
        self._replicator = replicator
        self._claiming = claiming
        self._clock = clock
        self._ages = LinkAges()
        self._rows = RowsTurns(replicator, node.node_id, clock)

    async def answer(self, question: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer one question.

        Raises:
            NotFound: `question_unknown`. HomeportError: as what is asked for.
        """
        match question, fields:
            case "status", _:
                return self._status()
            case "may_write", _:
                return self._claiming.answer()
            case "decommission", {"node_id": str(node_id), "reason": str(reason)}:
                entry = await self._node.decommission(node_id, reason)
                return {"node_id": entry.node_id, "name": entry.name, "state": entry.state}
            case "tier_seal_with", {"generation": int(generation)} if self.tier_key is not None:
                return {"generation": await self.tier_key(generation)}
            case "mark_lost", {"node_id": str(node_id), "name": str(name), **words}:
                return await self._mark_lost(node_id, name, words)
            case "rows_turn", {"region": str(region), "size_bytes": int(size_bytes), "state": said}:
                is_missing = self._past.state is not None
                return self._rows.ask(region, size_bytes, said, is_past_missing=is_missing)
            case "tier_check", {"region": str(region)}:
                return await self._check_region(region)
            case "read_site", {"node_id": str(node_id), **asked}:
                return await read_site(self._cloud, node_id, asked)
            case "renew", _:
                is_new = await self._node.renew_now()
                return {"is_new": is_new, "ends_at_ms": self._node.fleet.identity.ends_at_ms}
        raise NotFound(
            f"The replicator knows no question “{question[:40]}”.",
            hint="Restart Homeport, so that all its processes are of one version.",
            code="question_unknown",
        )

    def state(self) -> ReplicationState:
        """What is so now."""
        node = self._node
        statistics = node.links.statistics()
        state = state_of(
            node.entry,
            node.keeper.roster,
            statistics,
            safe_at=node.options.safe_at,
            now_ms=self._clock.now_ms(),
        )
        state = self._ages.look(state)
        state = self._rows.told(with_copies(state, self._replicator, self._clock))
        problem = self._claiming.problem or state.problem or node.links.problem
        links: dict[str, Link] = {peer.node_id: peer.link for peer in state.peers}
        sites = self._cloud.sites(links) if self._cloud is not None else ()
        return msgspec.structs.replace(
            state, past=self._past.state, problem=problem, sites=sites, reading=reading_state(self.reading)
        )

    def _status(self) -> Mapping[str, Any]:
        node, statistics = self._node, self._node.links.statistics()
        fields: dict[str, Any] = msgspec.to_builtins(self.state())
        fields["refused"] = statistics.refused
        fields["newest_refused"] = [_turned(each) for each in statistics.newest_refused]
        fields["port"] = statistics.port
        fields["can_sign"] = node.fleet.can_sign
        fields["certificate_ends_at_ms"] = node.fleet.identity.ends_at_ms
        return fields

    async def _mark_lost(self, node_id: str, name: str, words: Mapping[str, Any]) -> Mapping[str, Any]:
        """Mark records lost: `epoch`, `first_seq`, `next_seq`, `by`, `reason`. Raises as `Losing.mark`."""
        base, _, branch = name.partition(".fork-")
        try:
            stream = msgspec.convert((node_id, base, branch), StreamId)
            numbers = msgspec.convert([words[key] for key in ("epoch", "first_seq", "next_seq")], list[int])
        except (KeyError, msgspec.ValidationError) as error:
            raise UsageError(f"That names no range of a log: {error}.", code="range_unreadable") from error
        lost = await self.losing.mark(
            stream, *numbers, by=str(words.get("by", "")), reason=str(words.get("reason", ""))
        )
        answer: dict[str, Any] = msgspec.to_builtins(lost_state(stream, lost))
        return answer

    async def _check_region(self, region: str) -> Mapping[str, Any]:
        """Connect a region behind a cloud node: "problem" and "hint", empty where it works."""
        opening = self.linked.get(region)
        if opening is None:
            raise NotFound(
                f"This box has no region {region[:63]} behind a cloud node.",
                hint="Restart Homeport: it was started with another configuration.",
                code="tier_region_unknown",
            )
        return await checked(opening, LINKED_CHECK_S)


def _turned(turned: object) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(turned)
    return found


async def serve(config: Config, link: ChildLink) -> None:
    """Copy until `link.stopping`.

    Raises:
        HomeportError: the fleet's folder can't be used, or another process writes it.
    """
    with lock(layout.replicator_lock(config), holder="the replicator"):
        keys = await trio.to_thread.run_sync(SiteKeys.load_existing, config.node.data_dir)
        async with trio.open_nursery() as nursery:
            await nursery.start(link.serve)
            while not link.stopping.is_set():
                await _copy(config, keys, link)
            nursery.cancel_scope.cancel()


async def _copy(config: Config, keys: SiteKeys, link: ChildLink) -> None:
    """Copy as one instance of the node: until `link.stopping`, or until this box has become another one."""
    clock = SystemClock()
    node = await trio.to_thread.run_sync(
        partial(FleetNode.open, config, keys, clock=clock, random=random.Random(), may_be_moved=True)
    )
    chance = random.Random()
    client = GatewayClient(node.links)

    def linked(address: str) -> Opening:
        return linked_opening(address, client, lambda: node.keeper.roster)

    tier_keys = await trio.to_thread.run_sync(site_tier_keys, config, keys)
    tier = await trio.to_thread.run_sync(
        partial(make_tier, config, keys, clock=clock, random=chance, linked=linked, tier_keys=tier_keys)
    )
    cloud = await trio.to_thread.run_sync(make_cloud, config, node, clock)
    replicator = make_replicator(config, node, clock=clock, random=chance, tier=tier)
    ended = trio.Event()
    guests = Guests(node.links, replicator)
    claims = await trio.to_thread.run_sync(partial(make_claims, config, keys, linked=linked))
    claiming = EpochClaiming(
        config,
        keys,
        node,
        replicator,
        clock=clock,
        random=chance,
        on_moved=ended.set,
        tier=claims,
        behind=guests,
    )
    site = SiteAsking(config, lambda: node.keeper.roster)
    door = site.door(node.links)
    doors = node.links.listener = gateway_links(node, claiming, client, cloud, door)
    async with trio.open_nursery() as nursery:
        past = PastFetching(
            config,
            node.node_id,
            guests,
            clock=clock,
            regions=claims if claims else None,
            is_alone=lambda: not node.keeper.roster.peers_of(node.node_id),
        )
        losing = Losing(replicator.mender, replicator.directory, keys.signer, clock)
        answers = Answers(node, replicator, claiming, past, losing, clock=clock, cloud=cloud)
        answers.linked = {
            each.name: linked(each.address) for each in config.tier_region if is_linked(each.address)
        }
        answers.tier_key = partial(_seal_with, config, tier_keys)
        control = ControlServer(layout.replicator_socket(config), answers.answer)
        await nursery.start(control.serve)
        await nursery.start(GuestServer(layout.guest_socket(config), guests).serve)
        await nursery.start(replicator.run)
        if cloud is not None:
            await nursery.start(cloud.gateway.run)
        else:
            answers.reading = door.counts
            await nursery.start(door.run)
        nursery.start_soon(Reporting(doors, node, state=answers.state, summary=site.summary).run)
        node.links.join = Inviting(node, config, clock=clock).talk
        port = await nursery.start(node.run)
        nursery.start_soon(claiming.run)
        nursery.start_soon(past.run)
        nursery.start_soon(_tell, node, claiming, link)
        await link.ready(f"peers connect at port {port}" if port else "only connects to others")
        nursery.start_soon(_set_after, link.stopping, ended)
        await ended.wait()
        await node.links.stop()
        nursery.cancel_scope.cancel()


async def _seal_with(config: Config, keys: SiteTierKeys, generation: int) -> int:
    """Seal with a generation that is kept first, so that no restart goes back; gives the one that seals.

    Raises:
        UsageError: there is no such generation. StorageError: it can't be kept.
    """
    if not 1 <= generation <= TIER_KEY_GENERATION_MAX:
        raise UsageError(f"There is no generation {generation} of the tier's key.")
    await trio.to_thread.run_sync(keep_generation, config.node.data_dir, generation)
    keys.raise_to(generation)
    return keys.generation


async def _set_after(first: trio.Event, then: trio.Event) -> None:
    await first.wait()
    then.set()


async def _tell(node: FleetNode, claiming: EpochClaiming, link: ChildLink) -> None:
    """Keep systemd's status line, until cancelled."""
    told = ""
    while True:
        peers = node.keeper.roster.peers_of(node.node_id)
        status = f"{len(node.links.peers())} of {len(peers)} peers connected"
        if claiming.doubt is not None:
            status += ", waits for an epoch"
        if status != told:
            told = status
            await link.status(status)
        await trio.sleep(STATUS_INTERVAL_S)


def main() -> int:
    """Run the process; returns its exit code."""
    return run_process("replicator", serve)


if __name__ == "__main__":
    sys.exit(main())
