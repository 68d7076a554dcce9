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
from appliance.core.limits import CLOCK_SLOT_MS, PAYLOAD_DECODE_BYTES_MAX
from appliance.management.arrived import Heard
from appliance.management.clock_offset import ClockSample
from appliance.management.dedup import SeenSequences, Window
from appliance.management.mapping import Route, RouteKind, TopicRouter
from appliance.management.messages import Messages, Payloads, Routes
from appliance.management.points import boot_id_of
from appliance.management.presence import PresenceFold
from appliance.management.readings import Reason, Refusal
from appliance.pipeline.rules import Rules
from storage.log.block import Block
from storage.log.columns import FLAG_KEPT_COPY, Columns, Kind


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
    APART = 8
    """Taken by another reading of the same record (duplicates.Pass)."""


BRIDGE_PRINCIPAL_PREFIX: Final = "bridge/"
"""No device's id has a slash."""
FLAG_RETAIN: Final = 1
"""Of a publish's flags (docs/LOG_FORMAT.md)."""
_TS_MAX: Final = 2**53
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
        kept_copies: Record indexes of messages that may be copies which another broker kept; usually empty.
        clocks: What the statuses say of their devices' clocks.
        broker_starts: When the own broker was started, or its clock went ahead, UTC ms.
    """

    messages: Messages
    refusals: dict[int, Refusal] = field(default_factory=dict)
    boots: dict[str, list[tuple[int, Window]]] = field(default_factory=dict)
    kept_copies: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    clocks: list[ClockSample] = field(default_factory=list)
    broker_starts: list[int] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    newest_own_ms: int | None = None


def devices_of(columns: Sequence[Columns], router: TopicRouter) -> set[str]:
    """All devices whose topics occur in a batch."""
    routes = [router.route(topic) for block in columns for topic in block.topics]
    return {route.device for route in routes if route.kind is not RouteKind.UNMAPPED}


def heard_elsewhere(
    blocks: Sequence[Block], columns: Sequence[Columns], router: TopicRouter
) -> frozenset[str]:
    """Devices that only other nodes of the site have heard of."""
    others = [each for block, each in zip(blocks, columns, strict=True) if block.origin]
    if not others:
        return frozenset()
    own = [each for block, each in zip(blocks, columns, strict=True) if not block.origin]
    return frozenset(devices_of(others, router) - devices_of(own, router))


def gather(
    batch: BatchRecords,
    rules: Rules,
    presence: PresenceFold,
    seen: SeenSequences | None,
    is_accepted: Callable[[str], bool],
) -> Gathered:
    """Sort a batch's records out. Folds presence and boots in passing.

    Args:
        seen: Told of boots; None where earlier records are still to be read, which may name others.
        is_accepted: Whether a device's readings are kept.
    """
    found = _Found()
    special = _Special(batch, rules.erased, presence, seen, is_accepted, found)
    router, erased = rules.router, rules.erased
    for block, columns, start in zip(batch.blocks, batch.columns, batch.starts, strict=True):
        routes = [router.route(topic) for topic in columns.topics]
        plain = [
            r.kind is RouteKind.TELEMETRY and r.device not in erased and is_accepted(r.device) for r in routes
        ]
        if block.is_of_site:
            found.heard += [
                (device, block.origin, block.last_time_ms)
                for device in {route.device for route in routes} - {""}
            ]
        numbers = np.array([found.routes.setdefault(route, len(found.routes)) for route in routes], np.int64)
        topic_index = np.frombuffer(columns.topic_index, np.uint16)
        selected = _PUBLISHES[np.frombuffer(columns.kinds, np.uint8)]
        if not all(plain):
            selected &= np.array(plain, np.bool_)[topic_index]
        cleared = _clears(columns)
        if cleared is not None:
            selected &= ~cleared
            found.kept_copies.append(start + np.flatnonzero(_flags(columns) & FLAG_KEPT_COPY))
        arrived = block.first_time_ms + np.frombuffer(columns.received_delta_ms, np.uint32).astype(np.int64)
        if selected.all():
            found.add(start + np.arange(len(columns)), numbers[topic_index], arrived, columns, None)
            continue
        chosen = np.flatnonzero(selected)
        if len(chosen):
            found.add(start + chosen, numbers[topic_index[chosen]], arrived[chosen], columns, chosen)
        for at in np.flatnonzero(~selected).tolist():
            special.take(block, columns, start, at, routes)
    return Gathered(
        found.messages(),
        found.refusals,
        found.boots,
        np.concatenate(found.kept_copies or [np.empty(0, np.int64)]),
        found.clocks,
        found.broker_starts,
        found.heard,
        newest_own_ms(batch.blocks),
    )


def newest_own_ms(blocks: Sequence[Block]) -> int | None:
    """As in Arrived."""
    if not any(block.is_of_site for block in blocks):
        return None
    return max((block.last_time_ms for block in blocks if not block.origin), default=0)


def _flags(columns: Columns) -> U8:
    return np.frombuffer(columns.flags, np.uint8)


def _clears(columns: Columns) -> Mask | None:
    """Which records clear a topic's retained message (MQTT 5.0 §3.3.1.3): they have nothing to say. None where none is
    retained, which is the usual block.
    """
    retained = _flags(columns) & FLAG_RETAIN
    if not retained.any():
        return None
    offsets = np.frombuffer(columns.payload_offsets, np.uint32)
    cleared: Mask = (retained != 0) & (offsets[1:] == offsets[:-1])
    return cleared


def _is_will(columns: Columns, at: int) -> bool:
    """Whether the server published it for somebody who went away; what a bridge brings is published by the server, too."""
    _, principal = columns.clients[columns.client_index[at]]
    return columns.kinds[at] == Kind.SERVER_PUBLISH and not principal.startswith(BRIDGE_PRINCIPAL_PREFIX)


class _Found:
    """What was gathered so far."""

    def __init__(self) -> None:
        self.routes: dict[Route, int] = {}
        self.refusals: dict[int, Refusal] = {}
        self.boots: dict[str, list[tuple[int, Window]]] = {}
        self.kept_copies: list[I64] = []
        self.clocks: list[ClockSample] = []
        self.broker_starts: list[int] = []
        self.heard: list[Heard] = []
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
            is_json_only=all(route.format == "json" for route in self.routes),
        )


class _Special:
    """Handles the records that are not telemetry of a known device."""

    def __init__(
        self,
        batch: BatchRecords,
        erased: frozenset[str],
        presence: PresenceFold,
        seen: SeenSequences | None,
        is_accepted: Callable[[str], bool],
        found: _Found,
    ) -> None:
        self._batch = batch
        self._erased = erased
        self._presence = presence
        self._seen = seen
        self._is_accepted = is_accepted
        self._found = found

    def take(self, block: Block, columns: Columns, start: int, at: int, routes: Sequence[Route]) -> None:
        """One record: `at` is its index in the block, `start` the block's first index in the batch."""
        kind = columns.kinds[at]
        record = start + at
        at_ms = block.first_time_ms + columns.received_delta_ms[at]
        fates, refusals = self._batch.fates, self._found.refusals
        if kind in (Kind.PUBLISH, Kind.SERVER_PUBLISH):
            if columns.flags[at] & FLAG_RETAIN and not columns.payload(at):
                fates[record] = Fate.OTHER
                return
            route = routes[columns.topic_index[at]]
            if route.kind is RouteKind.UNMAPPED:
                fates[record] = Fate.UNMAPPED
            elif route.device in self._erased:
                fates[record] = Fate.OTHER
            elif not self._is_accepted(route.device):
                refusals[record] = Refusal(Reason.UNKNOWN_DEVICE)
            elif self._status(columns, record, at, route, at_ms, by_server=_is_will(columns, at)):
                fates[record] = Fate.STATUS
            else:
                refusals[record] = Refusal(Reason.BAD_STATUS)
        elif kind in (Kind.SESSION_OPENED, Kind.SESSION_CLOSED, Kind.BROKER_STARTED):
            if self._erased and columns.clients[columns.client_index[at]][1] in self._erased:
                fates[record] = Fate.OTHER
            elif self._session(kind, columns, at, at_ms, block.origin):
                fates[record] = Fate.SESSION
            else:
                refusals[record] = Refusal(Reason.BAD_SESSION_RECORD)
        else:
            if kind == Kind.CLOCK_AHEAD and not block.origin:
                self._found.broker_starts.append(at_ms)
            fates[record] = Fate.OTHER

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
        is_copy = bool(columns.flags[at] & FLAG_KEPT_COPY)
        if not self._presence.status(route.device, fields, at_ms, by_server=by_server, is_copy=is_copy):
            return False
        said_ms = fields.get("ts")
        if not by_server and not is_copy and type(said_ms) is int and abs(said_ms) < _TS_MAX:
            sample = ClockSample(
                device=route.device, slot=at_ms // CLOCK_SLOT_MS, delay_ms=at_ms - said_ms, is_status=True
            )
            self._found.clocks.append(sample)
        boot_id = None if by_server else boot_id_of(fields)
        if boot_id is not None and self._seen is not None:
            before = self._seen.window_now(route.device)
            if self._seen.boot(route.device, boot_id):
                self._found.boots.setdefault(route.device, []).append((record, before))
        return True

    def _session(self, kind: int, columns: Columns, at: int, at_ms: int, node_id: str) -> bool:
        if kind == Kind.BROKER_STARTED:
            self._presence.broker_started(at_ms, node_id=node_id)
            if not node_id:
                self._found.broker_starts.append(at_ms)
            return True
        try:
            fields: Any = msgspec.msgpack.decode(columns.payload(at))
        except (ValueError, RecursionError):
            return False
        if not isinstance(fields, dict):
            return False
        client_id, principal = columns.clients[columns.client_index[at]]
        if kind == Kind.SESSION_OPENED:
            self._presence.session_opened(
                principal, client_id, at_ms, str(fields.get("address", "")), node_id=node_id
            )
        else:
            last = fields.get("last_packet_at_ms")
            self._presence.session_closed(
                principal,
                client_id,
                at_ms,
                str(fields.get("reason", "")),
                last if isinstance(last, int) else None,
                node_id=node_id,
            )
        return True
