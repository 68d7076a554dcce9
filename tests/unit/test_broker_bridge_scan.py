"""broker/bridge/scan.py, over a real log."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.errors import CursorBeyondHead, CursorExpired, LogDamaged
from broker.bridge.scan import VIA, Batch, OutgoingScan, crosses_again, packet_ids_in_log, with_via
from broker.bridge.topics import TopicRule
from broker.mqtt.codec import encode_properties
from broker.mqtt.constants import PacketType
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from storage.log.block import Block
from storage.log.columns import Kind
from storage.log.head import Head
from storage.log.reader import LogReader
from tests.bridge_kit import NOW_MS, KitLog, Record, kit_log

RULES = (TopicRule(topic_filter="dm/#", qos=1, remote_prefix="site/"),)
NODE = "0f" * 16


@pytest.fixture
def log(tmp_path: Path) -> Iterator[KitLog]:
    with kit_log(tmp_path / "log") as made:
        yield made


def scan_of(log: KitLog, rules: tuple[TopicRule, ...] = RULES) -> OutgoingScan:
    return OutgoingScan(log.reader(), rules, principal="bridge/up", node=NODE)


def look(scan: OutgoingScan, seq: int = 1, *, count_max: int = 100, now_ms: int = NOW_MS) -> Batch:
    return scan.look(seq, count_max=count_max, bytes_max=1_000_000, now_ms=now_ms)


def packed(properties: Properties) -> bytes:
    return encode_properties(properties, PacketType.PUBLISH)


def test_only_what_matches_goes_out_under_its_name_there(log: KitLog) -> None:
    log.append(
        Record(topic="other"),
        Record(payload=b"a", qos=2, is_retained=True),
        Record(kind=Kind.SESSION_OPENED, topic=""),
        Record(payload=b"brought by this bridge", principal="bridge/up"),
        Record(payload=b"brought by another", principal="bridge/other", qos=0),
        Record(payload=b"a will", kind=Kind.SERVER_PUBLISH),
    )
    log.append(Record(topic="nothing here"))
    batch = look(scan_of(log))
    assert [(f.seq, f.topic, f.payload, f.qos, f.is_retained) for f in batch.found] == [
        (2, "site/dm/d1/telemetry", b"a", 1, True),
        (5, "site/dm/d1/telemetry", b"brought by another", 0, False),
        (6, "site/dm/d1/telemetry", b"a will", 1, False),
    ]
    assert (batch.reached_seq, batch.head_seq, batch.epoch) == (8, 8, 1)


def test_a_devices_trace_crosses_and_the_brokers_own_does_not(log: KitLog) -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    user = (("traceparent", parent), ("tracestate", "a=1"))
    ours = parent.replace("b", "c").encode()
    log.append(Record(properties=packed(Properties(user=user)), trace=ours), Record(trace=ours))
    assert [found.properties.user_properties for found in look(scan_of(log)).found] == [user, ()]


def test_a_look_is_bounded_and_goes_on_where_it_stopped(log: KitLog) -> None:
    for _ in range(3):
        log.append(*(Record(payload=b"%d" % number) for number in range(4)))
    scan = scan_of(log)
    seq, got = 1, []
    for count_max in itertools.cycle((1, 3, 2)):
        batch = look(scan, seq, count_max=count_max)
        assert len(batch.found) <= count_max
        got += [found.seq for found in batch.found]
        seq = batch.reached_seq
        if seq == batch.head_seq:
            break
    assert got == list(range(1, 13))
    assert look(scan, seq).found == []
    by_bytes = scan.look(1, count_max=100, bytes_max=2, now_ms=NOW_MS)
    assert [found.seq for found in by_bytes.found] == [1, 2]


def test_a_scan_can_go_back(log: KitLog) -> None:
    log.append(*(Record() for _ in range(3)))
    log.append(*(Record() for _ in range(3)))
    scan = scan_of(log)
    assert len(look(scan, 5).found) == 2
    assert [found.seq for found in look(scan, 2).found] == [2, 3, 4, 5, 6]


def test_what_expires_goes_out_with_what_is_left_or_not_at_all(log: KitLog) -> None:
    expiry = packed(Properties({PropertyId.MESSAGE_EXPIRY_INTERVAL: 10}))
    log.append(Record(properties=expiry))
    scan = scan_of(log)
    (found,) = look(scan, now_ms=NOW_MS + 4_000).found
    assert found.properties[PropertyId.MESSAGE_EXPIRY_INTERVAL] == 6
    late = look(scan, now_ms=NOW_MS + 10_000)
    assert (late.found, late.expired, late.reached_seq) == ([], 1, 2)
    (early,) = look(scan, now_ms=NOW_MS - 4_000).found
    assert early.properties[PropertyId.MESSAGE_EXPIRY_INTERVAL] == 10, "our clock has jumped back"


def test_what_has_crossed_a_bridge_of_this_node_does_not_cross_again(log: KitLog) -> None:
    marked = packed(with_via(Properties.EMPTY, NODE))
    elsewhere = packed(with_via(Properties.EMPTY, "aa" * 16))
    log.append(
        Record(properties=marked),
        Record(properties=elsewhere),
        Record(properties=marked, principal="bridge/other"),
    )
    batch = look(scan_of(log))
    assert [found.seq for found in batch.found] == [2, 3], (
        "another bridge of ours had marked the third itself"
    )
    assert batch.looped == 1


def test_marks() -> None:
    once = with_via(Properties.EMPTY, NODE)
    assert once.user_properties == ((VIA, NODE),)
    assert with_via(once, NODE) is once
    assert crosses_again(once, NODE)
    assert not crosses_again(once, "other")
    full = Properties({}, tuple(("k", str(number)) for number in range(64)))
    assert crosses_again(full, NODE), "no room for a mark"


def test_a_name_that_cannot_be_is_left_out(log: KitLog) -> None:
    deep = (TopicRule(topic_filter="#", qos=1, remote_prefix="a/" * 20),)
    log.append(Record(topic="/".join("x" * 20)))
    batch = look(scan_of(log, deep))
    assert (batch.found, batch.unsendable) == ([], 1)


def test_a_bridge_that_only_takes_in_holds_nothing_up(log: KitLog) -> None:
    log.append(Record(), Record())
    assert look(scan_of(log, ())).reached_seq == 3


class Broken:
    """A log whose first records are gone or damaged."""

    def __init__(self, real: LogReader, error: Exception, until_seq: int) -> None:
        self._real, self._error, self._until_seq = real, error, until_seq

    def head(self) -> Head:
        return self._real.head()

    def first_seq(self) -> int:
        return self._until_seq

    def read(self, seq: int, *, bytes_max: int) -> list[Block]:
        if seq < self._until_seq:
            raise self._error
        return self._real.read(seq, bytes_max=bytes_max)


@pytest.mark.parametrize(
    "error", [CursorExpired("gone"), LogDamaged("damaged", first_seq=1, next_seq=4)], ids=["gone", "damaged"]
)
def test_what_the_log_no_longer_has_is_counted_and_passed(log: KitLog, error: Exception) -> None:
    for _ in range(5):
        log.append(Record())
    scan = OutgoingScan(Broken(log.reader(), error, 4), RULES, principal="bridge/up", node=NODE)
    batch = look(scan)
    assert (batch.found, batch.gone, batch.reached_seq) == ([], 3, 4)
    assert [found.seq for found in look(scan, batch.reached_seq).found] == [4, 5]


def test_damage_without_an_end_and_a_cursor_past_the_log_are_errors(log: KitLog) -> None:
    log.append(Record())
    endless = LogDamaged("damaged", first_seq=1, next_seq=1)
    scan = OutgoingScan(Broken(log.reader(), endless, 4), RULES, principal="bridge/up", node=NODE)
    with pytest.raises(LogDamaged):
        look(scan)
    with pytest.raises(CursorBeyondHead):
        look(scan_of(log), 5)


def test_packet_identifiers_that_a_bridge_has_brought(log: KitLog) -> None:
    log.append(Record(principal="bridge/up", packet_id=1), Record(principal="bridge/up", packet_id=2))
    log.append(Record(principal="bridge/up"), Record(principal="other", packet_id=4))
    log.append(Record(principal="bridge/up", packet_id=5))
    assert packet_ids_in_log(log.reader(), 1, "bridge/up") == {1, 2, 5}
    assert packet_ids_in_log(log.reader(), 2, "bridge/up") == {2, 5}
    assert packet_ids_in_log(log.reader(), 6, "bridge/up") == set()
