"""The publish parser: every way a PUBLISH can come, and every way it can be wrong."""

from __future__ import annotations

import pytest

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import FRAME_BYTES_MAX, FRAME_RECORD_COUNT_MAX, TOPIC_ALIAS_TOPIC_BYTES_MAX
from broker.committer import batch_body
from broker.mqtt.batch import BATCH_BYTES_MAX, Batch
from broker.mqtt.publish_parser import (
    ADMITTED_TOPIC_BYTES_MAX,
    ADMITTED_TOPIC_COUNT_MAX,
    PROPERTIES_REMEMBERED_BYTES_MAX,
    PublishParser,
    Stop,
)
from broker.mqtt.wire import remaining_length
from broker.publish_check import keep_publish_properties
from storage.log.columns import Columns, Kind, decode_columns
from tests.protocol import builder

PACKET_BYTES_MAX = 400_000
ALIAS_MAX = 3


class Rig:
    """A parser, the batch it fills, and what it asked."""

    def __init__(
        self, *, version: int = 4, packet_bytes_max: int = PACKET_BYTES_MAX, batch: Batch | None = None
    ) -> None:
        self.asked: list[bytes] = []
        self.refused_topics: set[bytes] = set()
        self.batch = batch or Batch()
        self.batch.mark_time(1000)
        self.parser = PublishParser(
            has_properties=version == 5,
            packet_bytes_max=packet_bytes_max,
            admit_topic=self._admit,
            keep_properties=lambda raw: keep_publish_properties(raw, ALIAS_MAX),
        )

    def _admit(self, topic: bytes) -> bool:
        self.asked.append(topic)
        if topic == b"bad":
            raise RemoteProtocolError("no topic name", reason_code=0x90)
        return topic not in self.refused_topics

    def parse(self, data: bytes, pos: int = 0) -> tuple[int, Stop]:
        before = len(self.batch)
        end, stop = self.parser.parse(data, pos, self.batch)
        if len(self.batch) > before:
            self.batch.close_run(
                self.batch.client_slot(("c", "p")), len(self.batch) - before, wire_bytes=end - pos
            )
        return end, stop

    def fails(self, data: bytes) -> int:
        with pytest.raises(RemoteProtocolError) as caught:
            self.parse(data)
        return caught.value.reason_code

    def topics(self) -> list[bytes]:
        return [self.batch.topics[slot] for slot in self.batch.topic_index]


def columns_of(batch: Batch) -> Columns:
    body, _, _ = batch_body(batch)
    return decode_columns(body)


def test_a_run_of_publishes() -> None:
    rig = Rig()
    data = b"".join(
        (
            builder.publish("a/b", b"one", qos=1, packet_id=7),
            builder.publish("a/b", b"two"),
            builder.publish("c", b"three", qos=1, dup=True, packet_id=0x1234),
        )
    )
    assert rig.parse(data) == (len(data), Stop.NEED_MORE)
    columns = columns_of(rig.batch)
    assert [columns.payload(i) for i in range(3)] == [b"one", b"two", b"three"]
    assert list(columns.packet_ids) == [7, 0, 0x1234]
    assert list(columns.flags) == [2, 0, 10]
    assert rig.topics() == [b"a/b", b"a/b", b"c"]
    assert rig.asked == [b"a/b", b"c"]


def test_an_empty_payload_is_a_message() -> None:
    rig = Rig()
    rig.parse(builder.publish("a", b""))
    assert rig.batch.payloads == [b""]


def test_the_beginning_of_a_packet_waits() -> None:
    whole = builder.publish("a/b", b"x" * 200, qos=1, packet_id=1)
    for size in range(len(whole)):
        rig = Rig()
        assert rig.parse(whole[:size]) == (0, Stop.NEED_MORE)
        assert not len(rig.batch)
        assert not rig.batch.topics


@pytest.mark.parametrize("size", [127, 128, 16_383, 16_384, 300_000])
def test_lengths_of_one_to_three_bytes(size: int) -> None:
    rig = Rig()
    data = builder.publish("a", b"x" * (size - 3))
    assert rig.parse(data) == (len(data), Stop.NEED_MORE)
    assert len(rig.batch.payloads[0]) == size - 3


