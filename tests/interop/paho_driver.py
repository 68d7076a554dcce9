"""paho-mqtt, unmodified, driven by one JSON object on standard input; says what happens in JSON lines. See clients.py."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

DEADLINE_S = 60.0


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


def main() -> int:
    job: dict[str, Any] = json.load(sys.stdin)
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=job["client_id"],
        protocol=paho.MQTTv5 if job["version"] == 5 else paho.MQTTv311,
        reconnect_on_failure=False,
        transport="websockets" if job["web"] else "tcp",
    )
    if job["username"] is not None:
        client.username_pw_set(job["username"], job["password"])
    if job["tls"]:
        client.tls_set(ca_certs=job["ca_file"], certfile=job["certificate"])
    if job["web"]:
        client.ws_set_options(path="/mqtt")
    connected, subscribed, received = threading.Event(), threading.Event(), threading.Event()
    refused: list[str] = []
    granted: list[int] = []
    left = [job.get("count", 0)]

    def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            refused.append(str(reason))
        connected.set()

    def on_disconnect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not connected.is_set():
            refused.append(f"disconnected: {reason}")
            connected.set()

    def on_subscribe(_client: Any, _data: Any, _mid: Any, reasons: Any, _properties: Any) -> None:
        granted.extend(each.value for each in reasons)
        subscribed.set()

    def on_message(_client: Any, _data: Any, message: Any) -> None:
        say({"topic": message.topic, "payload": message.payload.hex(), "qos": message.qos})
        left[0] -= 1
        if left[0] == 0:
            received.set()

    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    client.on_disconnect = on_disconnect
    client.connect(job["host"], job["port"])
    client.loop_start()
    try:
        if not connected.wait(DEADLINE_S) or refused:
            print(f"CONNACK: {refused or 'none'}", file=sys.stderr)
            return 1
        if job["action"] == "subscribe":
            client.subscribe(job["topic_filter"], job["qos"])
            if not subscribed.wait(DEADLINE_S):
                print("no SUBACK", file=sys.stderr)
                return 1
            say({"ready": granted})
            if not received.wait(DEADLINE_S):
                print(f"{left[0]} messages did not come", file=sys.stderr)
                return 1
        else:
            sent = [
                client.publish(each["topic"], bytes.fromhex(each["payload"]), job["qos"])
                for each in job["messages"]
            ]
            for each in sent:
                each.wait_for_publish(DEADLINE_S)
            if not all(each.is_published() for each in sent):
                print("not every message was acknowledged", file=sys.stderr)
                return 1
    finally:
        client.disconnect()
        client.loop_stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
