"""Where devices are told that this box's broker is."""

from __future__ import annotations

from appliance.core.config import BrokerConfig
from appliance.core.limits_replication import NODE_ADDRESS_COUNT_MAX
from appliance.core.settings import Bind
from appliance.run.broker_urls import broker_urls

EVERYWHERE = Bind(host="0.0.0.0", port=8883)
LOOPBACK = Bind(host="127.0.0.1", port=1883)


def test_a_door_that_listens_everywhere_has_the_hosts_by_which_peers_reach_the_box() -> None:
    config = BrokerConfig(tls_bind=EVERYWHERE, tcp_bind=None)
    assert broker_urls(config, ["10.0.0.1:8885", "[fd00::1]:8885", "box.example:9000", "10.0.0.1:9"]) == (
        "mqtts://10.0.0.1:8883",
        "mqtts://[fd00::1]:8883",
        "mqtts://box.example:8883",
    )


def test_a_door_of_this_machine_is_told_only_on_this_machine() -> None:
    config = BrokerConfig(tls_bind=EVERYWHERE, tcp_bind=LOOPBACK)
    assert broker_urls(config, ["10.0.0.1:8885"]) == ("mqtts://10.0.0.1:8883",)
    assert broker_urls(config, ["127.0.0.1:8885"]) == ("mqtts://127.0.0.1:8883", "mqtt://127.0.0.1:1883")
    assert broker_urls(config, ["localhost:8885"])[1:] == ("mqtt://127.0.0.1:1883",)


def test_a_door_with_an_address_of_its_own_is_told_with_it_and_none_without_a_port() -> None:
    config = BrokerConfig(tls_bind=Bind(host="10.9.9.9", port=8883), tcp_bind=Bind(host="0.0.0.0", port=0))
    assert broker_urls(config, ["10.0.0.1:8885"]) == ("mqtts://10.9.9.9:8883",)


def test_no_peer_s_address_is_no_place_to_go() -> None:
    assert broker_urls(BrokerConfig(tls_bind=EVERYWHERE, tcp_bind=None), ["nonsense", ""]) == ()


def test_the_list_is_bounded() -> None:
    found = broker_urls(
        BrokerConfig(tls_bind=EVERYWHERE, tcp_bind=None), [f"10.0.{n}.1:1" for n in range(100)]
    )
    assert len(found) == NODE_ADDRESS_COUNT_MAX < 100
