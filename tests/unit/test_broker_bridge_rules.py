"""broker/bridge/rules.py"""

from __future__ import annotations

from pathlib import Path

from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig
from appliance.core.settings import Bind
from broker.bridge.remote import TlsSettings
from broker.bridge.rules import BridgeRules, rules_of
from broker.bridge.topics import TopicRule
from broker.mqtt.constants import Version
from broker.mqtt.packets import Subscription

NODE_ID = bytes(range(16))
TOPICS = (
    BridgeTopicConfig(bridge="up", direction="out", topic="dm/#"),
    BridgeTopicConfig(bridge="up", direction="both", topic="s/#", qos=2, remote_prefix="x/"),
    BridgeTopicConfig(bridge="up", direction="in", topic="x/s/#", qos=0),
    BridgeTopicConfig(bridge="other", direction="in", topic="#"),
)


def made(bridge: BridgeConfig) -> BridgeRules:
    return rules_of(bridge, TOPICS, node_id=NODE_ID, packet_bytes_max=1000)


def test_topics_by_direction_and_filters_once_with_the_highest_qos() -> None:
    rules = made(BridgeConfig(name="up"))
    assert [rule.topic_filter for rule in rules.outgoing] == ["dm/#", "s/#"]
    assert rules.incoming[0] == TopicRule(topic_filter="s/#", qos=2, remote_prefix="x/")
    assert rules.wanted == (("x/s/#", 2),)
    assert rules.subscriptions == (
        Subscription(topic_filter="x/s/#", qos=2, no_local=True, retain_as_published=True, retain_handling=1),
    )


def test_what_3_1_1_has_no_words_for_is_not_asked() -> None:
    rules = made(BridgeConfig(name="up", version="3.1.1"))
    assert rules.version is Version.MQTT_3_1_1
    assert rules.subscriptions == (Subscription(topic_filter="x/s/#", qos=2),)


def test_names_and_tls() -> None:
    rules = made(BridgeConfig(name="up", address=Bind(host="h", port=1), ca_file=Path("/ca")))
    assert rules.principal == "bridge/up"
    assert rules.client_id == f"homeport-{NODE_ID.hex()[:12]}-up"
    assert rules.tls == TlsSettings(server_name="h", ca_file=Path("/ca"))
    assert rules.user_name is None
    assert made(BridgeConfig(name="up", tls="off")).tls is None
    named = made(BridgeConfig(name="up", server_name="n", client_id="c", user_name="u", begin="oldest"))
    assert named.tls is not None
    assert (named.tls.server_name, named.client_id, named.user_name, named.begin) == ("n", "c", "u", "oldest")
