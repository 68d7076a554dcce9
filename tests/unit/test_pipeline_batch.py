"""Blocks to one transaction: every kind of record, duplicates, boots, limits."""

from __future__ import annotations

import gc
from dataclasses import replace

import msgspec
import pytest

from appliance.core.limits import CLOCK_SLOT_MS, DEAD_LETTER_PAYLOAD_BYTES_MAX
from appliance.management.clock_offset import ClockSample
from appliance.management.mapping import TopicMapping
from appliance.management.presence import Presence
from appliance.management.readings import Quality
from storage.log.block import Block
from storage.log.columns import FLAG_KEPT_COPY, Kind
from storage.telemetry import series as series_module
from storage.telemetry.batch import Counts, Cursor
from storage.telemetry.store import check_counts
from tests.log_kit import Record
from tests.pipeline_kit import Bench, Row, block_of

NOW = 1_700_000_000_000
TOPIC = b"dm/dev-1/telemetry"


def session(kind: Kind, **fields: object) -> Record:
    return Record(msgspec.msgpack.encode(fields), b"", NOW, kind)


def test_every_record_ends_somewhere() -> None:
    bench = Bench(
        [TopicMapping(pattern="text/{device}", format="text", metric="m")], accepted=lambda d: d != "stranger"
    )
    records = [
        Record(b'{"t":1}'),
        Record(b"junk"),
        Record(b"1", b"nowhere"),
        Record(b"1", b"dm/stranger/telemetry"),
        Record(b'{"state":"online"}', b"dm/stranger/status"),
        Record(b'{"state":"online","boot_id":"b"}', b"dm/dev-1/status"),
        Record(b'{"state":"offline"}', b"dm/dev-1/status", kind=Kind.SERVER_PUBLISH),
        Record(b'{"state":"what"}', b"dm/dev-1/status"),
        Record(b"[]", b"dm/dev-1/status"),
        Record(b"{", b"dm/dev-1/status"),
        session(Kind.SESSION_OPENED, address="10.0.0.1"),
        session(Kind.SESSION_CLOSED, reason="keep_alive", last_packet_at_ms=NOW - 1),
        Record(b"\xff", b"", kind=Kind.SESSION_OPENED),
        Record(msgspec.msgpack.encode([1]), b"", kind=Kind.SESSION_CLOSED),
        Record(b"", b"", kind=Kind.BROKER_STARTED),
        Record(b"", b"", kind=Kind.CLOCK_AHEAD, at_ms=NOW + 1),
        Record(b"", b"", kind=Kind.RETAINED),
        Record(b"", b"", kind=77),
        Record(b"21.5", b"text/dev-1"),
        Record(b"warm", b"text/dev-1"),
        Record(b"\xff", b"text/dev-1"),
        Record(b'{"t":2}', kind=Kind.SERVER_PUBLISH),
    ]
    batch, live = bench.build(records)
    assert batch.counts == Counts(
        records=22, readings=4, dead_letters=9, sessions=3, statuses=2, unmapped=1, others=3, rows=4
    )
    assert [(x.seq, x.reason) for x in batch.dead_letters] == [
        (2, "bad_json"),
        (4, "unknown_device"),
        (5, "unknown_device"),
        (8, "bad_status"),
        (9, "bad_status"),
        (10, "bad_status"),
        (13, "bad_session_record"),
        (14, "bad_session_record"),
        (21, "bad_utf8"),
    ]
    assert bench.rows(batch) == [
        Row("dev-1", "m", NOW, "warm", Quality.UNCERTAIN),
        Row("dev-1", "m", NOW, 21.5, Quality.UNCERTAIN),
        Row("dev-1", "t", NOW, 1.0, Quality.UNCERTAIN),
        Row("dev-1", "t", NOW, 2.0, Quality.UNCERTAIN),
    ]
    (presence,) = live.presences
    assert (presence.device, presence.presence, presence.reason) == ("dev-1", "lost", "keep_alive")
    assert bench.seen.current_boot_id("dev-1") == "b"
    assert live.arrived is not None
    assert live.arrived.broker_starts == [NOW, NOW + 1], "a clock that went ahead counts as a start"


