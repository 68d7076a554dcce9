"""The rules themselves, told whose mistake it would be; their clauses are shown in tests/protocol/test_codec_*.py."""

from __future__ import annotations

import pytest

from appliance.core.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from broker.mqtt.constants import PacketType, Sender, Version
from broker.mqtt.packets import Disconnect, Puback, Publish
from broker.mqtt.rules import SENT_BY, check_publish, check_sender
from broker.mqtt.violations import Fail, local, remote


@pytest.mark.parametrize(("fail", "kind"), [(local, LocalProtocolError), (remote, RemoteProtocolError)])
def test_a_rule_is_the_same_both_ways(fail: Fail, kind: type[ProtocolError]) -> None:
    with pytest.raises(kind, match="no wildcards"):
        check_publish(Publish(topic="#"), Version.MQTT_5, fail)


def test_every_packet_is_sent_by_someone() -> None:
    assert SENT_BY[Sender.CLIENT] | SENT_BY[Sender.SERVER] == set(PacketType)


def test_sender_of_disconnect_before_5() -> None:
    check_sender(PacketType.DISCONNECT, Disconnect(), Version.MQTT_3_1_1, Sender.CLIENT, remote)
    with pytest.raises(RemoteProtocolError, match="before MQTT 5"):
        check_sender(PacketType.DISCONNECT, Disconnect(), Version.MQTT_3_1_1, Sender.SERVER, remote)


def test_sender_of_no_matching_subscribers() -> None:
    packet = Puback(packet_id=1, reason_code=0x10)
    check_sender(PacketType.PUBACK, packet, Version.MQTT_5, Sender.SERVER, remote)
    with pytest.raises(RemoteProtocolError, match="0x10 no matching subscribers"):
        check_sender(PacketType.PUBACK, packet, Version.MQTT_5, Sender.CLIENT, remote)
