"""A change of a row as the payload of a record of kind 9; the format stands in this room's DESIGN.md.

Pure: bytes in, a change out. Whatever the bytes are, the outcome is a change or `CatalogRecordError`; nothing of any size is
allocated before the payload's own size was looked at.
"""

from __future__ import annotations

import json
from typing import Final

import msgspec

from appliance.core.errors import HomeportError
from appliance.core.limits_catalog_stream import (
    CATALOG_RECORD_BY_LENGTH_MAX,
    CATALOG_RECORD_BYTES_MAX,
    CATALOG_RECORD_FIELD_COUNT_MAX,
    CATALOG_RECORD_KEY_LENGTH_MAX,
    CATALOG_RECORD_SEEN_COUNT_MAX,
    CATALOG_RECORD_TABLE_LENGTH_MAX,
)
from appliance.management.row_change import Clock, Operation, RowChange, Value
from storage.catalog.rows import OutboxRow

RECORD_VERSION: Final = 1
ROW_CHANGED: Final = 9
"""The record's kind (docs/LOG_FORMAT.md)."""
OPERATIONS: Final[tuple[Operation, ...]] = ("insert", "update", "delete")
_ENDS_TRANSACTION: Final = 1
_CLOCK_MAX: Final = (1 << 63) - 1
_GENERATION_MAX: Final = (1 << 31) - 1
_NODE_ID_BYTES: Final = 16


class CatalogRecordError(HomeportError):
    """A record that is not what this format says (`catalog_record_damaged`), or of a later one (`catalog_record_newer`)."""

    default_code = "catalog_record_damaged"

    @property
    def is_newer(self) -> bool:
        """Whether a later release will understand it."""
        return self.code == "catalog_record_newer"


class _Wire(msgspec.Struct, array_like=True, gc=False):
    version: int
    position: int
    hlc: int
    op: int
    flags: int
    table: str
    key: str
    row: str
    changed: list[str]
    generation: int
    seen: dict[str, dict[bytes, int]]
    by: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Wire).decode
_decode_any = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_row = msgspec.json.Decoder(dict[str, Value]).decode


def encode_change(row: OutboxRow, *, ends_transaction: bool) -> bytes:
    """The payload of one row of the outbox.

    Args:
        ends_transaction: Whether the next row of the outbox has another clock, or there is none.
    Raises:
        CatalogRecordError: it is larger than a record may be.
    """
    payload = _encode(
        _Wire(
            RECORD_VERSION,
            row.position,
            row.hlc if row.clock is None else row.clock,
            OPERATIONS.index(row.op),
            _ENDS_TRANSACTION if ends_transaction else 0,
            row.table,
            row.key,
            row.row,
            json.loads(row.changed) if row.changed else [],
            row.generation,
            _packed_seen(row.seen),
            row.by,
        )
    )
    if len(payload) > CATALOG_RECORD_BYTES_MAX:
        raise _damaged(f"a change of {row.table} has {len(payload)} bytes, more than a record may have")
    return payload


def decode_change(payload: bytes | memoryview, *, origin: str) -> RowChange:
    """The change that a payload tells of.

    Args:
        origin: Node id of the stream, 32 hex digits.
    Raises:
        CatalogRecordError: see the class.
    """
    if len(payload) > CATALOG_RECORD_BYTES_MAX:
        raise _damaged(f"it has {len(payload)} bytes")
    try:
        wire = _decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _newer_or_damaged(payload, error) from error
    if wire.version != RECORD_VERSION:
        raise _other_version(wire.version)
    _check(wire)
    try:
        row = _decode_row(wire.row)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _damaged(f"its row is no row: {error}") from error
    if not 0 < len(row) <= CATALOG_RECORD_FIELD_COUNT_MAX:
        raise _damaged(f"its row has {len(row)} fields")
    if not row.keys() >= set(wire.changed):
        raise _damaged("it changed fields that its row does not have")
    return RowChange(
        position=wire.position,
        table=wire.table,
        key=wire.key,
        op=OPERATIONS[wire.op],
        row=row,
        changed=tuple(wire.changed),
        clock=Clock(wire.hlc, origin),
        generation=wire.generation,
        seen={name: {node.hex(): hlc for node, hlc in nodes.items()} for name, nodes in wire.seen.items()},
        by=wire.by,
        ends_transaction=bool(wire.flags & _ENDS_TRANSACTION),
    )


def _check(wire: _Wire) -> None:
    if wire.position < 1 or not 0 <= wire.hlc <= _CLOCK_MAX:
        raise _damaged("its position or clock is out of range")
    if not 0 <= wire.op < len(OPERATIONS):
        raise _damaged(f"it has an operation {wire.op}")
    if not 0 < len(wire.table) <= CATALOG_RECORD_TABLE_LENGTH_MAX:
        raise _damaged(f"its table's name has {len(wire.table)} characters")
    if len(wire.key) > CATALOG_RECORD_KEY_LENGTH_MAX:
        raise _damaged(f"its key has {len(wire.key)} characters")
    if len(wire.by) > CATALOG_RECORD_BY_LENGTH_MAX:
        raise _damaged("it was decided by somebody whose name is too long")
    if max(len(wire.changed), len(wire.seen)) > CATALOG_RECORD_FIELD_COUNT_MAX:
        raise _damaged("it names too many fields")
    if not 1 <= wire.generation <= _GENERATION_MAX:
        raise _damaged(f"it has a generation {wire.generation}")
    for nodes in wire.seen.values():
        if len(nodes) > CATALOG_RECORD_SEEN_COUNT_MAX:
            raise _damaged("it has seen too many nodes")
        if any(not 0 <= hlc <= _CLOCK_MAX or len(node) != _NODE_ID_BYTES for node, hlc in nodes.items()):
            raise _damaged("a clock in it is none")


def _packed_seen(text: str | None) -> dict[str, dict[bytes, int]]:
    if not text:
        return {}
    return {
        name: {bytes.fromhex(node): hlc for node, hlc in nodes.items()}
        for name, nodes in json.loads(text).items()
        if nodes
    }


def _newer_or_damaged(payload: bytes | memoryview, error: Exception) -> CatalogRecordError:
    try:
        version = msgspec.msgpack.decode(_decode_any(payload)[0], type=int)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):
        return _damaged(str(error))
    return _other_version(version) if version > RECORD_VERSION else _damaged(str(error))


def _other_version(version: int) -> CatalogRecordError:
    if version < RECORD_VERSION:
        return _damaged(f"it has version {version}")
    return CatalogRecordError(
        f"A change of the catalog has format {version}, and this release knows {RECORD_VERSION}.",
        hint="It is kept, and applied when this node has been upgraded.",
        code="catalog_record_newer",
    )


def _damaged(why: str) -> CatalogRecordError:
    return CatalogRecordError(
        f"A record of the catalog's changes is not what it should be: {why}.",
        hint="Verify the log of the node that wrote it (homeport log verify), and look at its release.",
    )
