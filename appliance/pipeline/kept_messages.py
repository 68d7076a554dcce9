"""Messages that the log still has: the newest of some topics, or those at given positions.

For trying mappings out and for reading dead letters again. Every look is bounded by messages, bytes and time. A record
that is gone or damaged is simply not there: whoever asks has another source, or says so. For one thread at a time.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits import RECENT_LOOK_BYTES_MAX, RECENT_LOOK_MS_MAX
from storage.log.block import Block
from storage.log.columns import Columns, Kind
from storage.log.source import LogSource

_STEP_RECORDS: Final = 2_000
_STEP_RECORDS_MAX: Final = 64_000
_PUBLISHES: Final = (Kind.PUBLISH, Kind.SERVER_PUBLISH)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMessage:
    """One publish as the log has it, or as a dead letter kept it.

    Attributes:
        boot_id: In which boot its device was then, where that is known.
        is_noted: Its sequence number was taken note of before it was refused.
    """

    epoch: int
    seq: int
    received_at_ms: int
    topic: bytes
    payload: bytes
    client_id: str = ""
    principal: str = ""
    boot_id: str | None = None
    is_noted: bool = False

    @property
    def position(self) -> tuple[int, int]:
        return self.epoch, self.seq

    def as_block(self) -> tuple[Block, Columns]:
        """The message as a block of its own, at its own position: what reads blocks reads it as it would in the log."""
        columns = Columns(
            kinds=bytes([Kind.PUBLISH]),
            flags=b"\0",
            clients=[(self.client_id, self.principal)],
            client_index=array("H", [0]),
            topics=[self.topic],
            topic_index=array("H", [0]),
            packet_ids=array("H", [0]),
            received_delta_ms=array("I", [0]),
            payload_offsets=array("I", [0, len(self.payload)]),
            payload_data=self.payload,
            properties={},
        )
        at_ms = self.received_at_ms
        return Block(self.epoch, self.seq, 1, at_ms, at_ms, b"", b"", b""), columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """What a look back found.

    Attributes:
        messages: The newest first. looked_at: Records that were looked at.
        is_whole: The look reached the log's beginning or found as many as were wanted.
    """

    messages: Sequence[KeptMessage]
    looked_at: int
    is_whole: bool


class KeptMessages:
    """Looks into one log.

    Args:
        reader: For these looks alone. mono_ms: A monotonic clock, ms.
    """

    def __init__(self, reader: LogSource, mono_ms: Callable[[], int]) -> None:
        self._reader = reader
        self._mono_ms = mono_ms

    def recent(self, is_wanted: Callable[[str], bool], count: int) -> Recent:
        """The newest messages whose topic is wanted, payloads that clear a retained message left out.

        Raises:
            StorageError, Unavailable: the log's head can't be read.
        """
        until_mono_ms = self._mono_ms() + RECENT_LOOK_MS_MAX
        found: list[KeptMessage] = []
        end, first = self._reader.head().next_seq, self._reader.first_seq()
        looked = size = 0
        step = _STEP_RECORDS
        while end > first and len(found) < count:
            if size > RECENT_LOOK_BYTES_MAX or self._mono_ms() > until_mono_ms:
                return Recent(messages=found, looked_at=looked, is_whole=False)
            begin = max(first, end - step)
            part: list[KeptMessage] = []
            for block in self._blocks(begin, end):
                size += len(block.body)
                looked += block.record_count
                part += _wanted(block, is_wanted, begin, end)
            found += reversed(part[-(count - len(found)) :])
            end, step = begin, min(2 * step, _STEP_RECORDS_MAX)
        return Recent(messages=found, looked_at=looked, is_whole=True)

    def at(self, positions: Iterable[tuple[int, int]]) -> dict[tuple[int, int], KeptMessage]:
        """The messages at these (epoch, sequence), as far as the log has them."""
        found: dict[tuple[int, int], KeptMessage] = {}
        block: Block | None = None
        columns: Columns | None = None
        for epoch, seq in sorted(positions):
            if block is None or not block.first_seq <= seq < block.next_seq:
                block = next(self._blocks(seq, seq + 1), None)
                columns = None if block is None else _columns(block)
            if block is not None and columns is not None and block.epoch == epoch:
                message = _message(block, columns, seq - block.first_seq)
                if message is not None:
                    found[epoch, seq] = message
        return found

    def _blocks(self, begin: int, end: int) -> Iterator[Block]:
        """The blocks that hold these sequences, as far as they can be read."""
        while begin < end:
            try:
                blocks = self._reader.read(begin)
            except (StorageError, Unavailable) as error:
                begin = max(getattr(error, "next_seq", end), begin + 1)
                continue
            for block in blocks:
                if block.first_seq >= end:
                    return
                yield block
            if not blocks:
                return
            begin = blocks[-1].next_seq


def _columns(block: Block) -> Columns | None:
    try:
        return block.columns()
    except StorageError:
        return None


def _wanted(block: Block, is_wanted: Callable[[str], bool], begin: int, end: int) -> list[KeptMessage]:
    columns = _columns(block)
    if columns is None:
        return []
    topics = {
        at for at, topic in enumerate(columns.topics) if topic and is_wanted(topic.decode("utf-8", "replace"))
    }
    if not topics:
        return []
    found = []
    for at, topic_at in enumerate(columns.topic_index):
        if topic_at in topics and begin <= block.first_seq + at < end:
            message = _message(block, columns, at)
            if message is not None and message.payload:
                found.append(message)
    return found


def _message(block: Block, columns: Columns, at: int) -> KeptMessage | None:
    """One record as a message; None when it is of another kind."""
    if columns.kinds[at] not in _PUBLISHES:
        return None
    client_id, principal = columns.clients[columns.client_index[at]]
    return KeptMessage(
        epoch=block.epoch,
        seq=block.first_seq + at,
        received_at_ms=block.first_time_ms + columns.received_delta_ms[at],
        topic=columns.topics[columns.topic_index[at]],
        payload=columns.payload(at),
        client_id=client_id,
        principal=principal,
    )