def test_clearing_a_retained_message_is_no_reading_and_no_dead_letter() -> None:
    """MQTT 5.0 §3.3.1.3: an empty retained publish; the broker's own for an operator, too."""
    bench = Bench([TopicMapping(pattern="text/{device}", format="text", metric="m")])
    batch, _ = bench.build(
        [
            Record(b'{"t":1}', flags=1),
            Record(b"", flags=1),
            Record(b"", kind=Kind.SERVER_PUBLISH, client_id="", principal="", flags=1),
            Record(b"", b"text/dev-1", flags=3),
            Record(b"", b"dm/dev-1/status", flags=1),
            Record(b'{"t":2}'),
            Record(b""),
        ]
    )
    assert batch.counts == Counts(records=7, readings=2, dead_letters=1, others=4, rows=2)
    assert [letter.seq for letter in batch.dead_letters] == [7], (
        "an empty one that is not retained says nothing"
    )


def test_a_dead_letter_has_what_is_needed_to_find_and_replay_it() -> None:
    bench = Bench()
    payload = b"x" * (DEAD_LETTER_PAYLOAD_BYTES_MAX + 1)
    batch, _ = bench.build(
        [Record(b"{}", at_ms=NOW)],
        [Record(b'{"t":1}', at_ms=NOW), Record(payload, at_ms=NOW + 5, client_id="client", principal="p")],
    )
    letter = batch.dead_letters[1]
    assert (letter.epoch, letter.seq, letter.received_at_ms) == (1, 3, NOW + 5)
    assert (letter.device, letter.topic, letter.client_id) == ("dev-1", TOPIC.decode(), "client")
    assert (letter.payload, letter.payload_bytes) == (payload[:-1], len(payload))
    assert "malformed" in letter.detail


def test_a_flood_of_dead_letters_keeps_positions_but_not_all_payloads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("appliance.pipeline.dead_letters.DEAD_LETTER_BATCH_BYTES_MAX", 10)
    batch, _ = Bench().build([Record(b"12345x")] * 3)
    assert [x.payload for x in batch.dead_letters] == [b"12345x", None, None]


def numbered(seq: int, value: int, **more: object) -> bytes:
    return msgspec.json.encode({"ts": NOW + seq, "seq": seq, **more, "v": {"n": value}})


def values(bench: Bench, *payloads: bytes) -> list[object]:
    batch, _ = bench.build([Record(p, at_ms=NOW + 10_000) for p in payloads])
    return [row.value for row in bench.rows(batch)]


def test_duplicates_are_counted_not_stored() -> None:
    bench = Bench()
    batch, _ = bench.build([Record(numbered(s, s), at_ms=NOW) for s in (1, 2, 2, 3, 1)])
    assert (batch.counts.readings, batch.counts.duplicates, batch.counts.rows) == (3, 2, 3)
    assert values(bench, numbered(3, 3), numbered(4, 4)) == [4.0]
    assert values(bench, numbered(4, 9, boot_id="other")) == [9.0]


def test_a_duplicate_through_an_array_or_another_form_is_one() -> None:
    bench = Bench()
    assert values(bench, numbered(1, 1)) == [1.0]
    array = b"[" + numbered(1, 1) + b"," + numbered(2, 2) + b"]"
    assert values(bench, array) == [2.0]
    batch, _ = bench.build([Record(array, at_ms=NOW + 10_000)])
    assert (batch.counts.duplicates, batch.counts.rows) == (1, 0)


def test_alternating_shapes_leave_no_gaps() -> None:
    bench = Bench()
    payloads = [
        numbered(n, n) if n % 3 else b'{"ts":%d,"seq":%d,"v":{"m":{"deep":1}}}' % (NOW + n, n)
        for n in range(1, 3_001)
    ]
    for part in (payloads[:1_500], payloads[1_000:]):
        batch, _ = bench.build([Record(p, at_ms=NOW + 10_000) for p in part])
        assert batch.dead_letters == []
    assert (batch.counts.readings, batch.counts.duplicates) == (1_500, 500)
    assert bench.seen.window_now("dev-1").intervals() == [(1, 3_000)]


