"""Which records of another node's log this node's clients want; pure.

A message is wanted where somebody here has a subscription for its topic, connected or not, or where it is to be kept and is
newer than what is kept. What that node itself took from others is left out: its origin's log has it, so no message goes in a circle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from storage.log.block import Block
from storage.log.columns import Columns, Kind

from ..open_block import PendingRecord
from ..state.retained import RetainedMessages

NODES_OWN_TOPIC_PREFIXES: Final = (b"$", b"dm/site/")
"""Each node says these of itself."""
FLAG_BITS: Final = 0b0111
"""QoS and RETAIN, as in the fixed header; DUP is of one connection."""
RETAIN: Final = 1
_TAKEN: Final = np.isin(np.arange(256), (Kind.PUBLISH, Kind.SERVER_PUBLISH))


def wanted_records(
    block: Block,
    columns: Columns,
    *,
    first_seq: int,
    is_subscribed: Callable[[bytes], bool],
    retained: RetainedMessages,
    history_before_ms: int,
) -> list[PendingRecord]:
    """What of a block is to be told here, in order.

    Args:
        first_seq: Records before it were looked at before.
        is_subscribed: Whether somebody has a subscription for a topic.
        history_before_ms: Of what the other node received before this, wall ms, only what is kept matters: nobody here had
            subscribed to it then.
    """
    topic_index = np.asarray(columns.topic_index)
    flags = np.frombuffer(columns.flags, np.uint8)
    is_taken = _TAKEN[np.frombuffer(columns.kinds, np.uint8)]
    is_taken[: max(first_seq - block.first_seq, 0)] = False
    slots = [bool(topic) and not topic.startswith(NODES_OWN_TOPIC_PREFIXES) for topic in columns.topics]
    subscribed = [
        wanted and is_subscribed(topic) for wanted, topic in zip(slots, columns.topics, strict=True)
    ]
    of_somebody = np.array(subscribed, bool)[topic_index]
    may_be_kept = (flags & RETAIN > 0) & np.array(slots, bool)[topic_index]
    found = []
    for index in np.flatnonzero(is_taken & (of_somebody | may_be_kept)).tolist():
        received_at_ms = block.first_time_ms + columns.received_delta_ms[index]
        topic, payload = columns.topics[columns.topic_index[index]], columns.payload(index)
        is_live = bool(of_somebody[index]) and received_at_ms >= history_before_ms
        if not is_live and not (may_be_kept[index] and retained.is_newer(topic, received_at_ms, payload)):
            continue
        found.append(
            PendingRecord(
                Kind.SITE_PUBLISH,
                columns.clients[columns.client_index[index]],
                topic=topic,
                payload=payload,
                flags=columns.flags[index] & FLAG_BITS,
                properties=columns.published_properties(index),
                received_at_ms=received_at_ms,
            )
        )
    return found
