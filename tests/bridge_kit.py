"""A log on disk for the bridge's tests, filled record by record, and its reader."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.core.clock import ManualClock
from storage.log.columns import Kind, encode_columns
from storage.log.reader import LogReader
from storage.log.traced import with_traces
from storage.log.writer import LogWriter
from tests.broker_kit import NODE_ID, GatedDisk, KitSigner

NOW_MS = 1_700_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    topic: str = "dm/d1/telemetry"
    payload: bytes = b"x"
    qos: int = 1
    is_retained: bool = False
    properties: bytes = b""
    kind: Kind = Kind.PUBLISH
    principal: str = "d1"
    packet_id: int = 0
    delay_ms: int = 0
    trace: bytes = b""


class KitLog:
    """Blocks of records; `append` gives the first one's sequence."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(NOW_MS)
        self.writer = LogWriter.open(
            directory,
            stream="telemetry",
            node_id=NODE_ID,
            signer=KitSigner(),
            clock=self.clock,
            disk=GatedDisk(),
            segment_bytes=1024 * 1024,
        )

    def append(self, *records: Record) -> int:
        first_seq = self.writer.head.next_seq
        topics = list(dict.fromkeys(record.topic.encode() for record in records))
        clients = list(dict.fromkeys((record.principal, record.principal) for record in records))
        flags, properties = with_traces(
            bytes(record.qos << 1 | record.is_retained for record in records),
            {at: record.properties for at, record in enumerate(records) if record.properties},
            {at: record.trace for at, record in enumerate(records) if record.trace},
        )
        body = encode_columns(
            kinds=bytes(record.kind for record in records),
            flags=flags,
            clients=clients,
            client_index=array("H", [clients.index((r.principal, r.principal)) for r in records]),
            topics=topics,
            topic_index=array("H", [topics.index(r.topic.encode()) for r in records]),
            packet_ids=array("H", [record.packet_id for record in records]),
            received_delta_ms=array("I", [record.delay_ms for record in records]),
            payloads=[record.payload for record in records],
            properties=properties,
        )
        self.writer.append(
            body,
            record_count=len(records),
            first_time_ms=NOW_MS,
            last_time_ms=NOW_MS + max(record.delay_ms for record in records),
        )
        return first_seq

    def reader(self) -> LogReader:
        return LogReader(self.directory)


@contextmanager
def kit_log(directory: Path) -> Iterator[KitLog]:
    log = KitLog(directory)
    try:
        yield log
    finally:
        log.writer.close()
