"""A fleet that ships to two regions, with faults of either, made from one seed. As world.py, over hours where one box is alone.

Boxes alone cost next to nothing to simulate, so most worlds are of one box and hours; those of more show what neighbours do for each other.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final

import trio

from appliance.core.errors import HomeportError
from replication.tier.auditing import WALK_COUNT
from replication.tier.envelope import KeyOf
from replication.tier.shipping import FILL_PACE_MS, ShippingOptions
from replication.tier.source import TierSource, claim_key
from replication.tier.waiting import waits
from storage.replicas.streams import StreamId

from .body import Body
from .coroutines import Task
from .disk import Disk
from .frames import Frame
from .region import Line, Region
from .standing import TierSettings, site_keys
from .tier_judge import TierJudge
from .tier_pieces import ModelCopy
from .world import World

REGIONS: Final = ("west", "east")
"""In order of preference."""
MINUTE_MS: Final = 60_000
FAULTS_MINUTES: Final = {1: (30, 150), 2: (6, 14)}
"""How long faults come and go, by node count; others as FAULTS_FEW_MINUTES."""
FAULTS_FEW_MINUTES: Final = (4, 7)
LOOK_MS: Final = 2_000
RESTORE_AGAIN_S: Final = 30.0
FILLED_MS: Final = 6 * MINUTE_MS
"""A region that is back is asked within 60 s, and filled every minute; and a failed attempt is made again within 45 s."""


class TierWorld(World):
    """See the module's docstring.

    Args:
        seed: Of everything that is not told.
        node_count: How many boxes.
        faults_ms: How long faults come and go; from the seed if not told.
        options: How boxes ship; from the seed if not told.
    """

    def __init__(
        self,
        seed: int,
        node_count: int,
        *,
        faults_ms: int | None = None,
        options: ShippingOptions | None = None,
    ) -> None:
        super().__init__(seed, node_count)
        source = self.source
        low, high = FAULTS_MINUTES.get(node_count, FAULTS_FEW_MINUTES)
        self.faults_ms = faults_ms or source.randrange(low, high) * MINUTE_MS
        self.check_ms = 15_000
        self._beside: list[Task] = []
        self.audit_ms = source.choice((1, 5)) * MINUTE_MS if node_count == 1 else 20_000
        self.options = options or ShippingOptions(
            is_filling=source.random() < 0.85,
            bytes_per_s=source.choice((0, 0, 0, 400)) if node_count == 1 else 0,
            audit_ms=self.audit_ms,
        )
        self.tier_judge.is_filling = self.options.is_filling
        self.tier_judge.is_bounded = bool(self.options.bytes_per_s)
        self.regions = [
            Region(
                name,
                latency_ms=source.randrange(5, 120),
                piece_bytes_max=source.choice((500, 1_200, 65_536)),
                on_kept=self.tier_judge.kept,
            )
            for name in REGIONS
        ]
        self.tier_judge.regions = self.regions
        for body in self.bodies:
            if node_count == 1:
                body.write_interval_ms = source.randrange(5_000, 30_000)
            self._equip(body)

    def make_judge(self) -> TierJudge:
        self._generation = self.source.choice((0, 1))
        self.tier_judge = TierJudge(self.scheduler, self._opening)
        return self.tier_judge

    def _opening(self, stream: StreamId) -> KeyOf:
        site_id = next(info.site_id for info in self.roster if info.node_id == stream.node_id)
        return site_keys(site_id, self._generation).opening(stream)

    def add_body(self, name: str, disk: Disk) -> Body:
        body = super().add_body(name, disk)
        if hasattr(self, "regions"):
            self._equip(body)
        return body

    def _equip(self, body: Body) -> None:
        lines = {region.name: Line(region, self.source) for region in self.regions}
        body.tier_settings = TierSettings(lines, self.options, self._generation)
        self.after(self.source.randrange(LOOK_MS), partial(self._look, body))

    def _look(self, body: Body) -> None:
        if body.is_up and not body.disk.must_claim:
            self._tell_epoch(body)
        self.tier_judge.look(body)
        self.after(LOOK_MS, partial(self._look, body))

    def _tell_epoch(self, body: Body) -> None:
        """A box that runs puts its own epoch into each region that answers, where it is nobody's (appliance/run/tier_claims.py)."""
        key, claim = claim_key(body.node_id, body.disk.epoch), body.disk.instance.encode()
        for line in body.lines.values():
            if line.region.state == "well" and not line.is_cut:
                line.region.kept_objects.setdefault(key, claim)

    # --- A lost disk ---------------------------------------------------------------------------------------------

    def run_beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Somebody's work that no box's process does."""
        task = Task(work, self.scheduler, lambda: self.scheduler.now_ms)
        self._beside.append(task)
        self.after(0, task.step)

    def close(self) -> None:
        super().close()
        for task in self._beside:
            task.kill()

    def lose_disk(self, body: Body) -> None:
        """A box is destroyed; a new one is restored out of the tier, as `homeport restore --from s3://…` does."""
        lost = body.disk
        body.crash()
        body.is_lost = True
        body.disk = Disk(
            node_id=body.node_id, instance=f"{self.source.getrandbits(64):016x}", must_claim=True
        )
        self.run_beside(self._restore(body, lost))

    async def _restore(self, body: Body, lost: Disk) -> None:
        while True:
            had = {region.name: self.tier_judge.had(region, body, lost) for region in self.regions}
            found: list[tuple[tuple[int, int], str, ModelCopy, int]] = []
            for name, line in body.lines.items():
                try:
                    with waits().within(300):
                        copy, known = await self._copy(body, name, line)
                        found.append((copy.head().place, name, copy, known))
                except (HomeportError, trio.TooSlowError) as error:
                    self.scheduler.note(f"{body.name} has nothing from {name}: {error}")
            if any(copy.log.segments for _, _, copy, _ in found):
                _, name, copy, known = max(found, key=lambda each: each[0])
                try:
                    source = self._source_of(body, name, body.lines[name])
                    epoch = await source.claim(body.node_id, body.disk.instance, known)
                except (HomeportError, trio.TooSlowError) as error:
                    self.scheduler.note(f"{body.name} has no epoch from {name}: {error}")
                else:
                    self._begin(body, had[name], name, copy, epoch)
                    return
            await waits().sleep(RESTORE_AGAIN_S)

    def _source_of(self, body: Body, name: str, line: Line) -> TierSource:
        return TierSource(name, line, site_keys(body.site_id, self._generation))

    async def _copy(self, body: Body, name: str, line: Line) -> tuple[ModelCopy, int]:
        """What a region has of a box's log, as far as it goes; and its latest epoch."""
        source = self._source_of(body, name, line)
        holders = (await source.holders(body.node_id)).get(body.own, {})
        copy = ModelCopy(body.own)
        try:
            await source.copy(body.own, copy)
        except HomeportError as error:
            self.scheduler.note(f"{body.name} has all up to {copy.head().next_seq} from {name}: {error}")
        return copy, max((head.epoch for head in holders.values()), default=0)

    def _begin(self, body: Body, had: Sequence[Frame], name: str, copy: ModelCopy, epoch: int) -> None:
        self.fault(f"{body.name} is restored from {name} up to {copy.head().next_seq}, in epoch {epoch}")
        log = copy.log
        log.is_own = True
        region = next(each for each in self.regions if each.name == name)
        self.tier_judge.restored(body, region, log, had)
        body.disk.logs[body.own] = log
        body.disk.epoch, body.disk.must_claim = epoch, False
        self.judge.claimed(body)
        body.is_lost = False
        body.start()

    # --- How it ends ----------------------------------------------------------------------------------------------

    def heal(self) -> None:
        for region in self.regions:
            if region.name not in self.tier_judge.lost_regions:
                region.state = "well"
            region.lost_share, region.bytes_per_s = 0.0, 0
            region.latency_ms = min(region.latency_ms, 120)
        for body in self.judge.bodies.values():
            for line in body.lines.values():
                line.is_cut = False
        super().heal()

    def deadline_ms(self) -> int:
        deadline_ms = super().deadline_ms() + FILLED_MS + FILL_PACE_MS
        if self.options.bytes_per_s:
            sent_bytes = sum(len(data) for region in self.regions for data in region.data.values())
            deadline_ms += (2 * sent_bytes + 200_000) * 1000 // self.options.bytes_per_s
        if any(region.lied for region in self.regions):
            # The whole listing is walked in so many audits, and what one finds is mended by the end of the next.
            deadline_ms += (WALK_COUNT + 2) * (self.audit_ms + MINUTE_MS)
        return deadline_ms
