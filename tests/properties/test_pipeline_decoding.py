"""Any payloads at all: each record is rows or a dead letter, none changes another, and all ways of decoding agree.

The oracle reads one message at a time with points_of; the batch reads them by typed shape, by column or one by one, as
they come. Both must give the same rows and refuse the same records.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.management.points import points_of
from appliance.management.readings import Refusal
from appliance.management.typed import PROMOTE_COUNT
from storage.telemetry.batch import StoreBatch
from tests.log_kit import Record
from tests.pipeline_kit import Bench, Row
from tests.sampling import examples

NOW_MS = 1_700_000_000_000
DEVICES = ("a", "b", "c")

keys = st.sampled_from(
    ["t", "h", "p", "v", "values", "ts", "q", "seq", "", "a.b", 'q"', "é", "x" * 300, "\n"]
)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-10, 10),
    st.integers(),
    st.integers(10**307, 10**320),
)
scalars = st.one_of(numbers, st.booleans(), st.text(max_size=8), st.none(), st.just("x" * 20_000))
times: st.SearchStrategy[Any] = st.one_of(
    st.integers(NOW_MS - 10**6, NOW_MS),
    st.sampled_from([0, -1, NOW_MS * 10, 10**30, 1.5, NOW_MS + 0.25, None, True, "soon", {}]),
)
flat = st.dictionaries(keys, scalars, max_size=4)
nested = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=6,
)
regular = st.fixed_dictionaries({"t": st.floats(-50, 50), "h": st.integers(0, 100), "on": st.booleans()})
envelope: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"v": st.one_of(regular, flat, nested)},
    optional={"ts": times, "q": st.sampled_from(["good", "est", "bad", "fine", None, 1, []])},
)
values = st.fixed_dictionaries({"values": st.one_of(regular, flat)}, optional={"ts": times})
documents = st.one_of(
    regular,
    st.fixed_dictionaries({"ts": st.integers(NOW_MS - 1000, NOW_MS), "v": regular}),
    envelope,
    values,
    flat,
    nested,
    st.lists(st.one_of(envelope, flat, scalars), max_size=4),
)
broken = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"", b"1,2", b"]", b"[", b'"', b'{"v":{"t":1}', b'1],"x",[1', b'\\', b'{"t":1}}', b"NaN", b"[" * 5000, b'{"v":' * 500 + b"1" + b"}" * 500, b'{"t":1,"t":"x"}', b'{"t":"\xff"}', b'"\\ud800"', b"\xef\xbb\xbf1"]),
)  # fmt: skip
payloads = st.one_of(documents.map(lambda document: json.dumps(document).encode()), broken)
messages = st.lists(st.tuples(st.sampled_from(DEVICES), payloads), min_size=1, max_size=30)


def oracle(device: str, payload: bytes) -> list[Row] | None:
    """The rows of one message, or None when it is refused."""
    try:
        document = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return None
    found = points_of(document, NOW_MS)
    if isinstance(found, Refusal):
        return None
    rows: list[Row] = []
    for point in found[0]:
        for key, value in point.values.items():
            if not key:
                return None  # a plain value without a metric
            typed: Any = value if isinstance(value, bool | str) else float(value)
            rows.append(Row(device, key, point.observed_at_ms, typed, int(point.quality)))
    return rows


def check(bench: Bench, sent: list[tuple[str, bytes]], batch: StoreBatch) -> None:
    expected = [oracle(device, payload) for device, payload in sent]
    rows = sorted((row for rows in expected for row in rows or ()), key=repr)
    assert bench.rows(batch) == rows
    refused = [batch.before.next_seq + at for at, rows in enumerate(expected) if rows is None]
    assert [letter.seq for letter in batch.dead_letters] == refused
    assert batch.counts.readings == sum(rows is not None for rows in expected)


def records(sent: list[tuple[str, bytes]]) -> list[Record]:
    return [Record(p, f"dm/{d}/telemetry".encode(), NOW_MS, client_id=d, principal=d) for d, p in sent]


@settings(max_examples=examples(400), deadline=None)
@given(messages)
def test_every_message_is_rows_or_a_dead_letter_as_by_itself(sent: list[tuple[str, bytes]]) -> None:
    bench = Bench()
    batch, _ = bench.build(records(sent))
    check(bench, sent, batch)


@settings(max_examples=examples(300), deadline=None)
@given(st.one_of(regular, values, envelope, flat), messages)
def test_a_topic_with_a_typed_shape_gives_the_same(
    known: dict[str, Any], sent: list[tuple[str, bytes]]
) -> None:
    bench = Bench()
    payload = json.dumps(known).encode()
    before = [(device, payload) for device in DEVICES] * PROMOTE_COUNT
    batch, _ = bench.build(records(before))
    check(bench, before, batch)
    # Of the known shape with other values, and anything else between.
    mixed = [("a", payload), *sent, ("b", payload)]
    batch, _ = bench.build(records(mixed))
    check(bench, mixed, batch)


@settings(max_examples=examples(100), deadline=None)
@given(messages, st.integers(1, 29))
def test_blocks_may_be_cut_anywhere(sent: list[tuple[str, bytes]], cut: int) -> None:
    whole, parts = Bench(), Bench()
    one, _ = whole.build(records(sent))
    cut = min(cut, len(sent) - 1)
    blocks = [records(part) for part in (sent[:cut], sent[cut:]) if part]
    two, _ = parts.build(*blocks)
    assert whole.rows(one) == parts.rows(two)
    assert one.counts == two.counts
    assert [(x.seq, x.reason) for x in one.dead_letters] == [(x.seq, x.reason) for x in two.dead_letters]
