"""Payloads of several formats in one batch, and MessagePack."""

from __future__ import annotations

import json

import msgspec
import pytest

from appliance.management.formats import decode_msgpack
from appliance.management.mapping import TopicMapping
from appliance.management.readings import Reason, Refusal
from tests.cbor_kit import encode
from tests.log_kit import Record
from tests.pipeline_kit import Bench

DOCUMENT = {
    "ts": 1_700_000_000_000,
    "seq": 5,
    "boot_id": "b",
    "v": {"t": 21.5, "n": {"on": True, "m": ["eco", 3]}},
}
PACK = [
    {"bt": 1_700_000_000, "n": "t", "v": 21.5},
    {"n": "n.on", "vb": True},
    {"n": "n.m.0", "vs": "eco"},
    {"n": "n.m.1", "v": 3},
]
PAYLOADS = {
    "json": json.dumps(DOCUMENT).encode(),
    "cbor": encode(DOCUMENT),
    "msgpack": msgspec.msgpack.encode(DOCUMENT),
    "senml": json.dumps(PACK).encode(),
    "senml_cbor": encode(PACK),
}


def test_the_same_document_gives_the_same_rows_in_every_format() -> None:
    mappings = [TopicMapping(pattern=f"{name}/{{device}}", format=name) for name in PAYLOADS]
    bench = Bench([*mappings, TopicMapping(pattern="text/{device}", format="text", metric="level")])
    records = [Record(payload, topic=f"{name}/{name}".encode()) for name, payload in PAYLOADS.items()]
    batch, _ = bench.build(records * 2, [Record(b" 7 ", topic=b"text/text")])
    rows: dict[str, list[tuple[object, ...]]] = {}
    for row in bench.rows(batch):
        rows.setdefault(row.device, []).append(row[1:])
    assert [row[:1] + row[2:3] for row in rows["text"]] == [("level", 7)]
    assert len(rows["json"]) == 4
    # Those with a seq are stored once, the packs have none.
    assert rows["cbor"] == rows["msgpack"] == rows["json"]
    assert rows["senml_cbor"] == rows["senml"] == sorted(rows["json"] * 2, key=repr)
    assert batch.counts.duplicates == 3


def test_topics_of_our_own_devices_that_end_in_cbor_are_cbor() -> None:
    bench = Bench()
    batch, _ = bench.build(
        [
            Record(encode({"t": 1}), topic=b"dm/a/telemetry/cbor"),
            Record(encode({"t": 2}), topic=b"dm/a/telemetry/fast/cbor"),
            Record(b'{"t": 3}', topic=b"dm/a/telemetry/fast"),
            Record(b'{"t": 4}', topic=b"dm/a/telemetry/cbor"),
        ]
    )
    assert sorted((row.metric, row.value) for row in bench.rows(batch)) == [
        ("fast.t", 2),
        ("fast.t", 3),
        ("t", 1),
    ]
    assert [letter.reason for letter in batch.dead_letters] == ["bad_cbor"]


def test_a_topic_in_another_format_never_gets_a_shape_of_json() -> None:
    bench = Bench([TopicMapping(pattern="m/{device}", format="msgpack")])
    record = Record(msgspec.msgpack.encode({"t": 1.0}), topic=b"m/a")
    for _ in range(3):
        bench.build([record] * 50)
    assert (len(bench.typed), bench.typed.misses_total) == (0, 0)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.BAD_MSGPACK), (b"\x01\x01", Reason.BAD_MSGPACK), (b"\xc1", Reason.BAD_MSGPACK),
        (b"\xdd\x7f\xff\xff\xff", Reason.BAD_MSGPACK), (b"\xdf\x7f\xff\xff\xff", Reason.BAD_MSGPACK),
        (b"\x81\x01\x02", Reason.BAD_MSGPACK), (b"\x81\x90\x01", Reason.BAD_MSGPACK), (b"\x81\x81\xa1a\x01\x01", Reason.BAD_MSGPACK),
        (b"\xc4\x01a", Reason.BAD_VALUE), (b"\xd6\xff\0\0\0\0", Reason.BAD_VALUE), (b"\xc7\x01\x07a", Reason.BAD_VALUE),
        (b"\x81\xa1a\x91\xc4\x01a", Reason.BAD_VALUE), (b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff", Reason.BAD_MSGPACK),
        (b"\xca\x7f\xc0\0\0", Reason.NUMBER_OUT_OF_RANGE), (b"\x91\xcb\x7f\xf0\0\0\0\0\0\0", Reason.NUMBER_OUT_OF_RANGE),
        (b"\xa2\xff\xfe", Reason.BAD_UTF8), (b"\x91" * 100_000, Reason.TOO_DEEP), (b"\x91" * 50 + b"\x01", Reason.TOO_DEEP),
        (bytes(2**20 + 1), Reason.PAYLOAD_TOO_LARGE),
    ],
)  # fmt: skip
def test_messagepack_that_is_refused(payload: bytes, reason: Reason) -> None:
    found = decode_msgpack(payload)
    assert isinstance(found, Refusal)
    assert found.reason is reason


@pytest.mark.parametrize("value", [None, 0, False, "", {}, [], {"a": [1.5, None, {"b": True}]}, 2**64 - 1])
def test_messagepack_that_is_read(value: object) -> None:
    assert decode_msgpack(msgspec.msgpack.encode(value)) == value