def test_a_seq_too_old_to_tell_is_a_dead_letter_and_no_part_of_it_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("appliance.management.dedup.DEDUP_INTERVAL_COUNT_MAX", 2)
    bench = Bench()
    assert len(values(bench, *(numbered(seq, seq) for seq in (10, 20, 30)))) == 3
    array = b"[" + numbered(15, 1) + b"," + numbered(31, 1) + b"]"
    batch, _ = bench.build([Record(array, at_ms=NOW + 10_000), Record(b'{"n":7}', at_ms=NOW + 10_000)])
    assert [x.reason for x in batch.dead_letters] == ["seq_too_old"]
    assert [row.value for row in bench.rows(batch)] == [7.0]


def test_a_status_too_large_is_refused_unread() -> None:
    batch, _ = Bench().build([Record(b" " * (1 << 20) + b"{}", b"dm/dev-1/status")])
    assert [x.reason for x in batch.dead_letters] == ["bad_status"]


def test_readings_belong_to_the_boot_the_device_was_in_when_they_came() -> None:
    bench = Bench()

    def status(boot: str) -> Record:
        return Record(msgspec.json.encode({"state": "online", "boot_id": boot}), b"dm/dev-1/status")

    records = [
        status("one"), Record(numbered(1, 11)), Record(numbered(5, 15)),
        status("two"), Record(numbered(1, 21)), Record(numbered(1, 21)),
        status("three"), Record(numbered(1, 31)), Record(numbered(2, 12, boot_id="one")),
    ]  # fmt: skip
    batch, _ = bench.build(records)
    assert [row.value for row in bench.rows(batch)] == [11.0, 21.0, 31.0, 12.0, 15.0]
    assert batch.counts.duplicates == 1
    windows = {w.boot_id: w.intervals() for w, _ in batch.windows}
    assert {boot: windows[boot] for boot in ("one", "two", "three")} == {
        "one": [(1, 2), (5, 5)],
        "two": [(1, 1)],
        "three": [(1, 1)],
    }
    assert {w.boot_id for w, current in batch.windows if current} == {"three"}


def test_a_message_is_all_rows_or_all_dead_letter_when_series_run_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(series_module, "SERIES_PER_DEVICE_COUNT_MAX", 2)
    bench = Bench()
    batch, _ = bench.build([Record(b'{"a":1}'), Record(b'[{"a":2},{"b":1},{"c":1}]'), Record(b'{"b":3}')])
    assert [x.reason for x in batch.dead_letters] == ["too_many_series"]
    assert [(row.metric, row.value) for row in bench.rows(batch)] == [("a", 1.0), ("b", 3.0)]


def test_a_prefix_counts_towards_the_names_length() -> None:
    bench = Bench()
    batch, _ = bench.build(
        [
            Record(b'{"%s":1}' % (b"k" * 200), b"dm/dev-1/telemetry/" + b"s" * 100),
            Record(b"5", b"dm/dev-1/telemetry/s"),
        ]
    )
    assert [x.reason for x in batch.dead_letters] == ["bad_metric_name"]
    assert bench.rows(batch) == [Row("dev-1", "s", NOW, 5.0, 1)]


def test_a_metric_that_changes_its_type_keeps_both() -> None:
    bench = Bench()
    batch, _ = bench.build([Record(b'{"x":1}'), Record(b'{"x":true}'), Record(b'{"x":"on"}')])
    assert [row.value for row in bench.rows(batch)] == ["on", 1.0, True]
    assert len(batch.new_series) == 3


def test_the_newest_of_each_series_once() -> None:
    bench = Bench()
    payloads = [b'{"ts":%d,"v":{"a":%d,"s":"%d"}}' % (NOW + at, at, at) for at in (3, 9, 5)]
    payloads += [b'{"ts":%d,"a":%d}' % (NOW + at, at) for at in (12, 2)]
    batch, _ = bench.build([Record(p, at_ms=NOW + 20) for p in payloads])
    numbers, texts = batch.newest_numbers, batch.newest_texts
    assert (list(numbers.numbers), list(numbers.observed), list(numbers.received)) == (
        [12.0],
        [NOW + 12],
        [NOW + 20],
    )
    assert (texts.texts, list(texts.observed)) == (["9"], [NOW + 9])


