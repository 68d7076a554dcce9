"""A saved state is put back whole or refused: any damage, and any number that points nowhere."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import StorageError
from appliance.management.presence import Presence
from appliance.management.rule import RuleScope
from appliance.management.rule_conditions import (
    Comparison,
    Connection,
    MissingFraction,
    NoData,
    Repetition,
    Threshold,
)
from appliance.management.watched import Member, Membership, PresenceChange
from appliance.rules.evaluator import RuleEvaluator
from tests.rules_kit import START_MS, Site, rule

RULES = (
    rule("hot", Threshold(is_="above", limit=80)),
    rule("often", Repetition(is_="above", limit=80, count=2, within_s=60)),
    rule("gone", NoData(), metric=""),
    rule("site", MissingFraction(expected_s=5), metric=""),
    rule("apart", Comparison(with_="group", limit=1)),
    rule("lost", Connection(), metric=""),
)
HEAD_BYTES = 20


def saved() -> tuple[RuleEvaluator, bytes]:
    site = Site(*RULES, series=(("a", "t"), ("b", "t")))
    site.presence(PresenceChange(device_id="a", presence=Presence.ONLINE, at_ms=START_MS, expect_ms=60_000))
    for at in (0, 61, 122):
        site.see((0, at, 90), (1, at, 20))
    return site.evaluator, site.evaluator.save()


EVALUATOR, STATE = saved()
BODY: dict[str, Any] = msgspec.msgpack.decode(STATE[HEAD_BYTES:], strict=False)


def packed(body: object) -> bytes:
    data = msgspec.msgpack.encode(body)
    return STATE[:16] + zlib.crc32(data).to_bytes(4, "little") + data


def test_a_state_that_was_not_touched_is_taken() -> None:
    EVALUATOR.load(packed(BODY))
    assert EVALUATOR.save() == STATE


@given(st.integers(0, len(STATE) - 1), st.integers(1, 255))
def test_any_byte_that_changed_is_seen(at: int, by: int) -> None:
    damaged = bytearray(STATE)
    damaged[at] ^= by
    with pytest.raises(StorageError):
        EVALUATOR.load(bytes(damaged))


@given(st.binary(max_size=300))
def test_any_bytes_behind_a_right_checksum_are_refused(body: bytes) -> None:
    with pytest.raises(StorageError) as refused:
        EVALUATOR.load(STATE[:16] + zlib.crc32(body).to_bytes(4, "little") + body)
    assert refused.value.hint


def numbers(*each: int) -> bytes:
    return np.array(each, np.int64).tobytes()


def with_column(table: str, name: str, data: bytes) -> dict[str, Any]:
    return {**BODY, "columns": {**BODY["columns"], table: {**BODY["columns"][table], name: data}}}


WRONG = {
    "a rule that is unknown": with_column("threshold", "rule", numbers(99, 99)),
    "a series that is unknown": with_column("threshold", "series", numbers(0, 2)),
    "a device that is unknown": with_column("threshold", "device", numbers(0, 2)),
    "a group that is unknown": with_column("threshold", "group", numbers(0, 0)),
    "a member of nothing": with_column("silence", "parent", numbers(5, 5, 5, 5)),
    "a member of another rule": with_column("silence", "parent", numbers(0, 0, 0, 0)),
    "crossings that are cut": with_column("repetition", "crossings", numbers(1)),
    "more crossings than fit": with_column("repetition", "filled", numbers(3, 0)),
    "crossings without a number": with_column("repetition", "need", numbers(0, 0)),
    "more series than there are": {**BODY, "series_count": 3},
    "a table without its length": {**BODY, "counts": {}},
    "an arrival of nothing": {**BODY, "arrivals": [numbers(9), numbers(0)]},
    "columns of two lengths": {**BODY, "arrivals": [numbers(0, 1), numbers(0)]},
    "half a number": {**BODY, "arrivals": [b"1234", b"1234"]},
    "an interval of nothing": {**BODY, "interval_notes": [numbers(9), numbers(0), numbers(0)]},
    "too many values": {**BODY, "compared": [numbers(0, 0, 0)] * 3},
    "a value of nothing": {**BODY, "comparing": [numbers(-1), numbers(0), numbers(0), numbers(0)]},
    "a status of nobody": {**BODY, "expects": {7: 1_000}},
    "a presence of nobody": {**BODY, "presence": {7: [0, 0]}},
    "no presence": {**BODY, "presence": {0: [77, 0]}},
    "a reason of nothing": {**BODY, "reasons": {3: {}}},
    "nothing that waits": {**BODY, "held": [{"device": 0, "since_ms": 0, "due_ms": 0, "transitions": []}]},
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
def test_what_does_not_fit_together_is_refused_and_nothing_is_changed(body: dict[str, Any]) -> None:
    with pytest.raises(StorageError) as refused:
        EVALUATOR.load(packed(body))
    assert refused.value.code == "rule_state_damaged"
    assert EVALUATOR.save() == STATE


def test_devices_that_moved_since_are_watched_where_they_are_now() -> None:
    def there(**groups: str) -> Membership:
        return Membership(devices={name: Member(groups=frozenset({group})) for name, group in groups.items()})

    hall = rule("hall", Threshold(is_="above", limit=80), scope=RuleScope(groups=("hall",)))
    site = Site(hall, series=(("a", "t"), ("b", "t")), members=there(a="hall", b="yard"))
    site.see((0, 0, 20), (1, 0, 20))
    state = site.evaluator.save()
    other = Site(hall, series=(("a", "t"), ("b", "t")), members=there(a="yard", b="hall"))
    other.evaluator.load(state)
    other.see((0, 1, 90), (1, 1, 90))
    assert other.told.of("hall", "a", "t") == []
    assert other.told.of("hall", "b", "t") == [(1, True)]