def test_it_stops_before_another_packet() -> None:
    publish = builder.publish("a")
    for rest in (builder.PINGREQ_PACKET, builder.PINGREQ_PACKET[:1]):
        assert Rig().parse(publish + rest) == (len(publish), Stop.OTHER)


def test_it_begins_where_it_is_told() -> None:
    rig = Rig()
    data = builder.PINGREQ_PACKET + builder.publish("a")
    assert rig.parse(data, 2) == (len(data), Stop.NEED_MORE)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(builder.packet(0x30, b"\0\5ab"), 0x81, id="topic longer than packet"),
        pytest.param(builder.packet(0x30, b"\0"), 0x81, id="no room for a topic's length"),
        pytest.param(builder.packet(0x30), 0x81, id="nothing in it"),
        pytest.param(builder.packet(0x32, builder.text("a")), 0x81, id="no packet identifier"),
        pytest.param(builder.packet(0x32, builder.text("a"), b"\0"), 0x81, id="half a packet identifier"),
        pytest.param(builder.publish("a", qos=1, packet_id=0), 0x81, id="packet identifier 0"),
        pytest.param(builder.publish("a", qos=2, packet_id=0), 0x81, id="QoS 2 without identifier"),
        pytest.param(builder.publish("a", qos=3, packet_id=1), 0x81, id="QoS 3"),
        pytest.param(builder.publish("a", dup=True), 0x81, id="DUP at QoS 0"),
        pytest.param(builder.publish("a", dup=True, retain=True), 0x81, id="DUP at QoS 0, retained"),
        pytest.param(builder.publish("a", qos=3, packet_id=1, retain=True), 0x81, id="QoS 3, retained"),
        pytest.param(
            builder.publish("a", qos=1, packet_id=0, retain=True), 0x81, id="retained without identifier"
        ),
        pytest.param(builder.publish("bad"), 0x90, id="no topic name"),
        pytest.param(b"\x30\x80\x80\x80\x80\x01", 0x81, id="five length bytes"),
        pytest.param(builder.packet(0x30, length=PACKET_BYTES_MAX), 0x95, id="too large, before it has come"),
    ],
)
def test_what_is_refused(data: bytes, code: int) -> None:
    rig = Rig()
    rig.parse(builder.publish("good", b"1"))
    assert rig.fails(builder.publish("good", b"2") + data) == code
    assert rig.batch.payloads == [b"1", b"2"], "what came before it stays, and it adds nothing"


def test_a_packet_identifier_of_the_next_packet_is_not_taken() -> None:
    assert Rig().fails(builder.packet(0x32, builder.text("a")) + builder.publish("zz")) == 0x81


def test_length_in_more_bytes_than_needed() -> None:
    padded = builder.packet(0x30, builder.text("a"), b"x", length_bytes=2)
    for version, is_fine in ((4, True), (5, False)):
        rig = Rig(version=version)
        if is_fine:
            rig.parse(padded)
            assert rig.batch.payloads == [b"x"]
        else:
            assert rig.fails(padded) == 0x81


def test_properties_are_kept_where_there_are_any() -> None:
    rig = Rig(version=5)
    data = b"".join(
        (
            builder.publish("a", b"1", properties=b""),
            builder.publish("a", b"2", qos=1, packet_id=3, properties=builder.puser("k", "v" * 200)),
            builder.publish("a", b"3", properties=builder.p8(1, 1)),
        )
    )
    rig.parse(data)
    assert rig.batch.payloads == [b"1", b"2", b"3"]
    assert columns_of(rig.batch).properties == {1: builder.puser("k", "v" * 200), 2: builder.p8(1, 1)}


