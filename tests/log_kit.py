"""Logs for tests and benchmarks: records as tuples to a real log on disk, by the real writer."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.core.clock import Clock, SystemClock
from storage.log.columns import Kind, encode_columns
from storage.log.head import Head
from storage.log.traced import with_traces
from storage.log.writer import LogWriter

NODE_ID = bytes(range(16))


class TestSigner:
    """A key of its own, made anew."""

    __test__ = False

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    @property
    def key_id(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


class Record(NamedTuple):
    """One record; `at_ms` is absolute, UTC. `trace`: its traceparent, where it is traced."""

    payload: bytes
    topic: bytes = b"dm/dev-1/telemetry"
    at_ms: int = 1_700_000_000_000
    kind: int = Kind.PUBLISH
    client_id: str = "dev-1"
    principal: str = "dev-1"
    flags: int = 0
    properties: bytes = b""
    trace: bytes = b""


def body_of(records: Sequence[Record]) -> tuple[bytes, int, int]:
    """(a block's body, its first time, its last time)."""
    first_ms = min(record.at_ms for record in records)
    clients = list(dict.fromkeys((record.client_id, record.principal) for record in records))
    topics = list(dict.fromkeys(record.topic for record in records))
    client_at = {client: at for at, client in enumerate(clients)}
    topic_at = {topic: at for at, topic in enumerate(topics)}
    flags, properties = with_traces(
        bytes(record.flags for record in records),
        {at: record.properties for at, record in enumerate(records) if record.properties},
        {at: record.trace for at, record in enumerate(records) if record.trace},
    )
    body = encode_columns(
        kinds=bytes(record.kind for record in records),
        flags=flags,
        clients=clients,
        client_index=array("H", (client_at[r.client_id, r.principal] for r in records)),
        topics=topics,
        topic_index=array("H", (topic_at[record.topic] for record in records)),
        packet_ids=array("H", bytes(2 * len(records))),
        received_delta_ms=array("I", (record.at_ms - first_ms for record in records)),
        payloads=[record.payload for record in records],
        properties=properties,
    )
    return body, first_ms, max(record.at_ms for record in records)


def open_log(directory: Path, *, clock: Clock | None = None) -> LogWriter:
    """The writer of a telemetry stream."""
    return LogWriter.open(
        directory, stream="telemetry", node_id=NODE_ID, signer=TestSigner(), clock=clock or SystemClock()
    )


def append(writer: LogWriter, records: Sequence[Record]) -> Head:
    """Records as one block."""
    body, first_ms, last_ms = body_of(records)
    return writer.append(body, len(records), first_ms, last_ms)
