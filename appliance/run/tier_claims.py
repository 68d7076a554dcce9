"""Epochs that are claimed in the cloud tier: by a box alone, and looked at by every box that has one. For trio.

    claims/NODE/EPOCH    in each region: who has this epoch of the node; put once, by compare-and-set

A box puts its own epoch there when it starts, so that a copy of it which starts elsewhere finds it taken. An epoch is one box's alone when most of the regions
took its claim, and none had another's: two boxes never have the same, whichever regions each of them reaches. Connections are its own and short; what ships
is not held up.

Must not know: what a box does that has no epoch (epoch_claiming.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog
import trio

from appliance.core.errors import Unavailable
from appliance.identity.instance import load_instance
from replication.sources import OnGap, Progress
from replication.tier.engine import Engine, Opening
from replication.tier.keys import TierKeys
from replication.tier.region_calls import CALL_ERRORS
from replication.tier.region_calls import ended as ending
from replication.tier.source import CLAIM_COUNT_MAX, TierSource, claim_key, claim_prefix
from storage.fleet.epoch_files import BODY_COUNT_MAX, read_bodies, write_bodies
from storage.replicas.replica_log import ReplicaLog
from storage.replicas.streams import StreamHead, StreamId

ANSWER_S: Final = 20.0
"""For a region to be connected and to answer; it is asked again later."""
LOOK_AGAIN_S: Final = 600.0
"""Between two looks whether somebody has taken this box's place."""
RETRY_S: Final = 15.0
"""After a look that no region answered."""
BODY_BYTES: Final = 16
Given = TypeVar("Given")
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Found:
    """What regions have said so far.

    Attributes:
        others: Epochs of the node that somebody else has. heads: The furthest that any region has of its own streams.
    """

    others: set[int] = field(default_factory=set)
    heads: dict[StreamId, StreamHead] = field(default_factory=dict)
    is_heard: bool = False

    def known_epoch(self) -> int:
        """The highest that anybody has claimed or written."""
        return max([0, *self.others, *(head.epoch for head in self.heads.values())])


