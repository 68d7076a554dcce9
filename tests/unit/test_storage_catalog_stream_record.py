"""A change of a row as a record's payload: there and back, and nothing but a named refusal for anything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.limits_catalog_stream import CATALOG_RECORD_BYTES_MAX
from appliance.management.row_change import Clock
from storage.catalog.rows import OutboxRow
from storage.catalog_stream.record import (
    RECORD_VERSION,
    CatalogRecordError,
    decode_change,
    encode_change,
)

HERE, THERE = "0a" * 16, "0b" * 16
ROW = OutboxRow(
    position=7,
    table="devices",
    key="pump-1",
    op="update",
    row='{"device_id":"pump-1","name":"Pümpe","level":0.5,"count":3,"gone":null}',
    changed='["name"]',
    hlc=1 << 40,
    origin=HERE,
    generation=2,
    seen=f'{{"name":{{"{THERE}":12}}}}',
    by="ada",
)
GOOD: list[Any] = [
    RECORD_VERSION,
    7,
    1 << 40,
    1,
    1,
    "devices",
    "pump-1",
    '{"name":"x"}',
    ["name"],
    1,
    {},
    "",
]


def test_a_change_arrives_as_it_was_captured() -> None:
    change = decode_change(encode_change(ROW, ends_transaction=True), origin=HERE)
    assert (change.position, change.table, change.key, change.op) == (7, "devices", "pump-1", "update")
    assert change.row == {"device_id": "pump-1", "name": "Pümpe", "level": 0.5, "count": 3, "gone": None}
    assert change.changed == ("name",)
    assert change.clock == Clock(1 << 40, HERE)
    assert change.generation == 2
    assert change.seen == {"name": {THERE: 12}}
    assert change.by == "ada"
    assert change.ends_transaction


def test_a_change_that_had_to_be_later_than_its_transaction_says_so() -> None:
    row = replace(ROW, op="insert", changed=None, clock=(1 << 40) + 3, seen=None)
    change = decode_change(encode_change(row, ends_transaction=False), origin=HERE)
    assert change.clock.hlc == (1 << 40) + 3
    assert (change.changed, change.seen, change.ends_transaction) == ((), {}, False)


def test_what_later_releases_put_behind_it_is_ignored() -> None:
    payload = msgspec.msgpack.encode([*GOOD, "of a later release"])
    assert decode_change(payload, origin=HERE).key == "pump-1"


@pytest.mark.parametrize("payload", [[2, "anything"], [2], [RECORD_VERSION + 1, *GOOD[1:]]])
def test_a_later_version_is_told_from_damage(payload: list[Any]) -> None:
    with pytest.raises(CatalogRecordError) as refused:
        decode_change(msgspec.msgpack.encode(payload), origin=HERE)
    assert refused.value.is_newer


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 0),
        (1, 0),
        (2, -1),
        (2, 1 << 63),
        (3, 3),
        (5, ""),
        (5, "t" * 65),
        (6, "k" * 2_049),
        (7, "no json"),
        (7, "{}"),
        (7, '{"name": [1]}'),
        (7, "{" + ",".join(f'"f{n}":1' for n in range(257)) + "}"),
        (8, ["other"]),
        (8, ["name"] * 257),
        (9, 0),
        (9, 1 << 31),
        (10, {"name": {bytes(16): -1}}),
        (10, {"name": {b"short": 1}}),
        (10, {"name": {n.to_bytes(16): 1 for n in range(1_025)}}),
        (11, "b" * 257),
    ],
)
def test_whatever_is_out_of_bounds_is_refused_by_name(at: int, value: Any) -> None:
    payload = [*GOOD]
    payload[at] = value
    with pytest.raises(CatalogRecordError) as refused:
        decode_change(msgspec.msgpack.encode(payload), origin=HERE)
    assert refused.value.code == "catalog_record_damaged"
    assert not refused.value.is_newer


def test_what_is_too_large_is_neither_written_nor_looked_at() -> None:
    with pytest.raises(CatalogRecordError, match="more than a record may have"):
        encode_change(
            replace(ROW, row=f'{{"name":"{"x" * CATALOG_RECORD_BYTES_MAX}"}}'), ends_transaction=True
        )
    with pytest.raises(CatalogRecordError, match="bytes"):
        decode_change(bytes(CATALOG_RECORD_BYTES_MAX + 1), origin=HERE)


@given(
    st.binary(max_size=200)
    | st.builds(lambda cut: encode_change(ROW, ends_transaction=True)[:cut], st.integers(0, 200))
)
def test_any_bytes_are_a_change_or_refused(payload: bytes) -> None:
    try:
        decode_change(payload, origin=HERE)
    except CatalogRecordError as refused:
        assert refused.hint