def test_properties_of_the_packet_before_are_not_checked_again() -> None:
    checked: list[bytes] = []

    def keep(raw: bytes) -> tuple[bytes, int]:
        checked.append(raw)
        return raw, 0

    parser = PublishParser(
        has_properties=True,
        packet_bytes_max=10_000,
        admit_topic=lambda topic: True,
        keep_properties=keep,
    )
    batch = Batch()
    batch.mark_time(1)
    one, two = builder.ptext(0x03, "json"), builder.ptext(0x03, "text")
    long = builder.puser("k", "v" * PROPERTIES_REMEMBERED_BYTES_MAX)
    several = [one, one, b"", one, two, two, one, long, long]
    parser.parse(b"".join(builder.publish("a", properties=p) for p in several), 0, batch)
    assert [batch.properties.get(n, b"") for n in range(len(several))] == several
    assert checked == [one, two, one, long, long]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="missing"),
        pytest.param(b"\x05ab", id="longer than the packet"),
        pytest.param(b"\x80", id="length not ended"),
        pytest.param(b"\x80\x80\x80\x80\x01", id="length of five bytes"),
        pytest.param(b"\x81\x00a", id="length not shortest"),
    ],
)
def test_property_lengths_that_are_wrong(body: bytes) -> None:
    assert Rig(version=5).fails(builder.packet(0x30, builder.text("a"), body)) == 0x81


def test_what_is_not_permitted_is_left_out_and_named() -> None:
    rig = Rig(version=5)
    rig.refused_topics = {b"other"}
    data = b"".join(
        (
            builder.publish("own", b"1", qos=1, packet_id=1, properties=b""),
            builder.publish("other", b"2", qos=1, packet_id=2, properties=builder.puser("k", "v")),
            builder.publish("other", b"3", properties=b""),
            builder.publish("own", b"4", qos=1, packet_id=4, properties=b""),
        )
    )
    rig.parse(data)
    assert rig.parser.refused == [(0x32, b"\0\2"), (0x30, b"")]
    assert rig.batch.payloads == [b"1", b"4"]
    assert not rig.batch.properties
    assert rig.topics() == [b"own", b"own"]


def test_no_bytes_pass_for_a_topic_that_was_admitted() -> None:
    """A client that begins a PUBLISH with any four bytes has them read as a topic, whatever came before.

    A marker of 0xFF for "no topic yet" was once compared with the packet as if it were one, and such a packet
    was recorded under another client's topic.
    """
    for version in (4, 5):
        for start in (b"\xff\xff\xff\xff", b"\0\0\0\0", b""):
            rig = Rig(version=version)
            rig.batch.topic_slot(b"dm/other/telemetry")
            rig.refused_topics = {start[2:]}
            packet = builder.packet(0x30, start, b"payload")
            try:
                rig.parse(packet)
            except RemoteProtocolError as error:
                assert error.reason_code in (0x81, 0x82)
            assert b"dm/other/telemetry" not in rig.topics()


def test_topics_are_asked_about_once() -> None:
    rig = Rig()
    for _ in range(2):
        for topic in ("a", "b"):
            rig.parse(builder.publish(topic))
    assert rig.asked == [b"a", b"b"]
    rig.parser.forget_topics()
    rig.parse(builder.publish("b"))
    assert rig.asked == [b"a", b"b", b"b"]


def test_topics_remembered_are_bounded() -> None:
    rig = Rig()
    long = "l" * (ADMITTED_TOPIC_BYTES_MAX + 1)
    for topic in (long, "short", long):
        rig.parse(builder.publish(topic))
    assert rig.asked.count(long.encode()) == 2
    for number in range(ADMITTED_TOPIC_COUNT_MAX + 1):
        rig.parse(builder.publish(f"t{number}"))
    rig.parse(builder.publish("short"))
    assert rig.asked.count(b"short") == 2


def test_a_new_batch_gets_a_topic_only_with_a_record() -> None:
    """A topic of 64 KiB without a record in each of 300 connections would make a block that no log takes."""
    rig = Rig()
    long = "x" * 60_000
    rig.parse(builder.publish(long, b"1"))
    rig.batch = Batch()
    rig.batch.mark_time(2000)
    rig.parse(builder.PINGREQ_PACKET)
    rig.parse(builder.publish(long, b"2")[:-1])
    assert rig.batch.topics == []
    rig.parse(builder.publish("y", b"3"))
    assert rig.batch.topics == [b"y"]
    rig.parse(builder.publish(long, b"4") + builder.publish("y", b"5"))
    assert rig.topics() == [b"y", long.encode(), b"y"]


