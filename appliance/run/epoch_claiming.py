"""Sees, before anything is written, whether this box is the newest body of its node; and gets it an epoch where it can't know. For trio.

    looking    peers that can be reached say what they have of this box's streams; a moment, and nobody has to be there
    yes        nothing speaks against writing; it is looked on, since a peer may come that has more
    no         what peers have more is fetched, so that history goes on where it ended; then a majority of them promises an epoch

A box alone asks the regions of its cloud tier instead, at a start and for a new epoch (tier_claims.py): what they have, and who has its epoch.
An ordinary start ends with "yes" though nobody can be reached: after a power cut of all boxes each comes back by itself. What speaks
against writing is kept on the disk, so a box that was found to be old is old as well when it starts without its peers. The broker
and the node ask before they open their logs (writing_permit.py), and end writing when the answer becomes "no"; the epoch is only
taken once both have let go of them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final, Literal

import msgspec
import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import HomeportError, LogLocked, Unavailable
from appliance.identity.epoch_grants import Grant, note_used, pending_grant
from appliance.identity.keys import SiteKeys
from appliance.run.epoch_catching_up import CatchingUp
from appliance.run.epoch_doubts import (
    HINT,
    goes_on_at,
    going_on_epoch,
    known_epoch,
    local_doubt,
    own_logs,
    rebind,
    take_epoch,
    words_of,
)
from appliance.run.fleet_node import FleetNode
from appliance.run.tier_claims import TierClaims
from replication.fences import Claim
from replication.fetching import Fetcher
from replication.guests import FIRST_REQUEST
from replication.link.admission import CLONE
from replication.link.links import Listener
from replication.replicator import Replicator
from replication.tier.keys import SiteTierKeys
from storage.fleet.epoch_files import Doubt, Reason, write_doubt
from storage.log.segment_header import NO_BRANCH
from storage.replicas.streams import StreamId

LOOK_S: Final = 2.0
"""For peers to be reached and to say what they have, at a start. Whoever is slower is heard all the same, later."""
LOOK_TIER_S: Final = 4.0
"""Beside that, where no peer says anything, for most regions of the tier: less than whoever wants to write waits for an answer (writing_permit.py)."""
LOOK_STEP_S: Final = 0.05
WATCH_S: Final = 2.0
CATCH_UP_S: Final = 60.0
"""For fetching what peers have more. After it the new epoch begins before that, which the peers keep as a branch."""
CLAIM_S: Final = 15.0
RETRY_S: Final = 2.0
RETRY_TIER_S: Final = 15.0
AGAIN_MS: Final = 60_000
"""A fork that is told of within it after an epoch was taken changes nothing: whoever makes them up can't keep a box from writing."""
INSTANCE_BYTES: Final = 16
State = Literal["looking", "yes", "no"]
log = structlog.get_logger(__name__)


