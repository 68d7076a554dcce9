"""The replicator process: links to the fleet's other nodes, and the copies that go over them.

It is its own, so that copying goes on while the node is away or has no memory left. It reads the log's files as any cursor does, writes
the copies of others and the fleet's folder, and answers on its control socket. The supervisor starts it once this box belongs
to a fleet.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec
import trio

from appliance.core.clock import Clock, SystemClock
from appliance.core.config import Config
from appliance.core.errors import NotFound
from appliance.identity.keys import SiteKeys
from appliance.run import layout
from appliance.run.child import ChildLink
from appliance.run.copying_wiring import make_replicator, with_copies
from appliance.run.epoch_claiming import EpochClaiming
from appliance.run.first_run import lock
from appliance.run.fleet_inviting import Inviting
from appliance.run.fleet_node import FleetNode
from appliance.run.past_fetching import PastFetching
from appliance.run.process import run_process
from appliance.run.replicator_state import LinkAges, state_of
from appliance.run.tier_wiring import make_tier
from replication.control import ControlServer
from replication.guest_socket import GuestServer
from replication.guests import Guests
from replication.replicator import Replicator

STATUS_INTERVAL_S: Final = 5


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
        *,
        clock: Clock,
    ) -> None:
        self._node = node
        self._past = past
        self._replicator = replicator
        self._claiming = claiming
        self._clock = clock
        self._ages = LinkAges()

    async def answer(self, question: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer one question.

        Raises:
            NotFound: `question_unknown`. HomeportError: as what is asked for.
        """
        match question, fields:
            case "status", _:
                return self._status(self._node)
            case "may_write", _:
                return self._claiming.answer()
            case "decommission", {"node_id": str(node_id), "reason": str(reason)}:
                entry = await self._node.decommission(node_id, reason)
                return {"node_id": entry.node_id, "name": entry.name, "state": entry.state}
            case "renew", _:
                is_new = await self._node.renew_now()
                return {"is_new": is_new, "ends_at_ms": self._node.fleet.identity.ends_at_ms}
        raise NotFound(
            f"The replicator knows no question “{question[:40]}”.",
            hint="Restart Homeport, so that all its processes are of one version.",
            code="question_unknown",
        )

    def _status(self, node: FleetNode) -> Mapping[str, Any]:
        statistics = node.links.statistics()
        state = state_of(
            node.entry,
            node.keeper.roster,
            statistics,
            safe_at=node.options.safe_at,
            now_ms=self._clock.now_ms(),
        )
        state = self._ages.look(state)
        state = with_copies(state, self._replicator, self._clock)
        state = msgspec.structs.replace(state, past=self._past.state)
        fields: dict[str, Any] = msgspec.to_builtins(state)
        fields["problem"] = self._claiming.problem or state.problem or node.links.problem
        fields["refused"] = statistics.refused
        fields["newest_refused"] = [_turned(each) for each in statistics.newest_refused]
        fields["port"] = statistics.port
        fields["can_sign"] = node.fleet.can_sign
        fields["certificate_ends_at_ms"] = node.fleet.identity.ends_at_ms
        return fields


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
    tier = await trio.to_thread.run_sync(partial(make_tier, config, keys, clock=clock, random=chance))
    replicator = make_replicator(config, node, clock=clock, random=chance, tier=tier)
    ended = trio.Event()
    guests = Guests(node.links, replicator)
    claiming = node.links.listener = EpochClaiming(
        config, keys, node, replicator, clock=clock, random=chance, on_moved=ended.set, behind=guests
    )
    async with trio.open_nursery() as nursery:
        past = PastFetching(config, node.node_id, guests, clock=clock)
        answers = Answers(node, replicator, claiming, past, clock=clock)
        control = ControlServer(layout.replicator_socket(config), answers.answer)
        await nursery.start(control.serve)
        await nursery.start(GuestServer(layout.guest_socket(config), guests).serve)
        await nursery.start(replicator.run)
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
