"""From the log to what a bridge sends: blocks behind a cursor, of which only the records that match are looked at.

A block's topics are a dictionary: a rule is compared with each topic once per block, and the records of topics that nobody wants
are passed over as a column. Never beyond the durable head. Blocking; for one thread at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from appliance.core.errors import CursorExpired, LogDamaged, ProtocolError
from appliance.core.limits import BRIDGE_READ_BYTES, USER_PROPERTY_COUNT_MAX
from broker.mqtt.codec import decode_properties
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from broker.mqtt.topics import validate_topic_name
from broker.mqtt.violations import local
from storage.log.block import Block
from storage.log.columns import Columns, Kind
from storage.log.head import Head

from .topics import TopicRule, outgoing

VIA: Final = "homeport-via"
"""User property of MQTT 5 that names each node a message has crossed a bridge of."""
BRIDGES: Final = "bridge/"
"""How the principals of our own bridges begin."""
_MESSAGES: Final = (int(Kind.PUBLISH), int(Kind.SERVER_PUBLISH))


class Log(Protocol):
    """What is needed of `storage.log.LogReader`."""

    def head(self) -> Head: ...
    def first_seq(self) -> int: ...
    def read(self, seq: int, *, bytes_max: int) -> list[Block]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A message for the remote. `topic` is its name there, `qos` the one to send it with."""

    seq: int
    topic: str
    payload: bytes
    qos: int
    is_retained: bool
    properties: Properties


@dataclass(slots=True, kw_only=True)
class Batch:
    """What a look at the log gave.

    Attributes:
        reached_seq: Where to go on.
        head_seq: How far the log is on disk.
        gone: Records that the log no longer has.
        looped, expired, unsendable: Messages left out: they were here before; their time is up; their name there would
            be none that MQTT allows.
    """

    reached_seq: int
    head_seq: int
    epoch: int
    found: list[Found] = field(default_factory=list)
    gone: int = 0
    looped: int = 0
    expired: int = 0
    unsendable: int = 0


