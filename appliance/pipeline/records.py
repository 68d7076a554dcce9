"""From blocks to messages: which records are telemetry, which are presence, and where each record ends.

A batch is a list of whole blocks; a record's index counts through all of them. Each record gets exactly one
`Fate`; a record without one makes the batch uneven, and the store refuses it. Telemetry of a block is gathered by
C-level calls over its columns; the few other records are handled one at a time, in order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import msgspec
import numpy as np

from appliance.core.arrays import I64, U8, Mask
from appliance.core.limits import PAYLOAD_DECODE_BYTES_MAX
from appliance.management.dedup import SeenSequences, Window
from appliance.management.mapping import Route, RouteKind, TopicRouter
from appliance.management.messages import Messages, Payloads, Routes
from appliance.management.points import boot_id_of
from appliance.management.presence import PresenceFold
from appliance.management.readings import Reason, Refusal
from storage.log.block import Block
from storage.log.columns import Columns, Kind


class Fate(IntEnum):
    """Where a record ended. 0 is nowhere: a defect."""

    NONE = 0
    READING = 1
    DUPLICATE = 2
    DEAD_LETTER = 3
    SESSION = 4
    STATUS = 5
    UNMAPPED = 6
    OTHER = 7


FLAG_RETAIN: Final = 1
"""Of a publish's flags (docs/LOG_FORMAT.md)."""
_PUBLISHES: Final = np.isin(np.arange(256), (Kind.PUBLISH, Kind.SERVER_PUBLISH))
"""By kind: whether it carries a message."""


class BatchRecords:
    """The blocks of a batch with their columns decoded, and the fate of each record."""

    def __init__(self, blocks: Sequence[Block], columns: Sequence[Columns]) -> None:
        self.blocks = blocks
        self.columns = columns
        self.starts: list[int] = []
        count = 0
        for block in columns:
            self.starts.append(count)
            count += len(block)
        self.count = count
        self.fates: U8 = np.zeros(count, np.uint8)

    def place(self, record: int) -> tuple[Block, Columns, int]:
        """The block of a record, its columns, and the record's index in them."""
        at = bisect_right(self.starts, record) - 1
        return self.blocks[at], self.columns[at], record - self.starts[at]

    def fate_counts(self) -> list[tuple[int, int]]:
        """(records, records with a fate) of each block. The first is the block header's own count."""
        ends = [*self.starts[1:], self.count]
        return [
            (block.record_count, int(np.count_nonzero(self.fates[start:end])))
            for block, start, end in zip(self.blocks, self.starts, ends, strict=True)
        ]

    def count_of(self, fate: Fate) -> int:
        return int(np.count_nonzero(self.fates == fate))


@dataclass(slots=True)
class Gathered:
    """What a batch's records hold besides their fates.

    Attributes:
        refusals: Records that are dead letters already, by record index.
        boots: Device → (record index at which a status named another boot, the window until then), in order.
    """

    messages: Messages
    refusals: dict[int, Refusal] = field(default_factory=dict)
    boots: dict[str, list[tuple[int, Window]]] = field(default_factory=dict)


def devices_of(columns: Sequence[Columns], router: TopicRouter) -> set[str]:
    """All devices whose topics occur in a batch."""
    routes = [router.route(topic) for block in columns for topic in block.topics]
    return {route.device for route in routes if route.kind is not RouteKind.UNMAPPED}


def gather(
    batch: BatchRecords,
    router: TopicRouter,
    presence: PresenceFold,
    seen: SeenSequences,
    is_accepted: Callable[[str], bool],
) -> Gathered:
    """Sort a batch's records out. Folds presence and boots in passing.

    Args:
        is_accepted: Whether a device's readings are kept.
    """
    found = _Found()
    special = _Special(batch, router, presence, seen, is_accepted, found)
    for block, columns, start in zip(batch.blocks, batch.columns, batch.starts, strict=True):
        routes = [router.route(topic) for topic in columns.topics]
        plain = [
            r.kind is RouteKind.TELEMETRY and r.format == "json" and is_accepted(r.device) for r in routes
        ]
        numbers = np.array([found.routes.setdefault(route, len(found.routes)) for route in routes], np.int64)
        topic_index = np.frombuffer(columns.topic_index, np.uint16)
        selected = _PUBLISHES[np.frombuffer(columns.kinds, np.uint8)]
        if not all(plain):
            selected &= np.array(plain, np.bool_)[topic_index]
        cleared = _clears(columns)
        if cleared is not None:
            selected &= ~cleared
        arrived = block.first_time_ms + np.frombuffer(columns.received_delta_ms, np.uint32).astype(np.int64)
        if selected.all():
            found.add(start + np.arange(len(columns)), numbers[topic_index], arrived, columns, None)
            continue
        chosen = np.flatnonzero(selected)
        if len(chosen):
            found.add(start + chosen, numbers[topic_index[chosen]], arrived[chosen], columns, chosen)
        texts = [
            at for at in np.flatnonzero(~selected).tolist() if special.take(block, columns, start, at, routes)
        ]
        if texts:
            also = np.array(texts, np.int64)
            found.has_text = True
            found.add(start + also, numbers[topic_index[also]], arrived[also], columns, also)
    return Gathered(found.messages(), found.refusals, found.boots)


