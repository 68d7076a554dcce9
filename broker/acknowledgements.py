"""The answers to the publishes of a block that is on disk: PUBACK for QoS 1, PUBREC for QoS 2, one send per run of a
connection's packets.

The data plane calls `acknowledge` when the committer has said that the block is on disk, and from nowhere else: no
acknowledgement leaves before.
Source: MQTT 5.0 §4.3.2, §4.3.3, §4.6 (order of acknowledgements).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .intake import QOS_2

if TYPE_CHECKING:
    from .data_plane import DataPlane
    from .open_block import OpenBlock

PUBACK: Final = b"\x40\x02"
PUBREC: Final = b"\x50\x02"


def acknowledge(block: OpenBlock, plane: DataPlane) -> int:
    """Send the acknowledgements, where nothing stands before them at once; returns how many."""
    if block.batch.qos2_count:
        return _acknowledge_mixed(block, plane)
    packet_ids = block.batch.packet_ids
    start = total = 0
    for connection, (_, run) in zip(block.publishers, block.batch.client_runs, strict=True):
        if run == 1:
            joined = packet_ids[start]
            count = 1
        else:
            ids = [packet_id for packet_id in packet_ids[start : start + run] if packet_id]
            joined = PUBACK.join(ids)
            count = len(ids)
        start += run
        if not joined or connection is None or connection.fd < 0:
            continue
        total += count
        if connection.has_properties:
            connection.unacknowledged_count -= count
        try:
            if not connection.answer(PUBACK + joined):
                plane.mark_dirty(connection)
        except OSError as error:
            plane.lose(connection, str(error))
    return total


def _acknowledge_mixed(block: OpenBlock, plane: DataPlane) -> int:
    """The same where some are of QoS 2: PUBACK or PUBREC, in the order of the publishes."""
    batch = block.batch
    start = total = 0
    for connection, (_, run) in zip(block.publishers, batch.client_runs, strict=True):
        stop = start + run
        flags, packet_ids = batch.flags[start:stop], batch.packet_ids[start:stop]
        start = stop
        if connection is None or connection.fd < 0:
            continue
        answer = b"".join(
            [
                (PUBREC if flag & QOS_2 else PUBACK) + packet_id
                for flag, packet_id in zip(flags, packet_ids, strict=True)
                if packet_id
            ]
        )
        if not answer:
            continue
        total += len(answer) // 4
        if connection.has_properties:
            # A message of QoS 2 counts until PUBCOMP (MQTT 5.0 §4.9).
            connection.unacknowledged_count -= sum(
                bool(packet_id) and not flag & QOS_2
                for flag, packet_id in zip(flags, packet_ids, strict=True)
            )
        try:
            if not connection.answer(answer):
                plane.mark_dirty(connection)
        except OSError as error:
            plane.lose(connection, str(error))
    return total
