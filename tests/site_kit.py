"""A site on one disk: each node's own log, and as much of it as was copied to the others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from appliance.core.clock import ManualClock
from appliance.core.errors import LogDamaged
from appliance.core.limits_site import SITE_TURN_MS
from storage.log import Block, Disk, LogReader, LogWriter
from storage.site import SiteOrder, SiteReader
from tests.log_kit import Record, body_of
from tests.storage_log_kit import KitSigner, QuickDisk

NODES = tuple(f"{number:032x}" for number in (0xA, 0xB, 0xC))


class Log:
    """A stream as some node has it."""

    def __init__(self, directory: Path, node_id: str) -> None:
        self.directory = directory
        self.node_id = node_id
        self.writer = self._open()

    def _open(self) -> LogWriter:
        return LogWriter.open(
            self.directory,
            stream="telemetry",
            node_id=bytes.fromhex(self.node_id),
            signer=KitSigner(),
            clock=ManualClock(),
            disk=QuickDisk(),
            segment_bytes=64 * 1024,
        )

    def append(self, records: Sequence[Record]) -> None:
        body, first_ms, last_ms = body_of(records)
        self.writer.append(body, len(records), first_ms, last_ms)

    def append_block(self, block: Block) -> None:
        """A block of another copy: the same bytes, so the same hash."""
        self.writer.append(block.body, block.record_count, block.first_time_ms, block.last_time_ms)

    def reopen(self, *, new_epoch: bool = False) -> None:
        self.writer.close()
        if new_epoch:
            (self.directory / "new-epoch").touch()
        self.writer = self._open()

    @property
    def next_seq(self) -> int:
        return self.writer.head.next_seq


class Box:
    """One node: its own log, its copies of the others', its order."""

    def __init__(self, folder: Path, own: int = 0, *, disk: Disk | None = None) -> None:
        self.folder = folder
        self.own_id = NODES[own]
        self.clock = ManualClock()
        self.disk = disk or QuickDisk()
        self.own = Log(folder / "log" / "telemetry", self.own_id)
        self.copies: dict[str, Log] = {}
        self.nodes: list[str] = list(NODES)
        self.order = self.open_order()

    def copy(self, node_id: str, branch: str = "") -> Log:
        """Its copy of another node's stream."""
        name = f"telemetry.{branch}" if branch else "telemetry"
        key = f"{node_id}/{name}"
        if key not in self.copies:
            self.copies[key] = Log(self.folder / "replicas" / node_id / name, node_id)
        return self.copies[key]

    def take_over(self, other: Box, until_seq: int | None = None) -> None:
        """Copy another node's own log, up to a record."""
        mine = self.copy(other.own_id)
        for block in all_blocks(LogReader(other.own.directory), mine.next_seq):
            if until_seq is not None and block.next_seq > until_seq:
                break
            mine.append_block(block)

    def open_order(self, *, was_used: bool = False) -> SiteOrder:
        return SiteOrder(
            self.folder / "site",
            own_log=self.folder / "log" / "telemetry",
            own_id=self.own_id,
            replicas=self.folder / "replicas",
            nodes=lambda: self.nodes,
            clock=self.clock,
            disk=self.disk,
            was_used=was_used,
        )

    def restart(self) -> None:
        self.order.close()
        self.order = self.open_order()

    def reader(self, *, takes_turns: bool = True) -> SiteReader:
        return SiteReader(self.order, takes_turns=takes_turns)

    def turn(self) -> None:
        """Time goes by until others' records are taken."""
        self.clock.advance(SITE_TURN_MS[0] * 3)

    def close(self) -> None:
        self.order.close()
        self.own.writer.close()
        for log in self.copies.values():
            log.writer.close()


def all_blocks(reader: LogReader | SiteReader, seq: int = 1) -> list[Block]:
    """All blocks from a record on, as one cursor reads them; damage ends the test. The reader is closed."""
    found: list[Block] = []
    while blocks := reader.read(seq):
        found += blocks
        seq = blocks[-1].next_seq
    reader.close()
    return found


def read_on(reader: SiteReader, seq: int = 1) -> tuple[list[Block], list[tuple[int, int]]]:
    """What a cursor gets that turns until there is nothing more, and the ranges that it was refused."""
    found: list[Block] = []
    refused: list[tuple[int, int]] = []
    while seq < reader.head().next_seq:
        try:
            blocks = reader.read(seq)
        except LogDamaged as error:
            assert error.first_seq <= seq < error.next_seq
            refused.append((error.first_seq, error.next_seq))
            seq = error.next_seq
            continue
        found += blocks
        seq = blocks[-1].next_seq
    return found, refused


def check_chain(blocks: Sequence[Block]) -> None:
    """Dense, each naming the one before, epochs never falling."""
    for before, after in pairwise(blocks):
        assert after.first_seq == before.next_seq
        assert after.prev_hash == before.hash
        assert after.epoch >= before.epoch


def record(text: str, device: str = "dev-1", at_ms: int = 1_700_000_000_000) -> Record:
    return Record(text.encode(), b"dm/%s/telemetry" % device.encode(), at_ms, principal=device)


def texts(blocks: Sequence[Block]) -> list[tuple[str, str]]:
    """(node id or "", payload) of all records."""
    return [
        (block.origin, columns.payload(at).decode())
        for block in blocks
        for columns in [block.columns()]
        for at in range(block.record_count)
    ]