class OutgoingScan:
    """See the module's docstring.

    Args:
        principal: Whose records came in by this bridge and do not go out by it.
        node: This node's id as text, for `VIA`.
    """

    def __init__(self, log: Log, rules: Sequence[TopicRule], *, principal: str, node: str) -> None:
        self._log = log
        self._rules = tuple(rules)
        self._principal = principal
        self._node = node
        self._ahead: list[tuple[Block, Columns, list[int]]] = []

    def look(self, seq: int, *, count_max: int, bytes_max: int, now_ms: int) -> Batch:
        """Messages from a sequence on, at least one block's worth of looking.

        Args:
            count_max: Most messages.
            bytes_max: Bytes of payloads after which no further message is added.
            now_ms: Wall time, to tell what has expired.
        Raises:
            CursorBeyondHead, Unavailable, LogDamaged: as `LogReader.read`; damage whose end is known is passed over and counted.
        """
        head = self._log.head()
        batch = Batch(reached_seq=seq, head_seq=head.next_seq, epoch=head.epoch)
        if not self._rules and seq <= head.next_seq:
            batch.reached_seq = head.next_seq  # A bridge that only takes in holds nothing up.
            return batch
        try:
            self._read_ahead(seq)
        except CursorExpired:
            batch.reached_seq = self._log.first_seq()
            batch.gone = batch.reached_seq - seq
            return batch
        except LogDamaged as error:
            if error.next_seq <= seq:
                raise
            batch.reached_seq = error.next_seq
            batch.gone = error.next_seq - seq
            return batch
        size = 0
        for block, columns, indexes in self._ahead:
            for index in indexes:
                record_seq = block.first_seq + index
                if record_seq < seq:
                    continue
                if len(batch.found) >= count_max or size >= bytes_max:
                    batch.reached_seq = record_seq
                    return batch
                found = self._message(block, columns, index, batch, now_ms)
                if found is not None:
                    batch.found.append(found)
                    size += len(found.payload)
            batch.reached_seq = block.next_seq
        return batch

    def _read_ahead(self, seq: int) -> None:
        """Have the block that contains `seq` first in `_ahead`, or nothing at the head."""
        while self._ahead and self._ahead[0][0].next_seq <= seq:
            self._ahead.pop(0)
        if self._ahead and self._ahead[0][0].first_seq <= seq:
            return
        self._ahead = []
        for block in self._log.read(seq, bytes_max=BRIDGE_READ_BYTES):
            try:
                columns = block.columns()
            except LogDamaged as error:
                if self._ahead:
                    return
                raise LogDamaged(
                    error.message, first_seq=block.first_seq, next_seq=block.next_seq, hint=error.hint
                ) from error
            self._ahead.append((block, columns, self._matching(columns)))

    def _matching(self, columns: Columns) -> list[int]:
        """Indexes of the records that may go out, found by topic, sender and kind as columns."""
        topics = np.array(
            [bool(topic) and outgoing(self._rules, topic.decode()) is not None for topic in columns.topics],
            bool,
        )
        if not topics.any():
            return []
        others = np.array([principal != self._principal for _, principal in columns.clients], bool)
        kinds = np.frombuffer(columns.kinds, np.uint8)
        wanted = topics[np.frombuffer(columns.topic_index, np.uint16)]
        wanted &= others[np.frombuffer(columns.client_index, np.uint16)]
        wanted &= np.isin(kinds, _MESSAGES)
        indexes: list[int] = np.flatnonzero(wanted).tolist()
        return indexes

    def _may_pass(self, properties: Properties, principal: str) -> bool:
        """Whether a message is not on its way in a circle. What a bridge of ours has brought was marked, and looked at, then."""
        return principal.startswith(BRIDGES) or not crosses_again(properties, self._node)

    def _message(self, block: Block, columns: Columns, index: int, batch: Batch, now_ms: int) -> Found | None:
        where = outgoing(self._rules, columns.topics[columns.topic_index[index]].decode())
        assert where is not None
        topic, qos = where
        try:
            validate_topic_name(topic, local)
        except ProtocolError:
            batch.unsendable += 1
            return None
        flags = columns.flags[index]
        age_ms = now_ms - (block.first_time_ms + columns.received_delta_ms[index])
        properties = Properties.EMPTY
        raw = columns.published_properties(index)
        if raw:
            properties = decode_properties(raw).without(
                PropertyId.TOPIC_ALIAS, PropertyId.SUBSCRIPTION_IDENTIFIER
            )
            if not self._may_pass(properties, columns.clients[columns.client_index[index]][1]):
                batch.looped += 1
                return None
            expiry_s = properties.get(PropertyId.MESSAGE_EXPIRY_INTERVAL)
            if isinstance(expiry_s, int):
                left_s = expiry_s - max(age_ms, 0) // 1000
                if left_s <= 0:
                    batch.expired += 1
                    return None
                properties = properties.with_values({PropertyId.MESSAGE_EXPIRY_INTERVAL: left_s})
        return Found(
            seq=block.first_seq + index,
            topic=topic,
            payload=columns.payload(index),
            qos=min(flags >> 1 & 3, qos),
            is_retained=bool(flags & 1),
            properties=properties,
        )


def crosses_again(properties: Properties, node: str) -> bool:
    """Whether a message has crossed a bridge of this node before, or can't be marked for having no room for it."""
    user = properties.user_properties
    return (VIA, node) in user or len(user) >= USER_PROPERTY_COUNT_MAX


def with_via(properties: Properties, node: str) -> Properties:
    """The properties of a message that crosses a bridge of this node."""
    if (VIA, node) in properties.user_properties:
        return properties
    return Properties(dict(properties.items()), (*properties.user_properties, (VIA, node)))


def packet_ids_in_log(log: Log, since_seq: int, principal: str) -> set[int]:
    """Packet identifiers of the messages that a bridge has brought into the log from a sequence on.

    Raises:
        StorageError: the log can't be read there.
    """
    found: set[int] = set()
    seq = max(since_seq, log.first_seq())
    while blocks := log.read(seq, bytes_max=BRIDGE_READ_BYTES):
        for block in blocks:
            columns = block.columns()
            ours = {slot for slot, (_, name) in enumerate(columns.clients) if name == principal}
            if ours:
                found |= {
                    columns.packet_ids[index]
                    for index, slot in enumerate(columns.client_index)
                    if slot in ours and block.first_seq + index >= since_seq
                }
        seq = blocks[-1].next_seq
    return found - {0}
