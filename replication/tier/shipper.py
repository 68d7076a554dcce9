"""Shipping at work: the machine, the regions' engines and what is held here put together. For trio.

A region has a task that connects it with its first step and keeps it connected; its steps run beside each other, as many as the machine
lets. A region that can't be connected fails the steps that wait for it, and is connected again with the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import HomeportError
from replication.effects import Place
from replication.randomness import Randomness
from replication.tier.auditing import Auditor
from replication.tier.engine import Opening
from replication.tier.envelope import open_piece
from replication.tier.keys import TierKeys
from replication.tier.local_pieces import LocalPieces
from replication.tier.region_calls import CALL_ERRORS, CALL_S, RegionCalls, failed
from replication.tier.region_requests import RegionRequests
from replication.tier.shipping import Shipping, ShippingOptions
from replication.tier.steps import Audit, Failed, FindEnd, Ship, Step, Tell
from replication.tier.walked_file import read_walked, write_walked
from storage.replicas.streams import Chunk, StreamHead, StreamId

log = structlog.get_logger(__name__)


class Shipper:
    """See the module.

    Args:
        regions: What connects each, in order of preference.
        directory: Where a stream is that is held here.
        folder: What is remembered of audits is kept there.
        on_tell: Hears what regions have.
    Attributes:
        requests: What each region was asked.
    """

    def __init__(
        self,
        regions: Mapping[str, Opening],
        *,
        directory: Callable[[StreamId], Path],
        folder: Path,
        keys: TierKeys,
        options: ShippingOptions,
        on_tell: Callable[[Tell], None],
        clock: Clock,
        random: Randomness,
    ) -> None:
        self._openings = regions
        self._local = LocalPieces.in_files(directory)
        self._folder, self._keys, self._on_tell, self._clock, self._random = (
            folder,
            keys,
            on_tell,
            clock,
            random,
        )
        self.machine = Shipping(list(regions), random, clock.mono_ms(), options)
        self.requests = {region: RegionRequests(clock.mono_ms()) for region in regions}
        self._calls: dict[str, RegionCalls] = {}
        self._auditors: dict[str, Auditor] = {}
        self._one_reads = trio.CapacityLimiter(1)
        self._queues: dict[str, trio.MemorySendChannel[FindEnd | Ship | Audit]] = {}
        self._woken = trio.Event()
        self._said: dict[str, str] = {}

    # --- What happens here ------------------------------------------------------------------------------------

    def holds(self, stream: StreamId, head: StreamHead, *, is_own: bool) -> None:
        """A stream is held here, durably, up to `head`."""
        self._do(self.machine.holds(stream, head, self._clock.mono_ms(), is_own=is_own))

    def told(self, region: str, stream: StreamId, head: StreamHead) -> None:
        """Somebody else says how far a region has a stream."""
        self.machine.told(region, stream, head, self._clock.mono_ms())
        self._woken.set()

    def dropped(self, stream: StreamId) -> None:
        """A stream isn't held here any more, or is another one than it was."""
        self.machine.drops(stream)
        self._local.forget(stream)

    async def frames(
        self, stream: StreamId, epoch: int, next_seq: int, frame_hash: bytes, upto_seq: int
    ) -> Chunk | None:
        """The frames that go on from a place and begin before `upto_seq`, of the first connected region that has them; None: none has.

        What is in them is not verified.
        """
        place = Place(epoch=epoch, next_seq=next_seq, hash=frame_hash)
        for region, calls in list(self._calls.items()):
            try:
                with trio.fail_after(CALL_S):
                    piece = await calls.piece_at(stream, place, upto_seq)
                if piece is not None:
                    opening = self._keys.opening(stream)
                    return await trio.to_thread.run_sync(partial(open_piece, piece.data, opening))
            except CALL_ERRORS as error:
                log.warning("a region was asked in vain", region=region, stream=str(stream), error=str(error))
        return None

    @property
    def key_generation(self) -> int:
        """Of the key that seals what is put there now; 0: it is left readable."""
        return self._keys.generation

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ships until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                for region in self._openings:
                    send, receive = trio.open_memory_channel[FindEnd | Ship | Audit](float("inf"))
                    self._queues[region] = send
                    nursery.start_soon(self._serve, region, receive)
                nursery.start_soon(self._keep_time)
                task_status.started()
        finally:
            self._queues = {}
            self._local.close()

    # --- Inside -----------------------------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        while True:
            now_ms = self._clock.mono_ms()
            self._do(self.machine.tick(now_ms))
            self._woken = trio.Event()
            next_ms = self.machine.next_at_ms(self._clock.mono_ms())
            wait_s = float("inf") if next_ms is None else max(0.001, (next_ms - now_ms) / 1000)
            with trio.move_on_after(wait_s):
                await self._woken.wait()

    def _do(self, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, Tell):
                self._on_tell(step)
            elif step.region in self._queues:
                self._queues[step.region].send_nowait(step)
        self._say()
        self._woken.set()

    async def _serve(self, region: str, queue: trio.MemoryReceiveChannel[FindEnd | Ship | Audit]) -> None:
        """Keeps one region connected, and does its steps."""
        while True:
            first = await queue.receive()
            pending = {first.number: first}
            try:
                await self._connected(region, first, queue, pending)
            except CALL_ERRORS as error:
                outcome = failed(error)
            except BaseExceptionGroup as group:
                matched, rest = group.split(CALL_ERRORS)
                if rest is not None or matched is None:
                    raise
                outcome = failed(_first(matched))
            for step in pending.values():
                self._fail(step, outcome)

    async def _connected(
        self,
        region: str,
        first: FindEnd | Ship | Audit,
        queue: trio.MemoryReceiveChannel[FindEnd | Ship | Audit],
        pending: dict[int, FindEnd | Ship | Audit],
    ) -> None:
        """Connects, and does steps for as long as the connection lasts.

        Args:
            pending: Steps that are not done yet.
        Raises:
            TierAway, TierUnfit, TooSlowError: it can't be connected, or was lost.
        """
        with trio.fail_after(CALL_S) as time:
            async with self._openings[region]() as engine, trio.open_nursery() as nursery:
                time.deadline = float("inf")
                calls = RegionCalls(engine, self._local, self._keys, self._one_reads, self._calls.get)
                walked = await trio.to_thread.run_sync(read_walked, self._folder, region)
                self._auditors[region] = Auditor(
                    region, calls, self._others, self._keys, self._random, walked
                )
                self._calls[region] = calls
                self.requests[region].connected(engine.statistics)
                try:
                    step = first
                    while True:
                        nursery.start_soon(self._work, calls, step, pending)
                        step = await queue.receive()
                        pending[step.number] = step
                finally:
                    self.requests[region].ended()
                    del self._calls[region], self._auditors[region]

    async def _work(
        self, calls: RegionCalls, step: FindEnd | Ship | Audit, pending: dict[int, FindEnd | Ship | Audit]
    ) -> None:
        match step:
            case FindEnd():
                found = await calls.find(step)
                del pending[step.number]
                self._do(self.machine.found(step, found, self._clock.mono_ms()))
            case Ship():
                outcome = await calls.ship(step)
                del pending[step.number]
                self._do(self.machine.shipped(step, outcome, self._clock.mono_ms()))
            case Audit():
                auditor = self._auditors[step.region]
                audited = await auditor.audit(step)
                del pending[step.number]
                if not isinstance(audited, Failed):
                    await trio.to_thread.run_sync(write_walked, self._folder, step.region, auditor.walked)
                    if audited.mended_count or audited.lost_count:
                        log.warning(
                            "a region of the tier had lost what it acknowledged",
                            region=step.region,
                            stream=str(step.stream),
                            mended_pieces=audited.mended_count,
                            lost_records=audited.lost_count,
                        )
                self._do(self.machine.audited(step, audited, self._clock.mono_ms()))

    def _fail(self, step: FindEnd | Ship | Audit, outcome: Failed) -> None:
        now_ms = self._clock.mono_ms()
        match step:
            case FindEnd():
                self._do(self.machine.found(step, outcome, now_ms))
            case Ship():
                self._do(self.machine.shipped(step, outcome, now_ms))
            case Audit():
                self._do(self.machine.audited(step, outcome, now_ms))

    def _others(self, besides: str) -> list[RegionCalls | None]:
        now_ms, regions = self._clock.mono_ms(), self.machine.regions
        return [
            None if regions.is_doubtful(region, now_ms) else self._calls.get(region)
            for region in self._openings
            if region != besides
        ]

    def _say(self) -> None:
        """What changes about a region is said once."""
        for state in self.machine.states:
            if state.reason != self._said.get(state.name, ""):
                self._said[state.name] = state.reason
                if state.reason:
                    log.warning(
                        "a region of the tier takes nothing",
                        region=state.name,
                        reason=state.reason,
                        live=self.machine.regions.live,
                    )
                else:
                    log.info("a region of the tier works again", region=state.name)


def _first(group: BaseExceptionGroup[Exception]) -> HomeportError | trio.TooSlowError:
    """Some leaf of a group of engines' errors."""
    error = group.exceptions[0]
    if isinstance(error, BaseExceptionGroup):
        return _first(error)
    assert isinstance(error, CALL_ERRORS)
    return error