def test_a_known_topic_has_its_place_in_each_batch() -> None:
    rig = Rig()
    rig.parse(builder.publish("a"))
    rig.batch = Batch()
    rig.batch.mark_time(2000)
    rig.batch.topic_slot(b"somebody else's")
    rig.parse(builder.publish("a"))
    rig.parse(builder.publish("a"))
    assert rig.topics() == [b"a", b"a"]
    assert rig.asked == [b"a"]


def test_nothing_of_a_batch_is_held_by_its_parsers() -> None:
    rig = Rig()
    rig.parse(builder.publish("a", b"x" * 1000))
    held = [value for name in rig.parser.__slots__ if isinstance(value := getattr(rig.parser, name), Batch)]
    assert held == []


class TestFullness:
    def test_a_batch_is_full_before_its_frame_is(self) -> None:
        rig = Rig()
        data = builder.publish("a", b"x" * 100) * 1000
        pos, stop, count = 0, Stop.NEED_MORE, 0
        while stop is not Stop.FULL:
            pos, stop = rig.parse(data)
            count += 1
        body, _, _ = batch_body(rig.batch)
        assert BATCH_BYTES_MAX * 0.9 < len(body) <= FRAME_BYTES_MAX
        before = len(rig.batch)
        assert rig.parse(data, pos) == (pos, Stop.FULL), "a full batch stays full"
        assert len(rig.batch) == before

    def test_the_smallest_packets_are_fewer_than_a_frame_counts(self) -> None:
        for version, packet in (
            (4, builder.publish("a", b"")),
            (5, builder.publish("a", b"", properties=builder.p8(1, 1))),
        ):
            rig = Rig(version=version)
            data = packet * 70_000
            _, stop = rig.parse(data)
            assert stop is Stop.FULL
            assert len(rig.batch) <= FRAME_RECORD_COUNT_MAX
            body, _, _ = batch_body(rig.batch)
            assert len(body) <= FRAME_BYTES_MAX + 64 * 1024

    def test_a_packet_larger_than_a_batch_has_one_of_its_own(self) -> None:
        large = builder.publish("a", b"x" * (BATCH_BYTES_MAX + 1))
        rig = Rig(packet_bytes_max=2 * BATCH_BYTES_MAX)
        assert rig.parse(builder.publish("a") + large) == (6, Stop.FULL)
        rig.batch = Batch()
        rig.batch.mark_time(1)
        assert rig.parse(large + builder.publish("a")) == (len(large), Stop.FULL)
        assert len(rig.batch) == 1

    def test_clients_count(self) -> None:
        batch = Batch()
        batch.client_slot(("c" * 256, "p" * 128))
        assert batch.body_bytes >= 384


class TestBatch:
    def test_session_records_between_publishes(self) -> None:
        rig = Rig()
        batch = rig.batch
        rig.parse(builder.publish("a", b"1"))
        assert batch.add(Kind.SESSION_CLOSED, ("d", "d"), payload=b"closed") == 1
        assert (
            batch.add(
                Kind.SERVER_PUBLISH, ("d", "d"), topic=b"w", payload=b"will", flags=2, properties=b"\1\1"
            )
            == 2
        )
        rig.parse(builder.publish("a", b"2"))
        columns = columns_of(batch)
        assert list(columns.kinds) == [Kind.PUBLISH, Kind.SESSION_CLOSED, Kind.SERVER_PUBLISH, Kind.PUBLISH]
        assert rig.topics() == [b"a", b"", b"w", b"a"]
        assert columns.properties == {2: b"\1\1"}
        assert [columns.clients[i][0] for i in columns.client_index] == ["c", "d", "d", "c"]

    def test_times_of_records(self) -> None:
        rig = Rig()
        rig.batch.mark_time(1005)  # nothing came at 1000
        rig.parse(builder.publish("a") * 2)
        rig.batch.mark_time(1005)
        rig.parse(builder.publish("a"))
        for ms in range(1006, 2000):
            rig.batch.mark_time(ms)  # a slow disk, and nothing comes
        rig.parse(builder.publish("a"))
        rig.batch.mark_time(2500)
        assert len(rig.batch.time_marks) == 3
        body, first_ms, last_ms = batch_body(rig.batch)
        assert (first_ms, last_ms) == (1005, 1999)
        assert list(decode_columns(body).received_delta_ms) == [0, 0, 0, 994]

    def test_has_room(self) -> None:
        batch = Batch()
        assert batch.has_room(BATCH_BYTES_MAX - 100)
        assert not batch.has_room(BATCH_BYTES_MAX)


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"\0", 0), (b"\x7f", 127), (b"\x80\x01", 128), (b"\xff\xff\xff\x7f", 268_435_455)],
)
def test_variable_byte_integers(data: bytes, value: int) -> None:
    assert remaining_length(b"?" + data + b"?", 1) == (value, 1 + len(data))
    assert remaining_length(data[:-1], 0) == (-1, 0)


