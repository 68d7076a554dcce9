"""What one bridge is to do, out of the configuration: checked values, nothing that changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig
from appliance.core.settings import Bind
from broker.mqtt.constants import Version
from broker.mqtt.packets import Subscription

from .remote import TlsSettings
from .topics import TopicRule

RETAINED_OF_NEW_SUBSCRIPTIONS = 1
"""Retain handling (MQTT 5.0 §3.8.3.1): not again with each connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRules:
    """See the module's docstring.

    Attributes:
        principal: Under which what comes in stands in our log.
        node: This node's id as text.
        tls: None for a connection without.
    """

    name: str
    principal: str
    node: str
    address: Bind
    tls: TlsSettings | None
    client_id: str
    user_name: str | None
    password_file: Path | None
    version: Version
    keep_alive_s: int
    in_flight_max: int
    packet_bytes_max: int
    begin: Literal["now", "oldest"]
    outgoing: tuple[TopicRule, ...]
    incoming: tuple[TopicRule, ...]

    @property
    def wanted(self) -> tuple[tuple[str, int], ...]:
        """Topic filters at the remote with their QoS, each once, with the highest."""
        best: dict[str, int] = {}
        for rule in self.incoming:
            best[rule.remote_filter] = max(rule.qos, best.get(rule.remote_filter, 0))
        return tuple(best.items())

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """What is asked for: nothing of our own back, RETAIN as it was published."""
        is_v5 = self.version is Version.MQTT_5
        return tuple(
            Subscription(
                topic_filter=topic_filter,
                qos=qos,
                no_local=is_v5,
                retain_as_published=is_v5,
                retain_handling=RETAINED_OF_NEW_SUBSCRIPTIONS if is_v5 else 0,
            )
            for topic_filter, qos in self.wanted
        )


def rules_of(
    bridge: BridgeConfig,
    topics: Sequence[BridgeTopicConfig],
    *,
    node_id: bytes,
    packet_bytes_max: int,
) -> BridgeRules:
    """The rules of one bridge.

    Args:
        topics: Of all bridges.
        node_id: 16 bytes.
    """

    def rules(direction: str) -> tuple[TopicRule, ...]:
        return tuple(
            TopicRule(
                topic_filter=each.topic,
                qos=each.qos,
                local_prefix=each.local_prefix,
                remote_prefix=each.remote_prefix,
            )
            for each in topics
            if each.bridge == bridge.name and each.direction in (direction, "both")
        )

    tls = None
    if bridge.tls == "on":
        tls = TlsSettings(
            server_name=bridge.server_name or bridge.address.host,
            ca_file=bridge.ca_file,
            certificate_file=bridge.certificate_file,
        )
    return BridgeRules(
        name=bridge.name,
        principal=f"bridge/{bridge.name}",
        node=node_id.hex(),
        address=bridge.address,
        tls=tls,
        client_id=bridge.client_id or f"homeport-{node_id.hex()[:12]}-{bridge.name}",
        user_name=bridge.user_name or None,
        password_file=bridge.password_file,
        version=Version.MQTT_5 if bridge.version == "5" else Version.MQTT_3_1_1,
        keep_alive_s=bridge.keep_alive_s,
        in_flight_max=bridge.in_flight_max,
        packet_bytes_max=packet_bytes_max,
        begin="oldest" if bridge.begin == "oldest" else "now",
        outgoing=rules("out"),
        incoming=rules("in"),
    )
