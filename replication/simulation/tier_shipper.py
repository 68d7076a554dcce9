"""A box ships: the real machine, the real calls of regions and the real audits, as replication/tier/shipper.py puts them together, on the virtual clock.

What is not the real thing: the regions (region.py), what is read (tier_pieces.py), and that regions are connected all the time.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from replication.tier.auditing import Auditor, Walked
from replication.tier.feeding import Feed
from replication.tier.local_pieces import LocalPieces
from replication.tier.pieces import PieceName
from replication.tier.region_calls import RegionCalls
from replication.tier.shipping import Shipping
from replication.tier.steps import Audit, Audited, Failed, FindEnd, Refused, Ship, Shipped, Step, Tell
from storage.replicas.streams import StreamHead, StreamId

from .coroutines import Task
from .standing import TierSettings, site_keys
from .tier_pieces import ModelSource, part_of

if TYPE_CHECKING:
    from .body import Body

LOOK_INTERVAL_MS = 1_000
"""As LOOK_INTERVAL_S of replication/tier/feeding.py."""


class ModelShipper:
    """Of one process of a body.

    Args:
        body: Whose disk and clock they are.
        tell: Hears what regions have.
    """

    def __init__(self, body: Body, settings: TierSettings, tell: Callable[[Tell], None]) -> None:
        self._body = body
        self._tell = tell
        self._due_ms: int | None = None
        self._tasks: list[Task] = []
        options, keys = settings.options, site_keys(body.site_id, settings.generation)
        rng = random.Random(body.source.getrandbits(64))
        self.machine = Shipping(list(settings.lines), rng, body.scheduler.now_ms, options)
        self._local = LocalPieces(partial(ModelSource, body.disk.logs), part_of=part_of)
        one_reads = trio.CapacityLimiter(1)
        self._calls = {
            name: RegionCalls(line, self._local, keys, one_reads, self._other)
            for name, line in settings.lines.items()
        }
        self._auditors = {
            name: Auditor(name, calls, self._others, keys, rng, _walked(body, name))
            for name, calls in self._calls.items()
        }

    def stop(self) -> None:
        """The process ends: what is under way goes no further."""
        for task in self._tasks:
            task.kill()
        self._tasks.clear()

    # --- As Ships (replication/tier/feeding.py) -----------------------------------------------------------------

    def holds(self, stream: StreamId, head: StreamHead, *, is_own: bool) -> None:
        self._do(self.machine.holds(stream, head, self._body.scheduler.now_ms, is_own=is_own))

    def told(self, region: str, stream: StreamId, head: StreamHead) -> None:
        self.machine.told(region, stream, head, self._body.scheduler.now_ms)
        self._schedule()

    def dropped(self, stream: StreamId) -> None:
        self.machine.drops(stream)
        self._local.forget(stream)

    # --- Inside -----------------------------------------------------------------------------------------------

    def _do(self, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, Tell):
                self._tell(step)
            else:
                self.run(self._work(step))
        self._schedule()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something of this process beside what else there is."""
        task = Task(work, self._body, lambda: self._body.scheduler.now_ms)
        self._tasks = [each for each in self._tasks if not each.is_over]
        self._tasks.append(task)
        self._body.after(0, task.step)

    async def _work(self, step: FindEnd | Ship | Audit) -> None:
        body, calls = self._body, self._calls[step.region]
        match step:
            case FindEnd():
                found = await calls.find(step)
                self._note(step, found)
                self._do(self.machine.found(step, found, body.scheduler.now_ms))
            case Ship():
                outcome = await calls.ship(step)
                self._note(step, outcome)
                self._do(self.machine.shipped(step, outcome, body.scheduler.now_ms))
            case Audit():
                auditor = self._auditors[step.region]
                audited = await auditor.audit(step)
                self._note(step, audited)
                if isinstance(audited, Audited):
                    body.disk.walked[step.region] = copy.deepcopy(auditor.walked)
                self._do(self.machine.audited(step, audited, body.scheduler.now_ms))

    def _note(self, step: FindEnd | Ship | Audit, outcome: object) -> None:
        what = outcome.reason if isinstance(outcome, Failed) else _brief(outcome)
        self._body.scheduler.note(
            f"{self._body.name} {type(step).__name__} {step.region} {step.stream.node_id[:3]} {step.stream.branch} {what}"
        )

    def _schedule(self) -> None:
        now_ms = self._body.scheduler.now_ms
        next_ms = self.machine.next_at_ms(now_ms)
        if next_ms is None:
            return
        at_ms = max(now_ms + 1, next_ms)
        if self._due_ms is None or at_ms < self._due_ms or self._due_ms <= now_ms:
            self._due_ms = at_ms
            self._body.after(at_ms - now_ms, partial(self._timer, at_ms))

    def _timer(self, at_ms: int) -> None:
        if at_ms == self._due_ms:
            self._due_ms = None
            self._do(self.machine.tick(self._body.scheduler.now_ms))

    def _other(self, region: str) -> RegionCalls | None:
        return self._calls.get(region)

    def _others(self, besides: str) -> list[RegionCalls | None]:
        now_ms, regions = self._body.scheduler.now_ms, self.machine.regions
        return [
            None if regions.is_doubtful(region, now_ms) else calls
            for region, calls in self._calls.items()
            if region != besides
        ]


ModelFeed = Feed[ModelShipper]


def feed_of(body: Body, settings: TierSettings | None) -> ModelFeed:
    """What is between a process's gossip and its shipping; without regions it does nothing."""
    feed: ModelFeed = Feed(settings.infos() if settings is not None else ())
    if settings is None:
        return feed
    shipper = ModelShipper(body, settings, feed.tell)

    def look() -> None:
        feed.look()
        body.after(LOOK_INTERVAL_MS, look)

    feed.join(body.node_id, body.gossip, body.tick_gossip, lambda: body.scheduler.now_ms, shipper)
    feed.set_site(body.mates)
    body.after(LOOK_INTERVAL_MS, look)
    return feed


def _walked(body: Body, region: str) -> dict[StreamId, Walked]:
    return copy.deepcopy(body.disk.walked.get(region, {}))


def _brief(outcome: object) -> str:
    match outcome:
        case Shipped(name=name) | Refused(last=PieceName() as name) | (PieceName() as name):
            return f"{type(outcome).__name__} {name.epoch} {name.first_seq}..{name.next_seq}"
        case Audited():
            return f"Audited {outcome.looked_count} {outcome.mended_count} {outcome.lost_count}"
        case _:
            return type(outcome).__name__
