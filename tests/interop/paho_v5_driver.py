"""paho-mqtt, unmodified, as an MQTT 5 client that does one thing after the other: JSON lines in and out. See v5_clients.py."""

from __future__ import annotations

import json
import queue
import sys
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

DEADLINE_S: Final = 60.0
NAMES: Final = {
    "user": "UserProperty",
    "response_topic": "ResponseTopic",
    "correlation_data": "CorrelationData",
    "content_type": "ContentType",
    "payload_format": "PayloadFormatIndicator",
    "message_expiry_s": "MessageExpiryInterval",
    "topic_alias": "TopicAlias",
    "topic_alias_maximum": "TopicAliasMaximum",
    "receive_maximum": "ReceiveMaximum",
    "maximum_packet_size": "MaximumPacketSize",
    "session_expiry_s": "SessionExpiryInterval",
    "subscription_identifier": "SubscriptionIdentifier",
    "assigned_client_id": "AssignedClientIdentifier",
    "server_keep_alive_s": "ServerKeepAlive",
    "will_delay_s": "WillDelayInterval",
}


def to_paho(given: dict[str, Any] | None, kind: int) -> Properties | None:
    if not given:
        return None
    properties = Properties(kind)  # type: ignore[no-untyped-call]
    for name, value in given.items():
        if name == "user":
            value = [tuple(pair) for pair in value]
        elif name == "correlation_data":
            value = bytes.fromhex(value)
        setattr(properties, NAMES[name], value)
    return properties


def from_paho(properties: Properties | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, theirs in NAMES.items():
        value = getattr(properties, theirs, None)
        if value is not None:
            found[name] = value.hex() if isinstance(value, bytes) else value
    return found


class Driver:
    """One client after the other, all of the same client id."""

    def __init__(self) -> None:
        self._events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._client: Any = None

    def connect(self, job: dict[str, Any]) -> dict[str, Any]:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=job["client_id"],
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        self._client = client
        client.username_pw_set(job["username"], job["password"])
        if "will" in job:
            will = job["will"]
            client.will_set(
                will["topic"],
                bytes.fromhex(will["payload"]),
                will["qos"],
                properties=to_paho(will.get("properties"), PacketTypes.WILLMESSAGE),
            )
        client.on_connect = lambda _c, _d, flags, reason, properties: self._events.put(
            (
                "connack",
                {
                    "reason": reason.value,
                    "session_present": flags.session_present,
                    "properties": from_paho(properties),
                },
            )
        )
        client.on_subscribe = lambda _c, _d, _m, reasons, _p: self._events.put(
            ("suback", {"reasons": [each.value for each in reasons]})
        )
        client.on_publish = lambda _c, _d, _m, reason, _p: self._events.put(
            ("published", {"reason": reason.value})
        )
        client.on_disconnect = lambda _c, _d, _f, reason, _p: self._events.put(
            ("closed", {"reason": reason.value})
        )
        client.on_message = lambda _c, _d, message: self._messages.put(
            {
                "topic": message.topic,
                "payload": message.payload.hex(),
                "qos": message.qos,
                "retain": message.retain,
                "properties": from_paho(message.properties),
            }
        )
        client.connect(
            job["host"],
            job["port"],
            clean_start=job["clean_start"],
            properties=to_paho(job.get("properties"), PacketTypes.CONNECT),
        )
        client.loop_start()
        return self._wait("connack")

    def subscribe(self, job: dict[str, Any]) -> dict[str, Any]:
        options = SubscribeOptions(
            job["qos"],
            noLocal=job["no_local"],
            retainAsPublished=job["retain_as_published"],
            retainHandling=job["retain_handling"],
        )
        properties = to_paho(job.get("properties"), PacketTypes.SUBSCRIBE)
        self._client.subscribe(job["topic_filter"], options=options, properties=properties)
        return self._wait("suback")

    def publish(self, job: dict[str, Any]) -> dict[str, Any]:
        self._client.publish(
            job["topic"],
            bytes.fromhex(job["payload"]),
            job["qos"],
            job["retain"],
            properties=to_paho(job.get("properties"), PacketTypes.PUBLISH),
        )
        return self._wait("published")

    def receive(self, job: dict[str, Any]) -> dict[str, Any]:
        return self._messages.get(timeout=DEADLINE_S)

    def disconnect(self, job: dict[str, Any]) -> dict[str, Any]:
        self._client.disconnect(properties=to_paho(job.get("properties"), PacketTypes.DISCONNECT))
        closed = self._wait("closed")
        self._client.loop_stop()
        return closed

    def drop(self, job: dict[str, Any]) -> dict[str, Any]:
        """Go away without DISCONNECT."""
        self._client.loop_stop()
        self._client.socket().close()
        return {}

    def _wait(self, what: str) -> dict[str, Any]:
        while True:
            kind, event = self._events.get(timeout=DEADLINE_S)
            if kind == what:
                return event
            if kind == "closed":
                raise ConnectionError(f"closed with {event} instead of {what}")


def main() -> int:
    driver = Driver()
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(getattr(driver, job["do"])(job)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
