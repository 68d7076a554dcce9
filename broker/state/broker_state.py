"""What the broker knows beyond its connections, as the sum of the log's records: `apply` is called for each of them, in
order, when it is on disk, and again at the next start. There is no other way to change it, so what is served after a
power cut is what was served before.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from storage.log.columns import Kind

from ..mqtt.properties import decode_properties
from ..mqtt.property_table import PropertyId
from .retained import NEVER, RetainedMessage, RetainedMessages

if TYPE_CHECKING:
    from storage.log.block import Block

    from ..mqtt.batch import Batch

FLAG_RETAIN: Final = 1
MESSAGE_KINDS: Final = frozenset({Kind.PUBLISH, Kind.SERVER_PUBLISH})


class BrokerState:
    """See the module's docstring.

    Args:
        retained: Empty, or a checkpoint's.
        next_seq: The first record that was not applied yet.
    """

    def __init__(self, retained: RetainedMessages, next_seq: int) -> None:
        self.retained = retained
        self.next_seq = next_seq
        self.change_count = 0

    def apply_batch(self, batch: Batch, first_seq: int) -> None:
        """Take a block that has just reached the disk."""
        self.next_seq = first_seq + len(batch)
        if not batch.retained:
            return
        marks, senders = batch.time_marks, batch.client_index()
        for index in batch.retained:
            mark = bisect_right(marks, index, key=lambda mark: mark[0]) - 1
            self._retain(
                seq=first_seq + index,
                client_id=batch.clients[senders[index]][0],
                topic=batch.topics[batch.topic_index[index]],
                payload=batch.payloads[index],
                properties=batch.properties.get(index, b""),
                flags=batch.flags[index],
                received_at_ms=marks[mark][1],
            )

    def apply_block(self, block: Block) -> None:
        """Take a block of the log, at the start.

        Raises:
            LogDamaged: its body isn't what a writer makes.
        """
        columns = block.columns()
        for index, flags in enumerate(columns.flags):
            if flags & FLAG_RETAIN and columns.kinds[index] in MESSAGE_KINDS:
                self._retain(
                    seq=block.first_seq + index,
                    client_id=columns.clients[columns.client_index[index]][0],
                    topic=columns.topics[columns.topic_index[index]],
                    payload=columns.payload(index),
                    properties=columns.properties.get(index, b""),
                    flags=flags,
                    received_at_ms=block.first_time_ms + columns.received_delta_ms[index],
                )
        self.next_seq = block.next_seq

    def _retain(
        self,
        *,
        seq: int,
        client_id: str,
        topic: bytes,
        payload: bytes,
        properties: bytes,
        flags: int,
        received_at_ms: int,
    ) -> None:
        """An empty payload removes, any other is kept (MQTT 5.0 §3.3.1.3)."""
        self.change_count += 1
        if not payload:
            self.retained.remove(topic)
            return
        expires_at_ms = NEVER
        if properties:
            interval_s = decode_properties(properties).get(PropertyId.MESSAGE_EXPIRY_INTERVAL)
            if isinstance(interval_s, int):
                expires_at_ms = received_at_ms + interval_s * 1000
        self.retained.keep(
            RetainedMessage(
                seq=seq,
                client_id=client_id,
                topic=topic,
                payload=payload,
                properties=properties,
                qos=flags >> 1 & 3,
                received_at_ms=received_at_ms,
                expires_at_ms=expires_at_ms,
            )
        )
