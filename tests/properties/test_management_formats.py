"""CBOR, MessagePack and SenML: any bytes give documents or refusals, and what JSON can say means the same in all of them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.management.formats import decode_messages
from appliance.management.mapping import FORMATS, TopicMapping, TopicRouter
from tests.cbor_kit import encode, head
from tests.log_kit import Record
from tests.pipeline_kit import Bench
from tests.properties.test_pipeline_decoding import NOW_MS, documents

MAPPINGS = [TopicMapping(pattern=f"{name}/{{device}}", format=name) for name in FORMATS]
ROUTER = TopicRouter(MAPPINGS)
lengths = st.one_of(st.integers(0, 30), st.integers(0, 2**64 - 1))
pieces = st.one_of(
    st.binary(max_size=6),
    st.builds(head, st.integers(0, 7), lengths),
    st.sampled_from([b"\x9f", b"\xbf", b"\x7f", b"\x5f", b"\xff", b"\xf9\x7e\x00", b"\xc4\x82", b"\xdd\xff\xff\xff\xff", b"\xc7\xff"]),
    st.text(max_size=3).map(encode),
)  # fmt: skip
names = st.sampled_from(
    ["n", "bn", "v", "vs", "vb", "vd", "s", "bs", "t", "bt", "bv", "bver", "u", "x_", -1, -2, -3, 0, 2, 6, 99]
)
fields = st.one_of(
    st.floats(),
    st.integers(),
    st.text(max_size=3),
    st.booleans(),
    st.none(),
    st.binary(max_size=3),
    st.just("a"),
)
packs = st.lists(st.dictionaries(names, fields, max_size=5), max_size=4).map(encode)
payloads = st.one_of(
    st.lists(pieces, max_size=8).map(b"".join), packs, documents.map(lambda d: json.dumps(d).encode())
)


@given(st.lists(st.tuples(st.sampled_from(FORMATS), payloads), min_size=1, max_size=20))
@example([("cbor", b"\xbb" + b"\xff" * 8)])
def test_any_bytes_are_rows_or_a_dead_letter(messages: list[tuple[str, bytes]]) -> None:
    # Bench.build fails when a record ends nowhere.
    batch, _ = Bench(MAPPINGS).build(
        [Record(payload, topic=f"{name}/a".encode()) for name, payload in messages]
    )
    assert batch.counts.records == len(messages)


@given(st.lists(payloads, min_size=1, max_size=8), st.sampled_from(FORMATS))
def test_no_payload_changes_what_another_means(many: list[bytes], name: str) -> None:
    route = ROUTER.route(f"{name}/a".encode())
    together = decode_messages(many, [route] * len(many), np.full(len(many), NOW_MS))
    for at, payload in enumerate(many):
        (document,), refusals = decode_messages([payload], [route], np.full(1, NOW_MS))
        assert repr(document) == repr(together[0][at])
        assert refusals.get(0) == together[1].get(at)


def _fits(value: Any) -> bool:
    """Whether MessagePack can hold its whole numbers."""
    if isinstance(value, dict):
        return all(map(_fits, value.values()))
    if isinstance(value, list):
        return all(map(_fits, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**64


@given(documents)
def test_what_json_can_say_means_the_same(document: Any) -> None:
    payloads = {"json": json.dumps(document).encode(), "cbor": encode(document)}
    if _fits(document):
        payloads["msgpack"] = msgspec.msgpack.encode(document)
    found = set()
    for name, payload in payloads.items():
        bench = Bench(MAPPINGS)
        batch, _ = bench.build([Record(payload, topic=f"{name}/a".encode())])
        reasons = [letter.reason for letter in batch.dead_letters]
        if reasons == ["number_out_of_range"]:
            return  # Whole numbers of hundreds of digits are refused by one decoder before another thing is found.
        found.add((repr(bench.rows(batch)), repr(reasons)))
    assert len(found) == 1