class TestAliases:
    """MQTT 5.0 §3.3.2.3.4."""

    @staticmethod
    def packet(topic: str, alias: int, payload: bytes = b"m", *, qos: int = 1, more: bytes = b"") -> bytes:
        return builder.publish(
            topic,
            payload,
            qos=qos,
            packet_id=7 if qos else None,
            properties=builder.p16(0x23, alias) + more if alias else more,
        )

    def test_an_alias_stands_for_its_topic(self) -> None:
        rig = Rig(version=5)
        for qos in (0, 1, 2):
            rig.parse(self.packet("a/b", 1, qos=qos))
            rig.parse(self.packet("", 1, b"2", qos=qos) + self.packet("", 1, b"3", qos=qos))
        assert rig.topics() == [b"a/b"] * 9
        assert rig.asked == [b"a/b"]
        assert rig.batch.properties == {}, "the alias is between the client and us"

    def test_several_and_changed_ones(self) -> None:
        rig = Rig(version=5)
        rig.parse(self.packet("one", 1) + self.packet("two", 2) + self.packet("", 1) + self.packet("", 2))
        rig.parse(self.packet("two", 1) + self.packet("", 1) + self.packet("three", 0) + self.packet("", 2))
        assert rig.topics() == [b"one", b"two", b"one", b"two", b"two", b"two", b"three", b"two"]

    def test_a_topic_that_comes_with_the_same_alias_each_time(self) -> None:
        rig = Rig(version=5)
        rig.parse(
            self.packet("one", 1) * 3 + self.packet("two", 1) + self.packet("", 1) + self.packet("one", 1)
        )
        assert rig.topics() == [b"one"] * 3 + [b"two"] * 2 + [b"one"]

    def test_other_properties_stay(self) -> None:
        rig = Rig(version=5)
        user = builder.puser("k", "v")
        rig.parse(self.packet("a", 1, more=user) + self.packet("", 1, more=user) + self.packet("", 1))
        assert rig.batch.properties == {0: user, 1: user}

    def test_across_batches(self) -> None:
        rig = Rig(version=5)
        rig.parse(self.packet("a", 1))
        rig.batch = Batch()
        rig.batch.mark_time(2000)
        rig.batch.topic_slot(b"somebody else's")
        rig.parse(self.packet("", 1) + builder.publish("a", properties=b"") + self.packet("", 1))
        assert rig.topics() == [b"a"] * 3

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            pytest.param(packet("", 2), 0x82, id="an alias that was not set"),
            pytest.param(packet("", 0), 0x82, id="no topic and no properties"),
            pytest.param(packet("", 0, more=builder.p8(1, 1)), 0x82, id="no topic and no alias"),
            pytest.param(packet("", ALIAS_MAX + 1), 0x94, id="above the maximum"),
            pytest.param(packet("b", ALIAS_MAX + 1), 0x94, id="above the maximum, with a topic"),
            pytest.param(builder.publish("b", properties=builder.p16(0x23, 0)), 0x94, id="alias 0"),
            pytest.param(builder.packet(0x30, b"\0\0"), 0x81, id="properties missing"),
            pytest.param(
                builder.packet(0x32, b"\0\0\0\1"), 0x81, id="properties missing behind an identifier"
            ),
            pytest.param(builder.packet(0x32, b"\0\0\0"), 0x81, id="identifier missing"),
            pytest.param(packet("t" * (TOPIC_ALIAS_TOPIC_BYTES_MAX + 1), 1), 0x97, id="too long to be kept"),
        ],
    )
    def test_what_is_refused(self, data: bytes, code: int) -> None:
        rig = Rig(version=5)
        rig.parse(self.packet("a", 1))
        assert rig.fails(data) == code
        assert rig.topics() == [b"a"]

    def test_properties_that_are_not_remembered_leave_no_alias_behind(self) -> None:
        rig = Rig(version=5)
        rig.parse(self.packet("a", 1, more=builder.puser("k", "v" * PROPERTIES_REMEMBERED_BYTES_MAX)))
        assert rig.fails(self.packet("", 0)) == 0x82

    def test_a_topic_that_is_not_permitted_is_not_permitted_by_its_alias(self) -> None:
        """Not a protocol error: the client had set its alias, and is told each time what is wrong with the topic."""
        rig = Rig(version=5)
        rig.refused_topics = {b"other"}
        rig.parse(
            self.packet("other", 1) + self.packet("", 1) + self.packet("own", 2) + self.packet("", 1) * 2
        )
        assert rig.topics() == [b"own"]
        assert rig.parser.refused == [(0x32, b"\0\7")] * 4

    def test_what_may_be_published_has_changed(self) -> None:
        rig = Rig(version=5)
        rig.parse(self.packet("a", 1))
        rig.parser.forget_topics()
        rig.refused_topics = {b"a"}
        rig.parse(self.packet("", 1))
        assert rig.topics() == [b"a"]
        assert rig.parser.refused == [(0x32, b"\0\7")]

    def test_the_longest_topic_is_counted_where_its_packet_does_not_hold_it(self) -> None:
        rig = Rig(version=5)
        long = "t" * TOPIC_ALIAS_TOPIC_BYTES_MAX
        rig.parse(self.packet(long, 1))
        rig.batch = Batch()
        rig.batch.mark_time(2000)
        rig.parse(self.packet("", 1) * 2)
        assert TOPIC_ALIAS_TOPIC_BYTES_MAX < rig.batch.body_bytes < 2 * TOPIC_ALIAS_TOPIC_BYTES_MAX

    def test_aliases_make_no_block_larger_than_its_frame(self) -> None:
        """Each of many clients brings topics that its packets of 12 bytes don't hold."""
        batch = Batch()
        batch.mark_time(1000)
        stop, count = Stop.NEED_MORE, 0
        while stop is Stop.NEED_MORE:
            rig = Rig(version=5, batch=Batch())
            for alias in range(1, ALIAS_MAX + 1):
                rig.parse(self.packet(f"{count}/{alias}/".ljust(TOPIC_ALIAS_TOPIC_BYTES_MAX, "t"), alias))
            rig.batch = batch
            _, stop = rig.parse(b"".join(self.packet("", alias) for alias in range(1, ALIAS_MAX + 1)))
            count += 1
        body, _, _ = batch_body(batch)
        assert BATCH_BYTES_MAX * 0.9 < len(body) <= FRAME_BYTES_MAX


