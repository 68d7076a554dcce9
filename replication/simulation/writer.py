"""A node's own stream: blocks are written and synced one after the other, in an epoch that is this body's alone."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from replication.fences import Claim

from .frames import Frame
from .log_model import LogModel

if TYPE_CHECKING:
    from .body import Body

SYNC_MS = 12
"""A sync takes 1 ms to so long."""
SEAL_MS = 500
"""A segment is sealed 1 ms to so long after it is full."""


class Writer:
    """Of one process of a body.

    Args:
        body: Whose disk, links and clock they are.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self.claim: Claim | None = None

    def write_later(self) -> None:
        """Write a block in a while."""
        if self._body.write_interval_ms:
            self._body.after(
                int(self._body.source.expovariate(1 / self._body.write_interval_ms)), self._write
            )

    def _write(self) -> None:
        if self.claim is not None or not self._body.write_interval_ms or self._body.is_full:
            self.write_later()
            return
        self.write_block()

    def write_block(self) -> None:
        """Write one now; another one follows in a while, if the body writes by itself."""
        log = self._body.disk.logs[self._body.own]
        body = self._body.source.randbytes(self._body.body_bytes)
        frame = log.make_frame(1 + self._body.source.randrange(20), self._body.wall_ms(), body)
        log.write(frame)
        self._body.after_disk(SYNC_MS, lambda: self._synced(frame))

    def _synced(self, frame: Frame) -> None:
        log = self._body.disk.logs[self._body.own]
        if frame not in log.pending and log.hash_at(frame.epoch, frame.next_seq) != frame.hash:
            self.write_later()  # another epoch began meanwhile: it was never acknowledged
            return
        log.sync()
        self._body.scheduler.note(
            f"{self._body.name} writes {frame.epoch} {frame.next_seq} {frame.hash.hex()[:8]}"
        )
        self._body.observer.acknowledged(self._body, frame)
        self._body.holds(self._body.own, log)
        self._seal_later(log)
        self.write_later()

    def _seal_later(self, log: LogModel) -> None:
        """What is full gets its footer beside the writing."""

        def seal() -> None:
            if log.seal():
                self._body.holds(self._body.own, log)

        if log.is_sealing_due:
            self._body.after_disk(SEAL_MS, seal)

    def renew(self) -> None:
        """Somebody else may write this epoch, or did: nothing is written before another one is claimed, as another instance."""
        self._body.disk.must_claim = True
        self._body.disk.instance = f"{self._body.source.getrandbits(128):032x}"
        known = [
            self._body.disk.epoch,
            *(epoch for epoch, _ in self._body.gossip.stored_by(self._body.own).values()),
        ]
        known += [
            place.epoch for stream, (_, place) in self._body.gossip.ahead.items() if stream == self._body.own
        ]
        known += [
            log.head().epoch
            for stream, log in self._body.disk.logs.items()
            if stream.node_id == self._body.node_id
        ]
        self.claim = Claim(
            self._body.node_id,
            self._body.disk.instance,
            known_epoch=max(known),
            others=[info.node_id for info in self._body.roster],
            rng=random.Random(self._body.source.getrandbits(64)),
            now_ms=self._body.scheduler.now_ms,
        )
        for peer in self._body.links:
            self._body.do(self.claim.connected(peer))

    def look_at_claim(self) -> None:
        """A majority may have given its voice."""
        if self.claim is None or self.claim.status.state != "claimed":
            return
        self._body.disk.epoch = self.claim.status.epoch
        self._body.disk.must_claim = False
        self.claim = None
        ahead = self._body.gossip.ahead.pop(self._body.own, None)
        log = self._body.disk.logs[self._body.own]
        if ahead is not None and not log.frames:
            _, place = ahead
            log = self._body.disk.logs[self._body.own] = LogModel(self._body.own, is_own=True, base=place)
        log.pending.clear()  # it was not acknowledged, and the log is opened anew
        log.begin_epoch(self._body.disk.epoch)
        self._body.holds(self._body.own, log)
        self._seal_later(log)
        self._body.scheduler.note(
            f"{self._body.name} claims epoch {self._body.disk.epoch} at {log.last.next_seq}"
        )
        self._body.observer.claimed(self._body)