def test_ages_stand_for_all_messages() -> None:
    _, live = Bench().build(
        [Record(b'{"ts":%d,"v":{"n":1},"q":"%s"}' % (NOW - 9, q), at_ms=NOW) for q in [b"good", b"est"] * 500]
    )
    assert sum(weight for _, weight in live.ages) == 1_000
    assert {at for at, _ in live.ages} <= {NOW, NOW - 9}
    assert {at for at, _ in live.arrivals} == {NOW}


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_it_was(enabled: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        Bench().build([Record(b"1")])
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()


def test_a_status_that_a_bridge_brings_is_no_will() -> None:
    bench = Bench()
    status = b'{"state":"online","session":"s1"}'
    brought = Record(
        status, b"dm/d/status", kind=Kind.SERVER_PUBLISH, client_id="bridge/up", principal="bridge/up"
    )
    bench.build([brought])
    state = bench.presence.get("d")
    assert state is not None
    assert (state.presence, state.session) == (Presence.ONLINE, "s1")
    bench.build([Record(b'{"state":"offline","session":"s1"}', b"dm/d/status", kind=Kind.SERVER_PUBLISH)])
    state = bench.presence.get("d")
    assert state is not None
    assert state.presence is Presence.LOST, "the will of its own session"


def test_statuses_say_what_time_it_is_for_their_devices() -> None:
    at_ms = 1_700_000_000_000
    topic = b"dm/d/status"
    records = [
        Record(b'{"state":"online","ts":%d}' % (at_ms - 4_000), topic, at_ms),
        Record(b'{"state":"online","ts":"soon"}', topic, at_ms),
        Record(b'{"state":"online","ts":%d}' % 2**60, topic, at_ms),
        Record(b'{"state":"online","ts":5}', topic, at_ms, flags=1 | FLAG_KEPT_COPY),
        Record(b'{"state":"offline","ts":5}', topic, at_ms, kind=Kind.SERVER_PUBLISH),
    ]
    _, live = Bench().build(records)
    assert live.clocks == [
        ClockSample(device="d", slot=at_ms // CLOCK_SLOT_MS, delay_ms=4_000, is_status=True)
    ]


# --- A site: blocks of other nodes' logs -----------------------------------------------------------------------


def of_site(records: list[Record], first_seq: int, origin: str) -> Block:
    return replace(block_of(records, first_seq), origin=origin, is_of_site=True)


def test_what_other_nodes_logs_say_of_their_brokers_is_not_ours() -> None:
    bench = Bench()
    start = Record(msgspec.msgpack.encode({}), b"", NOW + 5, Kind.BROKER_STARTED)
    leap = Record(b"", b"", NOW + 6, Kind.CLOCK_AHEAD)
    blocks = [
        of_site([session(Kind.SESSION_OPENED, address="10.0.0.1"), Record(b'{"t":1}')], 1, ""),
        of_site([start, leap, Record(b'{"t":2}', at_ms=NOW + 9)], 3, "b" * 32),
    ]
    batch, live = bench.builder.build(
        blocks, [block.columns() for block in blocks], Cursor(1, 1, b"h", 0), lambda _: True
    )
    check_counts(batch)
    assert live.arrived is not None
    assert (live.arrived.broker_starts, live.arrived.newest_own_ms) == ([], NOW)
    assert live.arrived.heard == [("dev-1", "", NOW), ("dev-1", "b" * 32, NOW + 9)]
    found = bench.presence.get("dev-1")
    assert found is not None
    assert found.presence is Presence.ONLINE, "another broker's start ends no session of ours"
    assert batch.counts.readings == 2


def test_on_a_box_that_is_alone_nobody_is_heard_of_elsewhere() -> None:
    bench = Bench()
    _, live = bench.build([Record(b'{"t":1}')])
    assert live.arrived is not None
    assert (live.arrived.heard, live.arrived.newest_own_ms) == ([], None)