class TierClaims:
    """See the module.

    Args:
        regions: What connects each; none: the box has no tier.
        keys: The site's.
    """

    def __init__(self, regions: Mapping[str, Opening], node_id: str, data_dir: Path, keys: TierKeys) -> None:
        self._regions, self._node_id, self._data_dir, self._keys = regions, node_id, data_dir, keys
        self._said: dict[str, str] = {}
        self.found = Found()
        self.heard = trio.Event()
        """Set once most regions have answered."""

    def __bool__(self) -> bool:
        return bool(self._regions)

    @property
    def needed_count(self) -> int:
        """Regions that make a claim good."""
        return len(self._regions) // 2 + 1

    def taken(self, epoch: int) -> bool:
        """Whether somebody else has this epoch, or a later one."""
        return any(each >= epoch for each in self.found.others)

    async def run(self, own_epoch: Callable[[], Awaitable[int]]) -> None:
        """Put the box's own epoch into the regions, and look for others', again and again.

        Args:
            own_epoch: The one in which it writes; 0 while it may not.
        """
        while self._regions:
            is_heard = await self.look(await own_epoch())
            await trio.sleep(LOOK_AGAIN_S if is_heard else RETRY_S)

    async def look(self, own_epoch: int) -> bool:
        """Ask all regions what they have of this node; whether most of them answered.

        Args:
            own_epoch: Is claimed for this box where it is nobody's; 0: none is.
        """
        answers = await self._ask(partial(self._look_at, own_epoch))
        is_heard = len(answers) >= self.needed_count
        if is_heard:
            self.found.is_heard = True
            self.heard.set()
        return is_heard

    async def claim(self, known_epoch: int) -> int:
        """An epoch that is this box's alone, above all that are known; durable in most regions.

        Raises:
            Unavailable: `epoch_not_claimed`: too few regions answer, or somebody claims again and again. StorageError: the disk failed.
        """
        body = secrets.token_hex(BODY_BYTES)
        bodies = [*await trio.to_thread.run_sync(read_bodies, self._data_dir), body]
        # Kept before anybody hears of it: what was claimed and never used is still known for our own.
        await trio.to_thread.run_sync(write_bodies, self._data_dir, bodies[-BODY_COUNT_MAX:])
        first = max(known_epoch, self.found.known_epoch()) + 1
        for epoch in range(first, first + CLAIM_COUNT_MAX):
            answers = await self._ask(partial(self._put, epoch, body))
            if not all(answers):
                self.found.others.add(epoch)
                continue
            if len(answers) >= self.needed_count:
                return epoch
            raise Unavailable(
                f"{len(answers)} of the {self.needed_count} regions that are needed have taken the claim of epoch {epoch}.",
                hint="homeport tier check says which one does not answer.",
                code="epoch_not_claimed",
            )
        raise Unavailable(
            f"{CLAIM_COUNT_MAX} epochs of this node are claimed already.",
            hint="Something restores this node again and again: look what.",
            code="epoch_not_claimed",
        )

    async def copy(
        self,
        stream: StreamId,
        into: ReplicaLog,
        *,
        until: tuple[int, int] | None = None,
        progress: Progress = lambda stream, done, total: None,
        on_gap: OnGap | None = None,
    ) -> StreamHead:
        """Have what the first region that answers has more of a stream; with `until`, of one after the other until that is here.

        What can't be had, or does not go on from what is here, stays there: it is told in the log of this program.

        Args:
            until, on_gap: As of `Source.copy`.
        """

        async def work(region: str, engine: Engine) -> StreamHead:
            source = TierSource(region, engine, self._keys)
            return await source.copy(stream, into, until=until, progress=progress, on_gap=on_gap)

        for region in self._regions:
            had = await self._ask(work, only=region, within_s=float("inf"))
            if had and (until is None or had[0].place >= until):
                break
        return await trio.to_thread.run_sync(into.head)

    # --- Inside -----------------------------------------------------------------------------------------------

    async def _look_at(self, own_epoch: int, region: str, engine: Engine) -> bool:
        own = await trio.to_thread.run_sync(self._own_bodies)
        async with ending(engine.objects(claim_prefix(self._node_id))) as keys:
            async for key in keys:
                digits = key.rpartition("/")[2]
                if not digits.isdecimal() or int(digits) < max(1, own_epoch):
                    continue
                if await engine.get_object(key) not in own:
                    self.found.others.add(int(digits))
        for stream, held in (await TierSource(region, engine, self._keys).holders(self._node_id)).items():
            head = held[region]
            if not stream.branch and (
                stream not in self.found.heads or self.found.heads[stream].place < head.place
            ):
                self.found.heads[stream] = head
        if (
            own_epoch
            and own
            and not self.taken(own_epoch)
            and not await self._put(own_epoch, own[0].decode(), region, engine)
        ):
            self.found.others.add(own_epoch)
        return True

    async def _put(self, epoch: int, body: str, region: str, engine: Engine) -> bool:
        """Whether the epoch is this box's in a region."""
        key = claim_key(self._node_id, epoch)
        if await engine.put_object(key, body.encode()):
            return True
        own = await trio.to_thread.run_sync(self._own_bodies)
        return await engine.get_object(key) in own

    def _own_bodies(self) -> list[bytes]:
        """By what this box's claims are known, its instance first: by that a restore claims."""
        instance = load_instance(self._data_dir)
        names = [] if instance is None else [instance.instance_id]
        return [name.encode() for name in [*names, *read_bodies(self._data_dir)]]

    async def _ask(
        self,
        work: Callable[[str, Engine], Awaitable[Given]],
        *,
        only: str | None = None,
        within_s: float = ANSWER_S,
    ) -> list[Given]:
        """What those regions give that answer, all asked at the same time."""
        given: list[Given] = []

        async def ask(region: str) -> None:
            why = ""
            try:
                with trio.fail_after(within_s):
                    async with self._regions[region]() as engine:
                        given.append(await work(region, engine))
            except CALL_ERRORS as error:
                why = str(error) or "it did not answer in time"
            except BaseExceptionGroup as group:
                _, rest = group.split(CALL_ERRORS)
                if rest is not None:
                    raise
                why = str(group.exceptions[0])
            if why and why != self._said.get(region):
                log.warning("a region can't be asked", region=region, reason=why)
            self._said[region] = why

        async with trio.open_nursery() as nursery:
            for region in self._regions if only is None else [only]:
                nursery.start_soon(ask, region)
        return given
