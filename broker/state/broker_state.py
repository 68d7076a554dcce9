"""What the broker knows beyond its connections, as the sum of the log's records.

Retained messages are changed by `apply_batch` when a record is on disk, and by `apply_block` at the next start, and in no other
way. Sessions are changed by their connections (lifecycle.py), which have it recorded, and at the start by replay.py from
the same records.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from appliance.core.errors import LogDamaged
from storage.log.columns import MESSAGE_KINDS, Kind

from ..delivery import NEVER, expiry_ms
from ..router import Router
from .checkpoint import Checkpoint
from .replay import Replay
from .retained import RetainedMessage, RetainedMessages
from .session_snapshot import group_snapshot, restore_group, restore_session, session_snapshot
from .sessions import Sessions

if TYPE_CHECKING:
    from appliance.core.config import BrokerConfig
    from storage.log.block import Block

    from ..mqtt.batch import Batch

FLAG_RETAIN: Final = 1


class BrokerState:
    """See the module's docstring.

    Args:
        retained, sessions: Empty, or a checkpoint's.
        next_seq: The first record that was not applied yet.
    """

    def __init__(self, retained: RetainedMessages, sessions: Sessions, next_seq: int) -> None:
        self.retained = retained
        self.sessions = sessions
        self._replay = Replay(sessions)
        self.next_seq = next_seq
        self.replayed_count = 0
        """Records that were read again at the start, behind the checkpoint."""
        self._retained_changes = 0

    @property
    def change_count(self) -> int:
        """Grows with everything that a checkpoint would say otherwise than the one before."""
        return self._retained_changes + self.sessions.change_count + self.sessions.router.change_count

    @classmethod
    def empty(cls, config: BrokerConfig) -> BrokerState:
        """Nothing, within the configured bounds."""
        return cls(
            RetainedMessages(messages_max=config.retained_messages_max, bytes_max=config.retained_bytes_max),
            Sessions(
                Router(),
                queue_messages_max=config.session_queue_messages_max,
                queue_bytes_max=config.session_queue_bytes_max,
            ),
            0,
        )

    def apply_batch(self, batch: Batch, first_seq: int) -> None:
        """Take the retained messages of a block that has just reached the disk."""
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
                is_of_site=batch.other_kinds.get(index) == Kind.SITE_PUBLISH,
            )

    def apply_block(self, block: Block) -> None:
        """Take a block of the log, at the start.

        Raises:
            LogDamaged: its body isn't what a writer makes.
        """
        columns = block.columns()
        self._replay.apply(block, columns)
        for index, flags in enumerate(columns.flags):
            if flags & FLAG_RETAIN and columns.kinds[index] in MESSAGE_KINDS:
                self._retain(
                    seq=block.first_seq + index,
                    client_id=columns.clients[columns.client_index[index]][0],
                    topic=columns.topics[columns.topic_index[index]],
                    payload=columns.payload(index),
                    properties=columns.published_properties(index),
                    flags=flags,
                    received_at_ms=block.first_time_ms + columns.received_delta_ms[index],
                    is_of_site=columns.kinds[index] == Kind.SITE_PUBLISH,
                )
        self.next_seq = block.next_seq

    def checkpoint(self) -> Checkpoint:
        """All of it as it is now."""
        groups = [group for group in self.sessions.router.groups.values() if group.is_durable]
        return Checkpoint(
            next_seq=self.next_seq,
            retained=self.retained.messages(),
            sessions=[
                session_snapshot(session)
                for session in self.sessions
                if session.is_durable or session.will is not None
            ],
            groups=[group_snapshot(group, self.next_seq) for group in groups],
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Have what a checkpoint says; nothing was there before.

        Raises:
            LogDamaged: it says nonsense.
        """
        for message in checkpoint.retained:
            self.retained.keep(message)
        try:
            for fields in checkpoint.sessions:
                restore_session(self.sessions, fields)
            for group in checkpoint.groups:
                restore_group(self.sessions.router.groups, group)
        except (KeyError, TypeError, ValueError) as error:
            raise LogDamaged(
                f"The broker's checkpoint has a session that can't be read: {error!r}.",
                hint="It is made anew from the log; nothing is to be done.",
            ) from error
        self.next_seq = checkpoint.next_seq

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
        is_of_site: bool,
    ) -> None:
        """An empty payload removes, any other is kept (MQTT 5.0 §3.3.1.3); of two nodes' messages the later one counts."""
        if is_of_site and not self.retained.is_newer(topic, received_at_ms, payload):
            return
        self._retained_changes += 1
        if not payload:
            self.retained.clear(topic, received_at_ms)
            return
        expires_at_ms = expiry_ms(properties, received_at_ms) if properties else NEVER
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
