"""One message and its bytes: right, encoded once for all who have it alike, and gone when its time is over."""

from __future__ import annotations

import pytest

from broker.delivery import NEVER, Delivery, as_duplicate, expiry_ms, recipe
from tests.protocol import builder

USER = builder.puser("k", "v" * 200)
EXPIRES_IN_10_S = builder.p32(0x02, 10)


def delivery(
    payload: bytes = b"m", *, properties: bytes = b"", topic: bytes = b"a/b", received_at_ms: int = 1000
) -> Delivery:
    return Delivery(
        seq=7,
        client=("c", "site"),
        topic=topic,
        payload=payload,
        properties=properties,
        qos=2,
        is_retained=True,
        received_at_ms=received_at_ms,
    )


class TestBytes:
    @pytest.mark.parametrize("size", [0, 1, 100, 200, 20_000, 3_000_000])
    @pytest.mark.parametrize("version", [4, 5])
    @pytest.mark.parametrize("qos", [0, 1, 2])
    def test_as_an_independent_builder_makes_them(self, size: int, version: int, qos: int) -> None:
        message = delivery(b"x" * size, properties=USER)
        for retain in (False, True):
            assert message.packet(recipe(qos, retain), 300, has_properties=version == 5) == builder.publish(
                "a/b",
                message.payload,
                qos=qos,
                retain=retain,
                packet_id=300 if qos else None,
                properties=USER if version == 5 else None,
            ), "properties are MQTT 5's alone"

    def test_subscription_identifiers(self) -> None:
        how = recipe(1, False, (1, 300))
        identified = USER + builder.pvar(0x0B, 1) + builder.pvar(0x0B, 300)
        message = delivery(properties=USER)
        assert message.packet(how, 5, has_properties=True) == builder.publish(
            "a/b", qos=1, packet_id=5, properties=identified
        )
        assert message.packet(how, 5, has_properties=False) == builder.publish("a/b", qos=1, packet_id=5)

    def test_sent_again(self) -> None:
        packet = delivery().packet(recipe(1), 5, has_properties=False)
        assert as_duplicate(packet) == builder.publish("a/b", qos=1, packet_id=5, dup=True)
        assert as_duplicate(as_duplicate(packet)) == as_duplicate(packet)

    @pytest.mark.parametrize("qos", [0, 1, 2])
    def test_with_a_topic_alias(self, qos: int) -> None:
        message = delivery(properties=USER)
        how = recipe(qos, True, (9,))
        properties = USER + builder.pvar(0x0B, 9) + builder.p16(0x23, 3)
        packet_id = 300 if qos else None
        assert message.aliased(how, 300, 3, is_known=False) == builder.publish(
            "a/b", qos=qos, retain=True, packet_id=packet_id, properties=properties
        )
        assert message.aliased(how, 300, 3, is_known=True) == builder.publish(
            "", qos=qos, retain=True, packet_id=packet_id, properties=properties
        )

    def test_what_counts_against_a_bound(self) -> None:
        assert delivery(b"12345", properties=b"abc").size_bytes == 3 + 5 + 3


class TestEncodedOnce:
    def test_there_is_one_recipe_of_each_kind(self) -> None:
        assert recipe(1, True, (3,)) is recipe(1, True, (3,))
        assert recipe(1) is not recipe(1, True)
        assert recipe(1) is not recipe(2)
        assert recipe(1, False, (1,)) is not recipe(1, False, (2,))

    @pytest.mark.parametrize("has_properties", [False, True])
    def test_at_qos_0_the_packet_itself_is_shared(self, has_properties: bool) -> None:
        message = delivery()
        packet = message.packet(recipe(0), 0, has_properties=has_properties)
        assert message.packet(recipe(0), 0, has_properties=has_properties) is packet
        assert message.packet(recipe(0, True), 0, has_properties=has_properties) is not packet

    @pytest.mark.parametrize("has_properties", [False, True])
    def test_at_qos_1_all_but_the_identifier_is(
        self, has_properties: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        message, encoded = delivery(), []
        encode = Delivery._encode

        def counted(self: Delivery, how: object, has_them: bool) -> tuple[bytes, bytes]:
            encoded.append(how)
            return encode(self, recipe(1), has_them)

        monkeypatch.setattr(Delivery, "_encode", counted)
        packets = {message.packet(recipe(1), i, has_properties=has_properties) for i in range(1, 100)}
        assert len(packets) == 99
        assert len(encoded) == 1


class TestExpiry:
    def test_what_says_nothing_stays(self) -> None:
        message = delivery(properties=USER)
        assert message.expires_at_ms == NEVER
        assert message.aged(10**15) is message

    def test_what_is_left_is_told(self) -> None:
        message = delivery(properties=EXPIRES_IN_10_S + USER)
        assert message.expires_at_ms == 11_000
        for now_ms, left_s in ((1000, 10), (1001, 9), (4000, 7), (10_999, 1)):
            aged = message.aged(now_ms)
            assert aged is not None
            packet = aged.packet(recipe(1), 1, has_properties=True)
            assert packet == builder.publish(
                "a/b", qos=1, packet_id=1, properties=builder.p32(0x02, left_s) + USER
            )
            assert (aged.seq, aged.client, aged.qos, aged.is_retained) == (7, ("c", "site"), 2, True)
            again = aged.aged(11_000)
            assert again is None, "it goes on ageing from where it was"

    def test_nothing_is_left(self) -> None:
        message = delivery(properties=EXPIRES_IN_10_S)
        assert message.aged(11_000) is None
        assert delivery(properties=builder.p32(0x02, 0)).aged(1000) is None

    def test_a_byte_that_only_looks_like_the_property(self) -> None:
        assert expiry_ms(builder.puser("\x02", "\x02"), 5) == NEVER
        assert expiry_ms(builder.puser("\x02", "") + builder.p32(0x02, 2), 5) == 2005
