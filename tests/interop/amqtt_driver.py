"""amqtt's client, unmodified, driven by one JSON object on standard input; says what happens in JSON lines. See clients.py."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from amqtt.client import MQTTClient

DEADLINE_S = 60.0


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


async def main() -> int:
    job: dict[str, Any] = json.load(sys.stdin)
    client = MQTTClient(client_id=job["client_id"], config={"auto_reconnect": False, "check_hostname": True})
    scheme = "mqtts" if job["tls"] else "mqtt"
    login = "" if job["username"] is None else f"{job['username']}:{job['password']}@"
    await client.connect(
        f"{scheme}://{login}{job['host']}:{job['port']}/", cleansession=True, cafile=job["ca_file"]
    )
    try:
        if job["action"] == "subscribe":
            granted = await client.subscribe([(job["topic_filter"], job["qos"])])
            say({"ready": granted})
            for _ in range(job["count"]):
                message = await client.deliver_message(DEADLINE_S)
                assert message is not None
                say({"topic": message.topic, "payload": bytes(message.data).hex(), "qos": message.qos})
        else:
            sent = await asyncio.gather(
                *(
                    client.publish(
                        each["topic"], bytes.fromhex(each["payload"]), qos=job["qos"], ack_timeout=20
                    )
                    for each in job["messages"]
                )
            )
            if job["qos"] and not all(each.puback_packet is not None for each in sent):
                print("not every message was acknowledged", file=sys.stderr)
                return 1
    finally:
        await client.disconnect()
    return 0


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.exit(asyncio.run(main()))
