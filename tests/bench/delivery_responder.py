"""The peer of `scripts/bench delivery`: the least that answers requests for blocks behind an ordinary broker.

`python -m tests.bench.delivery_responder`, with options as one line of JSON on standard input. It subscribes to every device's requests, and publishes
the blocks that are asked for at QoS 0. No right is looked up, nothing is budgeted, no progress is kept.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any, Final

from appliance.management import blocks
from tests.bench.request_clients import PUBLISH, packets_of
from tests.protocol import builder

RECEIVE_BYTES: Final = 1 << 16
SUBACK: Final = 0x90


def answer(options: dict[str, Any], image: bytes) -> None:
    """Until the broker closes."""
    sock = socket.create_connection((options["host"], options["port"]))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(builder.connect("responder", keep_alive=600))
    sock.sendall(builder.subscribe(1, ("dm/+/streams/+/get/cbor", 0)))
    received = bytearray()
    while data := sock.recv(RECEIVE_BYTES):
        received += data
        for first, body in packets_of(received):
            if first & 0xF0 == SUBACK:
                print("ready", flush=True)
            elif first & 0xF0 == PUBLISH:
                size = int.from_bytes(body[:2], "big")
                topic, payload = body[2 : 2 + size].decode(), body[2 + size :]
                get = blocks.get_of(blocks.fields_of(payload, "cbor"), len(image))
                to = topic.replace("/get/", "/data/")
                wanted = blocks.wanted(get, len(image))
                for to_come_count, number in zip(reversed(range(len(wanted))), wanted, strict=True):
                    piece = image[number * get.block_bytes : (number + 1) * get.block_bytes]
                    block = blocks.encode_data("cbor", get, number, piece, to_come_count)
                    sock.sendall(builder.publish(to, block, qos=0))


def main() -> None:
    """Answer."""
    options = json.loads(sys.stdin.readline())
    answer(options, Path(options["image"]).read_bytes())


if __name__ == "__main__":
    main()
