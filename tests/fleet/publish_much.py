"""Publishes random bytes with QoS 1 as one device: `publish_much.py HOST USER TOKEN MEBIBYTES`."""

from __future__ import annotations

import os
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

PAYLOAD_BYTES = 64 * 1024


def main() -> None:
    host, user, token, mebibytes = sys.argv[1:]
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=user)
    client.username_pw_set(user, token)
    client.connect(host, 1883)
    client.loop_start()
    sent = [
        client.publish(f"dm/{user}/noise", os.urandom(PAYLOAD_BYTES), qos=1)
        for _ in range(int(mebibytes) * 1024 * 1024 // PAYLOAD_BYTES)
    ]
    for each in sent:
        each.wait_for_publish(120)
        assert each.is_published()
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
