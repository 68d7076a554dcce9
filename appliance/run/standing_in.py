"""Stands in for a node of the site that is gone: drives updates and commands of devices that came here.

Theory of operation. A node that the site believes to be dead for TAKE_OVER_AFTER_MS, or that was taken out for good, drives nothing any more.
Once a device of which it drove something listens at this node's broker, or asks it, this node becomes the home of that: with a higher fence
in the catalog, so that the node that was gone stops when it is back and hears of it; and with a higher fence of orders, so that devices
refuse what it may still say before. Belief may be wrong: of two that drive the same, the higher fence stands, on every node.

A device that has moved to another node while this one lives takes its update along: this node gives up what it drives of it, by a higher fence and the other's
name, once the device has been connected there alone for HAND_OVER_AFTER_MS. Its rollout stays where it is: the other node brings the execution to where the rollout's
state wants it, and gives it back where it has to begin once more, since that is for who sees the whole of a wave. Nobody drives what is given away until it has arrived.

A command that waits on any other node for a device that listens here is said here, whether that node lives or not.

What a node that is gone had still to tell people is told by one of the others: of those that are there, the one whose id is the lowest; and that one brings its rollouts to their end of
which all devices are done. Two may believe to be that one, and a notification may have been sent before its node was gone and could say so: then it is told twice, under the same key, never not at all.

A box without peers has none of this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import HomeportError
from appliance.core.limits_catalog_stream import (
    HAND_OVER_AFTER_MS,
    STANDING_IN_LOOK_MS,
    TAKE_OVER_AFTER_MS,
    TAKE_OVER_DEVICE_COUNT_MAX,
)
from appliance.management.audit import Act
from appliance.management.replication_state import ReplicationState
from appliance.updates.engine import Engine
from appliance.updates.fence import raise_fence_and_tell
from appliance.updates.work import Work
from storage.catalog import AsyncCatalog
from storage.catalog.homes import TakenOver

_TAKE_OVER: Final = Act(action="site.take_over")
_HAND_OVER: Final = Act(action="site.hand_over")
_log = logs.get(__name__)


class CommandDesk(Protocol):
    """What says commands (appliance/twins/commands.py)."""

    def look(self, device_ids: list[str]) -> None:
        """Commands are there for these devices."""


class StandingIn:
    """See the module's docstring.

    Args:
        replication: Asks the replicator who is there; None where the box belongs to no fleet.
        fleet: The folder that a box with peers has.
        where: At which nodes a device is connected, as their logs say; "" is this one.
        away: Told which nodes of the site are not heard of, and since when, UTC ms.
    """

    def __init__(
        self,
        catalog: AsyncCatalog,
        engine: Engine,
        commands: CommandDesk,
        *,
        replication: Callable[[], Awaitable[ReplicationState | None]],
        fleet: Path,
        where: Callable[[str], Collection[str]],
        away: Callable[[Mapping[str, int]], None],
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._commands = commands
        self._replication = replication
        self._fleet = fleet
        self._where = where
        self._away = away
        self._away_since_ms: dict[str, int] = {}
        self._moved: dict[str, tuple[str, int]] = {}
        self._known: set[str] | None = None
        self._clock = clock
        self._dead_since_mono_ms: dict[str, int] = {}
        self._taken = self._fetched = self._told = self._handed = self._failures = 0
        self._failure = ""

    def statistics(self) -> dict[str, Any]:
        """Numbers since the start."""
        return {
            "dead_nodes": len(self._dead_since_mono_ms),
            "taken_over_total": self._taken,
            "commands_fetched_total": self._fetched,
            "notifications_taken_total": self._told,
            "handed_over_total": self._handed,
            "failures_total": self._failures,
        }

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if await trio.to_thread.run_sync(self._fleet.is_dir):
                await self.look()
            await trio.sleep(STANDING_IN_LOOK_MS / 1_000)

    async def look(self) -> None:
        """Once: who is gone, and whether a device of theirs is here. What fails is said once and tried again."""
        try:
            await self._fetch_commands()
            await self._take_on()
            state = await self._replication()
            gone = self._gone(state)
            if state is not None:
                self._tell_away(state)
                await self._hand_over(state)
            if gone:
                await self._take_over(gone)
            if gone and state is not None and is_next(state, gone):
                await self._tell_for(gone)
                await self._end_for(gone)
            self._failure = ""
        except HomeportError as error:
            self._failures += 1
            if error.message != self._failure:
                _log.warning("nobody can be stood in for", reason=error.message, hint=error.hint)
            self._failure = error.message

    def _gone(self, state: ReplicationState | None) -> list[str]:
        """Nodes of this site that have been dead for long enough, or are no nodes of it any more."""
        mates = [peer for peer in state.peers if peer.is_of_this_site] if state is not None else []
        now_ms = self._clock.mono_ms()
        dead = {peer.node_id for peer in mates if peer.member == "dead" and peer.link != "up"}
        self._dead_since_mono_ms = {each: self._dead_since_mono_ms.get(each, now_ms) for each in dead}
        out = {peer.node_id for peer in mates if peer.state == "decommissioned"}
        late = {
            each
            for each, since_ms in self._dead_since_mono_ms.items()
            if now_ms - since_ms >= TAKE_OVER_AFTER_MS
        }
        return sorted(out | late)

    def _tell_away(self, state: ReplicationState) -> None:
        """Which nodes can't say that their sessions have ended: that are dead, or taken out for good."""
        nodes = {
            peer.node_id for peer in state.peers if peer.is_of_this_site and peer.state == "decommissioned"
        }
        nodes |= self._dead_since_mono_ms.keys()
        now_ms = self._clock.now_ms()
        self._away_since_ms = {node: self._away_since_ms.get(node, now_ms) for node in nodes}
        self._away(self._away_since_ms)

    async def _fetch_commands(self) -> None:
        """Commands that wait on another node for a device that listens here are said here: there it can't be reached."""
        devices = await self._catalog.read(
            lambda reader: reader.devices_with_commands_elsewhere(limit=TAKE_OVER_DEVICE_COUNT_MAX),
            pool="pipeline",
        )
        here = [each for each in devices if self._engine.surroundings.is_listening(each)]
        if here:
            self._fetched += await self._catalog.write(
                lambda writer: writer.take_over_queued(here), by=_TAKE_OVER
            )
            self._commands.look(here)

    async def _take_on(self) -> None:
        """Go on with what another node has handed over since the last look."""
        if await self._catalog.read(lambda reader: reader.has_handed_back(), pool="pipeline"):
            await self._catalog.write(lambda writer: writer.hand_back(), by=_HAND_OVER)
        ids = await self._catalog.read(
            lambda reader: reader.taken_on(limit=TAKE_OVER_DEVICE_COUNT_MAX), pool="pipeline"
        )
        # At the start the engine has armed all that is driven here.
        new = [] if self._known is None else [each for each in ids if each not in self._known]
        self._known = set(ids)

        def take(work: Work) -> None:
            for each in new:
                if work.catalog.drives_execution(each):
                    work.take_on(each)

        if new:
            await self._engine.do(take, by=_HAND_OVER)
            _log.info("updates of devices that came here are driven here now", executions=len(new))

    async def _hand_over(self, state: ReplicationState) -> None:
        """Give up what is driven here of devices that have been at another node for a while."""
        mates = {
            peer.node_id
            for peer in state.peers
            if peer.is_of_this_site and peer.state == "admitted" and peer.link == "up"
        }
        under_way = await self._catalog.read(
            lambda reader: reader.driven_under_way(limit=TAKE_OVER_DEVICE_COUNT_MAX), pool="pipeline"
        )
        now_ms, moved = self._clock.mono_ms(), {}
        for execution_id, device_id in under_way:
            nodes = set(self._where(device_id))
            if len(nodes) == 1 and nodes <= mates and not self._engine.surroundings.is_here(device_id):
                (node_id,) = nodes
                before = self._moved.get(execution_id)
                moved[execution_id] = (
                    before if before is not None and before[0] == node_id else (node_id, now_ms)
                )
        self._moved = moved
        due: dict[str, list[str]] = {}
        for execution_id, (node_id, since_ms) in moved.items():
            if now_ms - since_ms >= HAND_OVER_AFTER_MS:
                due.setdefault(node_id, []).append(execution_id)
        for node_id, ids in due.items():
            count = await self._engine.do(partial(_give, execution_ids=ids, node_id=node_id), by=_HAND_OVER)
            self._handed += count
            self._moved = {each: at for each, at in self._moved.items() if each not in ids}
            _log.info("updates of devices that have moved are handed over", node=node_id, executions=count)

    async def _tell_for(self, gone: Sequence[str]) -> None:
        """Send what nodes that are gone had still to tell people."""
        if not await self._catalog.read(lambda reader: reader.has_notifications_of(gone), pool="pipeline"):
            return
        now_ms = self._clock.now_ms()
        count = await self._catalog.write(
            lambda writer: writer.take_over_notifications(gone, now_ms), by=_TAKE_OVER
        )
        self._told += count
        _log.warning("what a node that is gone had to tell people is told from here", nodes=gone, count=count)

    async def _end_for(self, gone: Collection[str]) -> None:
        """Bring rollouts to their end of which no device has anything to do any more, so that none comes here with one."""
        homes = list(gone)
        if not await self._catalog.read(lambda reader: reader.has_ended_rollouts_of(homes), pool="pipeline"):
            return

        count = await self._engine.do(
            lambda work: work.catalog.take_over_ended_rollouts(homes), by=_TAKE_OVER
        )
        self._engine.look_soon()
        self._taken += count
        _log.warning("rollouts of a node that is gone are brought to their end here", nodes=gone, count=count)

    async def _take_over(self, gone: Collection[str]) -> None:
        homes = list(gone)
        devices = await self._catalog.read(
            lambda reader: reader.devices_driven_by(homes, limit=TAKE_OVER_DEVICE_COUNT_MAX), pool="pipeline"
        )
        here = [each for each in devices if self._engine.surroundings.is_here(each)]
        if not here:
            return

        def take(work: Work) -> TakenOver:
            taken = work.catalog.take_over(here, homes)
            for execution_id in taken.executions:
                work.take_on(execution_id)
            if taken.executions:
                raise_fence_and_tell(work)
            return taken

        taken = await self._engine.do(take, by=_TAKE_OVER)
        if taken:
            self._taken += len(taken.executions) + len(taken.commands)
            self._known = (self._known or set()) | set(taken.executions)
            _log.warning(
                "updates and commands of a node that is gone are driven here now",
                nodes=homes,
                executions=len(taken.executions),
                rollouts=len(taken.rollouts),
                commands=len(taken.commands),
            )
        if taken.commands:
            self._commands.look(here)


def _give(work: Work, *, execution_ids: Sequence[str], node_id: str) -> int:
    return work.catalog.hand_over(execution_ids, node_id)


def is_next(state: ReplicationState, gone: Collection[str]) -> bool:
    """Whether this node is the one that does once what nodes that are gone did for the site as a whole."""
    there = {
        peer.node_id
        for peer in state.peers
        if peer.is_of_this_site
        and peer.state == "admitted"
        and peer.node_id not in gone
        and (peer.link == "up" or peer.member in ("alive", "suspect"))
    }
    return all(state.node_id < each for each in there)