def test_the_short_way_leaves_to_the_long_way_what_is_not_as_expected() -> None:
    """Nothing is added, and nothing is refused there."""
    for version in (4, 5):
        rig = Rig(version=version)
        none = b"" if version == 5 else None
        good = builder.publish("a", b"x", qos=1, packet_id=1, properties=none)
        assert not rig.parser.parse_single(good, rig.batch), "the topic of the one before is not known"
        rig.parse(good)
        before = len(rig.batch)
        for data in (
            builder.publish("a", b"x", qos=1, packet_id=0, properties=none),
            builder.packet(0x32, builder.text("a"), b"\0"),
            builder.publish("a", b"x", qos=0, properties=none),
            builder.publish("b", b"x", qos=1, packet_id=1, properties=none),
            builder.publish("a", bytes(200), qos=1, packet_id=1, properties=none),
            good + good,
            good[:-1],
            *(
                [builder.publish("a", b"x", qos=1, packet_id=1, properties=builder.p16(0x23, 1))]
                * (version == 5)
            ),
            *([builder.packet(0x32, builder.text("a"), b"\0\1")] * (version == 5)),
        ):
            assert not rig.parser.parse_single(data, rig.batch), data
        assert rig.parser.parse_single(good, rig.batch)
        rig.batch.body_bytes = BATCH_BYTES_MAX
        assert not rig.parser.parse_single(good, rig.batch), "the batch is full"
        assert len(rig.batch) == before + 1