def _clears(columns: Columns) -> Mask | None:
    """Which records clear a topic's retained message (MQTT 5.0 §3.3.1.3): they have nothing to say. None where none is
    retained, which is the usual block.
    """
    retained = np.frombuffer(columns.flags, np.uint8) & FLAG_RETAIN
    if not retained.any():
        return None
    offsets = np.frombuffer(columns.payload_offsets, np.uint32)
    cleared: Mask = (retained != 0) & (offsets[1:] == offsets[:-1])
    return cleared


class _Found:
    """What was gathered so far."""

    def __init__(self) -> None:
        self.routes: dict[Route, int] = {}
        self.refusals: dict[int, Refusal] = {}
        self.boots: dict[str, list[tuple[int, Window]]] = {}
        self.has_text = False
        self._records: list[I64] = []
        self._route_at: list[I64] = []
        self._received: list[I64] = []
        self._parts: list[Payloads] = []

    def add(self, records: I64, route_at: I64, received: I64, columns: Columns, at: I64 | None) -> None:
        self._records.append(records)
        self._route_at.append(route_at)
        self._received.append(received)
        self._parts.append(Payloads(columns.payload_data, columns.payload_offsets, at))

    def messages(self) -> Messages:
        empty = [np.empty(0, np.int64)]
        return Messages(
            records=np.concatenate(self._records or empty),
            routes=Routes(list(self.routes), np.concatenate(self._route_at or empty)),
            received=np.concatenate(self._received or empty),
            parts=self._parts,
            has_text=self.has_text,
        )


class _Special:
    """Handles the records that are not plain JSON telemetry of a known device."""

    def __init__(
        self,
        batch: BatchRecords,
        router: TopicRouter,
        presence: PresenceFold,
        seen: SeenSequences,
        is_accepted: Callable[[str], bool],
        found: _Found,
    ) -> None:
        self._batch = batch
        self._presence = presence
        self._seen = seen
        self._is_accepted = is_accepted
        self._found = found

    def take(self, block: Block, columns: Columns, start: int, at: int, routes: Sequence[Route]) -> bool:
        """One record: `at` is its index in the block, `start` the block's first index in the batch.

        Returns:
            True when it is a message of telemetry after all, of text.
        """
        kind = columns.kinds[at]
        record = start + at
        at_ms = block.first_time_ms + columns.received_delta_ms[at]
        fates, refusals = self._batch.fates, self._found.refusals
        if kind in (Kind.PUBLISH, Kind.SERVER_PUBLISH):
            if columns.flags[at] & FLAG_RETAIN and not columns.payload(at):
                fates[record] = Fate.OTHER
                return False
            route = routes[columns.topic_index[at]]
            if route.kind is RouteKind.UNMAPPED:
                fates[record] = Fate.UNMAPPED
            elif not self._is_accepted(route.device):
                refusals[record] = Refusal(Reason.UNKNOWN_DEVICE)
            elif route.kind is RouteKind.STATUS:
                if self._status(columns, record, at, route, at_ms, by_server=kind == Kind.SERVER_PUBLISH):
                    fates[record] = Fate.STATUS
                else:
                    refusals[record] = Refusal(Reason.BAD_STATUS)
            else:
                return True
        elif kind in (Kind.SESSION_OPENED, Kind.SESSION_CLOSED, Kind.BROKER_STARTED):
            if self._session(kind, columns, at, at_ms):
                fates[record] = Fate.SESSION
            else:
                refusals[record] = Refusal(Reason.BAD_SESSION_RECORD)
        else:
            fates[record] = Fate.OTHER
        return False

    def _status(
        self, columns: Columns, record: int, at: int, route: Route, at_ms: int, *, by_server: bool
    ) -> bool:
        payload = columns.payload(at)
        if len(payload) > PAYLOAD_DECODE_BYTES_MAX:
            return False
        try:
            fields = msgspec.json.decode(payload)
        except (ValueError, RecursionError):  # msgspec's and UTF-8's errors are ValueErrors
            return False
        if not isinstance(fields, dict):
            return False
        if not self._presence.status(route.device, fields, at_ms, by_server=by_server):
            return False
        boot_id = None if by_server else boot_id_of(fields)
        if boot_id is not None:
            before = self._seen.window_now(route.device)
            if self._seen.boot(route.device, boot_id):
                self._found.boots.setdefault(route.device, []).append((record, before))
        return True

    def _session(self, kind: int, columns: Columns, at: int, at_ms: int) -> bool:
        if kind == Kind.BROKER_STARTED:
            self._presence.broker_started(at_ms)
            return True
        try:
            fields: Any = msgspec.msgpack.decode(columns.payload(at))
        except (ValueError, RecursionError):
            return False
        if not isinstance(fields, dict):
            return False
        client_id, principal = columns.clients[columns.client_index[at]]
        if kind == Kind.SESSION_OPENED:
            self._presence.session_opened(principal, client_id, at_ms, str(fields.get("address", "")))
        else:
            last = fields.get("last_packet_at_ms")
            self._presence.session_closed(
                principal,
                client_id,
                at_ms,
                str(fields.get("reason", "")),
                last if isinstance(last, int) else None,
            )
        return True
