"""A catalog and its stream, carried over as the node does it, but in one thread."""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import ManualClock
from storage.catalog import Catalog
from storage.catalog_stream.record import decode_change
from storage.catalog_stream.stream_writer import CatalogStreamWriter
from storage.log import Disk
from storage.log.reader import LogReader
from tests.storage_log_kit import NODE_ID, KitSigner, QuickDisk


def open_stream(directory: Path, *, disk: Disk | None = None) -> CatalogStreamWriter:
    return CatalogStreamWriter.open(
        directory, node_id=NODE_ID, signer=KitSigner(), clock=ManualClock(), disk=disk or QuickDisk()
    )


def carry_over(
    catalog: Catalog, stream: CatalogStreamWriter, *, limit: int = 1000, forget: bool = True
) -> None:
    """Everything in the outbox, in parts of `limit` rows."""
    while rows := catalog.outbox_after(stream.position, limit=limit):
        stream.append(rows, is_all=len(rows) < limit)
        if forget:
            catalog.outbox_forget(stream.position)


def positions_in(directory: Path) -> list[int]:
    """Of all records of the stream, in order."""
    reader = LogReader(directory, stream="catalog")
    try:
        found: list[int] = []
        seq = reader.first_seq()
        while blocks := reader.read(seq):
            for block in blocks:
                found += [
                    decode_change(payload, origin=NODE_ID.hex()).position
                    for payload in block.columns().payloads()
                ]
            seq = blocks[-1].next_seq
        return found
    finally:
        reader.close()
