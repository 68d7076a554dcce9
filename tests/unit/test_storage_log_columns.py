"""Block bodies: what goes in comes out, and nothing that was not written is believed."""

from __future__ import annotations

from array import array
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import LogDamaged
from storage.log.columns import Columns, Kind, decode_columns, encode_columns

TOPICS = [b"", b"dm/a/telemetry", "dm/ü/telemetry".encode()]
CLIENTS = [("c1", "dev-1"), ("", ""), ("c2", "app")]


def body(payloads: list[bytes], properties: dict[int, bytes] | None = None) -> bytes:
    n = len(payloads)
    return encode_columns(
        kinds=bytes([Kind.PUBLISH]) * n,
        flags=bytes([2]) * n,
        clients=CLIENTS,
        client_index=array("H", [i % 3 for i in range(n)]),
        topics=TOPICS,
        topic_index=array("H", [i % 3 for i in range(n)]),
        packet_ids=array("H", [(i + 1) % 65_536 for i in range(n)]),
        received_delta_ms=array("I", [i * 7 for i in range(n)]),
        payloads=payloads,
        properties=properties or {},
    )


@given(st.lists(st.binary(max_size=50), max_size=40))
def test_round_trip(payloads: list[bytes]) -> None:
    properties = {0: b"\x26\x00\x01a\x00\x01b"} if payloads else {}
    columns = decode_columns(body(payloads, properties))
    assert len(columns) == len(payloads)
    assert columns.payloads() == payloads
    assert [columns.payload(i) for i in range(len(payloads))] == payloads
    assert columns.clients == CLIENTS
    assert columns.topics == TOPICS
    assert columns.properties == properties
    assert columns.received_delta_ms.tolist() == [i * 7 for i in range(len(payloads))]
    assert columns.packet_ids.tolist() == [i + 1 for i in range(len(payloads))]


def test_of_kind_finds_only_that_kind() -> None:
    kinds = bytes([1, 3, 1, 5])
    blank = array("H", [0] * 4)
    columns = Columns(
        kinds=kinds, flags=bytes(4), clients=CLIENTS, client_index=blank, topics=TOPICS, topic_index=blank,
        packet_ids=blank, received_delta_ms=array("I", [0] * 4), payload_offsets=array("I", [0] * 5),
        payload_data=b"", properties={},
    )  # fmt: skip
    assert list(columns.of_kind(Kind.PUBLISH)) == [0, 2]
    assert list(columns.of_kind(Kind.RETAINED)) == []


@given(st.binary(max_size=200))
def test_any_bytes_are_columns_or_damage(data: bytes) -> None:
    try:
        columns = decode_columns(data)
    except LogDamaged as error:
        assert error.hint
    else:
        assert len(columns.payloads()) == len(columns)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (0, 2),
        (1, b"\x01"),
        (1, "text"),
        (3, [["only-one"]]),
        (3, [["c", 5]]),
        (4, b"\x09\x00\x00\x00"),
        (4, b"\x00"),
        (5, ["text"]),
        (6, b"\x00\x00\x09\x00"),
        (7, 1),
        (8, b""),
        (9, b"\x00" * 12),
        (9, b"\x00\x00\x00\x00\x05\x00\x00\x00\x02\x00\x00\x00"),
        (10, "text"),
        (11, {5: b""}),
        (11, {0: "text"}),
        (11, []),
    ],
)
def test_a_faulty_body_is_refused(field: int, value: Any) -> None:
    fields = msgpack.unpackb(body([b"a", b"b"]), strict_map_key=False)
    fields[field] = value
    with pytest.raises(LogDamaged):
        decode_columns(msgpack.packb(fields))


def test_more_records_than_an_index_can_name_are_refused() -> None:
    with pytest.raises(LogDamaged, match="65536 records"):
        decode_columns(body([b""] * 65_536))