class EpochClaiming:
    """Made before the links run, which tell it what they tell the replicator.

    Args:
        tier: Claims in the cloud tier; one without regions where there is no tier.
        behind: Whom it passes on what the links tell; the replicator itself where that is nobody else.
        on_moved: Called once when the box has become another instance: its links have to be made anew.
    """

    def __init__(
        self,
        config: Config,
        keys: SiteKeys,
        node: FleetNode,
        replicator: Replicator,
        *,
        clock: Clock,
        random: Random,
        on_moved: Callable[[], None],
        tier: TierClaims | None = None,
        behind: Listener | None = None,
    ) -> None:
        self._config = config
        self._data_dir = config.node.data_dir
        self._keys = keys
        self._node = node
        self._replicator = replicator
        self._behind = behind or replicator
        self._clock = clock
        self._random = random
        self._on_moved = on_moved
        self._tier = tier or TierClaims({}, node.node_id, self._data_dir, SiteTierKeys(keys.derive, 0))
        self._catch_up = CatchingUp(config, node.node_id, clock=clock).catch_up
        self._body = secrets.token_hex(INSTANCE_BYTES)
        """Who asks: promises are kept to it, and not to the instance, which a copy may share."""
        self._fetcher: Fetcher | None = Fetcher(node.links, first_request=FIRST_REQUEST)
        self._own = {StreamId(node.node_id, name): path for name, path in own_logs(config).items()}  # type: ignore[arg-type]
        self._taken_epoch = 0
        self._taken_mono_ms: int | None = None
        self.state: State = "looking"
        self.doubt: Doubt | None = None
        self._said = ""

    # --- As the links' listener -------------------------------------------------------------------------------

    def link_up(self, peer: str) -> None:
        self._behind.link_up(peer)
        if self._fetcher is not None:
            self._fetcher.link_up(peer)

    def link_down(self, peer: str) -> None:
        self._behind.link_down(peer)
        if self._fetcher is not None:
            self._fetcher.link_down(peer)

    def message(self, peer: str, data: bytes) -> None:
        """Raises RemoteProtocolError for what can't be understood."""
        self._behind.message(peer, data)
        if self._fetcher is not None:
            self._fetcher.message(peer, data)

    # --- Life -------------------------------------------------------------------------------------------------

    @property
    def problem(self) -> str:
        """Why this box writes nothing, and what to do; "" where it writes."""
        return f"{words_of(self.doubt)} {HINT}" if self.doubt is not None else ""

    def answer(self) -> dict[str, Any]:
        """For who asks whether it may write."""
        return {"state": self.state, "problem": self.problem}

    async def run(self) -> None:
        """Until cancelled. Raises OSError where the own logs' folders can't be read."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tier.run, self._own_epoch)
            await self._run()

    async def _run(self) -> None:
        await self._look()
        while True:
            doubt = await self._find_doubt()
            if doubt is None:
                self.state, self.doubt, self._fetcher = "yes", None, None
                doubt = await self._watch()
            await self._begin_claim(doubt)
            await self._claim()

    async def _look(self) -> None:
        fetcher = self._fetcher
        assert fetcher is not None
        with trio.move_on_after(LOOK_S):
            while not self._all_heard(fetcher):  # noqa: ASYNC110 - links and digests come beside this
                await trio.sleep(LOOK_STEP_S)
        if self._tier and not fetcher.told:
            with trio.move_on_after(LOOK_TIER_S):
                await self._tier.heard.wait()

    async def _own_epoch(self) -> int:
        """In which this box writes, or will as long as nothing speaks against that; 0 while something does."""
        now_ms = self._clock.now_ms()
        if self.doubt or await trio.to_thread.run_sync(partial(local_doubt, self._config, now_ms=now_ms)):
            return 0
        return max(1, await trio.to_thread.run_sync(going_on_epoch, self._config))

    def _all_heard(self, fetcher: Fetcher) -> bool:
        """Everybody has said what it has, or can't be reached."""
        failed = {each.node_id for each in self._node.links.statistics().dials if each.reason}
        linked = set(self._node.links.peers())
        return all(
            entry.node_id in (fetcher.told if entry.node_id in linked else failed)
            for entry in self._node.keeper.roster.peers_of(self._node.node_id)
        )

    async def _find_doubt(self) -> Doubt | None:
        """What speaks against writing; None where nothing does.

        Raises:
            OSError: a log's folder can't be read.
        """
        now_ms = self._clock.now_ms()
        local = await trio.to_thread.run_sync(partial(local_doubt, self._config, now_ms=now_ms))
        if local is not None:
            return local
        if await self._is_replaced():
            return self._doubt("cloned")
        return self._doubt("ahead") if await self._is_ahead() else None

    async def _is_ahead(self) -> bool:
        """Whether anybody has more of an own stream than is on this disk."""
        gossip = self._replicator.gossip
        told = self._fetcher.heads_of(self._node.node_id) if self._fetcher is not None else {}
        for stream, directory in self._own.items():
            found = [each[stream].place for each in (told, self._tier.found.heads) if stream in each]
            places = [(0, 0), *gossip.stored_by(stream).values(), *found]
            head = gossip.head(stream)
            if max(places) <= max((head.epoch, head.next_seq), (self._taken_epoch, 0)):
                continue
            # The head file may be older than the log after a power cut: what counts is what is on the disk.
            if max(places) > await trio.to_thread.run_sync(goes_on_at, directory):
                return True
        return False

    async def _watch(self) -> Doubt:
        """Look on while it writes, until something speaks against that."""
        was_ahead = False
        while True:
            await trio.sleep(WATCH_S)
            if await self._is_replaced():
                return self._doubt("cloned")
            if self._is_forked():
                return self._doubt("forked")
            # Often it was read from our log and sent a moment before we looked at its head.
            is_ahead = await self._is_ahead()
            if is_ahead and was_ahead:
                return self._doubt("ahead")
            was_ahead = is_ahead

    async def _is_replaced(self) -> bool:
        """Whether another body of this node is there, or has claimed this one's epoch or a later one in the tier."""
        if self._is_refused():
            return True
        if not self._tier.found.others:
            return False
        return self._tier.taken(max(1, await trio.to_thread.run_sync(going_on_epoch, self._config)))

    def _is_refused(self) -> bool:
        """Whether a peer has a link with another body of this node that answers, or knows one that came later."""
        dials, linked = self._node.links.statistics().dials, self._node.links.peers()
        # Who has connected to us since doesn't refuse us any more.
        return any(each.reason == CLONE and not each.is_ours and each.node_id not in linked for each in dials)

    def _is_forked(self) -> bool:
        if self._taken_mono_ms is not None and self._clock.mono_ms() - self._taken_mono_ms < AGAIN_MS:
            return False
        for stream in self._own:
            frozen = self._replicator.gossip.forks.frozen_at(stream)
            epoch = max(self._replicator.gossip.head(stream).epoch, self._taken_epoch)
            if frozen is not None and frozen[0] >= epoch:
                return True
        return False

    def _doubt(self, reason: Reason) -> Doubt:
        return Doubt(reason=reason, since_ms=max(0, self._clock.now_ms()))

    # --- Getting an epoch -------------------------------------------------------------------------------------

    async def _begin_claim(self, doubt: Doubt) -> None:
        await self._tell(doubt)
        self.state = "no"
        log.error("this box writes nothing", why=words_of(doubt), hint=HINT)
        if self._fetcher is None:
            self._fetcher = Fetcher(self._node.links, first_request=FIRST_REQUEST)
            for peer in self._node.links.peers():
                self._fetcher.link_up(peer)

    async def _claim(self) -> None:
        while True:
            try:
                if await self._try_claim():
                    return
                self._said = ""
            except (HomeportError, OSError) as error:
                if str(error) != self._said:
                    log.warning("an epoch can't be had yet", reason=str(error))
                self._said = str(error)
            await trio.sleep(RETRY_S)

    async def _try_claim(self) -> bool:
        """Try once; whether this box may write now."""
        fetcher, own_id = self._fetcher, self._node.node_id
        assert fetcher is not None
        grant = await trio.to_thread.run_sync(
            partial(pending_grant, self._data_dir, self._keys, now_ms=self._clock.now_ms())
        )
        others = [entry.node_id for entry in self._node.keeper.roster.peers_of(own_id)]
        if self._node.links.peers():
            holders = await fetcher.holders(own_id)
            if not grant:
                with trio.move_on_after(CATCH_UP_S):
                    await self._catch_up(fetcher.heads_of(own_id), fetcher.copy, parted=fetcher.parted)
            known = max([0, *(head.epoch for found in holders.values() for head in found.values())])
        elif others and not grant:
            return False
        elif grant and self.doubt is not None and self.doubt.reason == "cloned" and self._node.fleet.can_sign:
            # As itself it is let in nowhere any more. As an instance of its own it may be, and can ask.
            await trio.to_thread.run_sync(partial(rebind, self._config, self._node.fleet, clock=self._clock))
            await self._tell(self._doubt("forked"))
            self._on_moved()
            return False
        elif self._tier and not others and not grant:
            return await self._claim_in_tier()
        else:
            known = self._tier.found.known_epoch()
        known = max(known, self._taken_epoch, await trio.to_thread.run_sync(known_epoch, self._config))
        if grant:
            await self._take(known + 1, grant)
            return True
        claim = Claim(
            own_id,
            self._body,
            known_epoch=known,
            others=others,
            rng=self._random,
            now_ms=self._clock.mono_ms(),
        )
        is_claimed = await fetcher.claim(claim, within_s=CLAIM_S)
        assert self.doubt is not None
        status = claim.status
        await self._tell(
            msgspec.structs.replace(
                self.doubt,
                epoch=status.epoch,
                voters_count=len(status.voters),
                needed_count=status.needed_count,
            )
        )
        if is_claimed:
            await self._take(status.epoch, None)
        return is_claimed

    async def _claim_in_tier(self) -> bool:
        """As `_try_claim`, of a box alone."""
        assert self.doubt is not None
        if self.doubt.reason == "cloned":
            return False  # whoever came later goes on; if both went on claiming, neither would ever write for long
        await self._tell(msgspec.structs.replace(self.doubt, needed_count=self._tier.needed_count))
        try:
            if not await self._tier.look(0):
                raise Unavailable("Too few regions of the tier answer.", code="epoch_not_claimed")
            with trio.move_on_after(CATCH_UP_S):
                await self._catch_up(self._tier.found.heads, self._tier.copy)
            known = max(self._taken_epoch, await trio.to_thread.run_sync(known_epoch, self._config))
            epoch = await self._tier.claim(known)
        except HomeportError:
            await trio.sleep(RETRY_TIER_S)
            raise
        await self._take(epoch, None)
        return True

    async def _take(self, epoch: int, grant: Grant | None) -> None:
        branch = bytes.fromhex(grant.branch) if grant is not None else NO_BRANCH
        while True:
            try:
                is_moved = await trio.to_thread.run_sync(
                    partial(
                        take_epoch, self._config, self._node.fleet, epoch, branch=branch, clock=self._clock
                    )
                )
                break
            except LogLocked:
                await trio.sleep(LOOK_STEP_S)  # who still writes hears of it within seconds, and ends
        if grant is not None:
            await trio.to_thread.run_sync(note_used, self._data_dir, grant, epoch)
        self._taken_epoch, self._taken_mono_ms = epoch, self._clock.mono_ms()
        if is_moved:
            self._on_moved()

    async def _tell(self, doubt: Doubt) -> None:
        self.doubt = doubt
        await trio.to_thread.run_sync(write_doubt, self._data_dir, doubt)
