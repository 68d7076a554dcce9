"""Devices that fetch an image in blocks over MQTT: the clients' side of `scripts/bench delivery`, a process of its own.

`python -m tests.bench.delivery_clients`, with options as one line of JSON on standard input. When all have subscribed it says so, and waits for the line “go”. Each device asks for some blocks, waits until it
has them, and asks for the next; what does not come within RETRY_S it asks for again. With `loops` a device that has all begins anew, until another
line comes on standard input. Every image of the first CHECKED_COUNT devices is compared by its digest.
"""

from __future__ import annotations

import json
import select
import sys
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from appliance.management.cbor import decode_cbor
from appliance.management.cbor_writing import encode_cbor
from tests.bench.request_clients import BEGUN_AT_A_TIME, CONNACK, PUBLISH, packets_of
from tests.bench.storm_clients import percentiles, reach
from tests.protocol import builder

RECEIVE_BYTES: Final = 1 << 20
RETRY_S: Final = 65.0
"""The contract's 60 s, and the way."""
CHECKED_COUNT: Final = 10
SUBACK: Final = 0x90


@dataclass
class Device:
    """One of them: which blocks it has, and which it waits for."""

    number: int
    name: str
    token: str
    sock: Any = None
    received: bytearray = field(default_factory=bytearray)
    image: dict[int, bytes] = field(default_factory=dict)
    first: int = 0
    asked_s: float = 0.0
    awaited: set[int] = field(default_factory=set)


class Fetching:
    """Has all devices fetch the image."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._devices = [Device(n, name, token) for n, (name, token) in enumerate(options["logins"])]
        self._by_fd: dict[int, Device] = {}
        self._epoll = select.epoll()
        self._block_count = -(-options["size"] // options["block"])
        self.took_s: list[float] = []
        self.bytes = self.asked_again = 0
        self._began_s = 0.0
        self._ready = 0

    def run(self) -> dict[str, Any]:
        """Until everybody has it, somebody says stop, or it takes too long."""
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        waiting = list(self._devices)
        self._began_s = looked_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            is_over = len(self.took_s) >= len(self._devices) and not self._options["loops"]
            if is_over or now_s - self._began_s > self._options["give_up_s"]:
                break
            for device in waiting[:BEGUN_AT_A_TIME]:
                device.sock = reach(self._options)
                self._by_fd[device.sock.fileno()] = device
                self._epoll.register(device.sock.fileno(), select.EPOLLOUT)
            del waiting[:BEGUN_AT_A_TIME]
            if now_s - looked_s > 1:
                looked_s = now_s
                self._ask_again(now_s)
            for fd, events in self._epoll.poll(0 if waiting else 0.2):
                if fd == sys.stdin.fileno():
                    if sys.stdin.readline().strip() != "go":
                        return self._report()
                    self._began_s = time.monotonic()
                    for device in self._devices:
                        self._ask(device)
                    continue
                self._go_on(self._by_fd[fd], events)
        return self._report()

    def _report(self) -> dict[str, Any]:
        took_s = time.monotonic() - self._began_s
        count = len(self._devices)
        return {
            "fetched": len(self.took_s),
            "first_round_s": self.took_s[count - 1] if len(self.took_s) >= count else None,
            "took_s": took_s,
            "bytes": self.bytes,
            "asked_again": self.asked_again,
            "each_s": percentiles(self.took_s[:count]),
        }

    def _go_on(self, device: Device, events: int) -> None:
        if events & select.EPOLLOUT:
            token = device.token.encode() if device.token else None
            name = device.name if device.token else None
            device.sock.send(builder.connect(device.name, keep_alive=600, username=name, password=token))
            self._epoll.modify(device.sock.fileno(), select.EPOLLIN)
            return
        data = device.sock.recv(RECEIVE_BYTES)
        if not data:
            raise SystemExit(f"the broker has closed the connection of {device.name}")
        device.received += data
        for first, body in packets_of(device.received):
            if first & 0xF0 == CONNACK:
                if body[1]:
                    raise SystemExit(f"the broker said {body!r} instead of a CONNACK")
                filters = (f"dm/{device.name}/jobs/notify-next", f"dm/{device.name}/streams/+/data/cbor")
                device.sock.send(builder.subscribe(1, *((each, 0) for each in filters)))
            elif first & 0xF0 == SUBACK:
                self._ready += 1
                if self._ready == len(self._devices):
                    print("ready", flush=True)
            elif first & 0xF0 == PUBLISH:
                size = int.from_bytes(body[:2], "big")
                self._take(device, body[2 : 2 + size].decode(), body[2 + size :])

    def _ask(self, device: Device) -> None:
        options = self._options
        device.awaited = set(range(device.first, min(device.first + options["count"], self._block_count)))
        device.asked_s = time.monotonic()
        asked = {"c": "b", "l": options["block"], "o": device.first, "n": len(device.awaited)}
        topic = f"dm/{device.name}/streams/{options['stream']}/get/cbor"
        device.sock.send(builder.publish(topic, encode_cbor(asked), qos=0))

    def _ask_again(self, now_s: float) -> None:
        for device in self._devices:
            if device.awaited and now_s - device.asked_s > RETRY_S:
                self.asked_again += 1
                device.first = min(device.awaited)
                self._ask(device)

    def _take(self, device: Device, topic: str, payload: bytes) -> None:
        if topic.endswith("/notify-next"):
            return
        fields = decode_cbor(payload, is_senml=True)
        assert isinstance(fields, dict)
        if "/data/" not in topic:
            if "retry_s" not in fields:
                raise SystemExit(f"{device.name} was refused: {payload!r}")
            device.asked_s = time.monotonic() - RETRY_S + fields["retry_s"]
            return
        if fields["i"] not in device.awaited:
            return
        device.awaited.discard(fields["i"])
        self.bytes += len(fields["p"])
        if device.number < CHECKED_COUNT:
            device.image[fields["i"]] = fields["p"]
        device.first = fields["i"] + 1
        # A budget may give less than was asked for; the rest is asked for in the last block's stead, which costs nothing.
        if device.awaited and fields["i"] + 1 in device.awaited:
            return
        if device.first < self._block_count:
            self._ask(device)
            return
        self.took_s.append(time.monotonic() - self._began_s)
        if device.image:
            digest = sha256(b"".join(device.image[each] for each in range(self._block_count))).hexdigest()
            if digest != self._options["sha256"]:
                raise SystemExit(f"{device.name} has other bytes: {digest}")
        device.first, device.image = 0, {}
        if self._options["loops"]:
            self._ask(device)


def main() -> None:
    """Fetch, and say how long it took."""
    print(json.dumps(Fetching(json.loads(sys.stdin.readline())).run()), flush=True)


if __name__ == "__main__":
    main()
