"""Devices that come back at once and ask: the clients' side of `scripts/bench requests`, a process of its own.

`python -m tests.bench.request_clients`, with options as one line of JSON on standard input. All begin at once. Each, once it has CONNACK,
subscribes to what is said to it, says that it is online, and asks; one that is told to come back asks again when it was told to. It ends when
all have their answers, prints how long that took, and stays connected until standard input ends.
"""

from __future__ import annotations

import heapq
import json
import select
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from tests.bench.storm_clients import HELD_S, RECEIVE_BYTES, percentiles, reach
from tests.protocol import builder

CONNACK, PUBLISH = 0x20, 0x30
BEGUN_AT_A_TIME: Final = 200


@dataclass
class Device:
    """One of them: what it has received, and which answers it lacks."""

    name: str
    token: str
    waits_for: set[str]
    sock: Any = None
    received: bytearray = field(default_factory=bytearray)


class ComeBack:
    """Brings all devices in and asks."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._devices = [
            Device(name, token, {each.format(d=name) for each in options["questions"]})
            for name, token in options["logins"]
        ]
        self._by_fd: dict[int, Device] = {}
        self._again: list[tuple[float, int, str]] = []
        self._epoll = select.epoll()
        self._began_s = 0.0
        self.took_s: list[float] = []
        self.answers: Counter[str] = Counter()

    def run(self) -> dict[str, Any]:
        """Until everybody has been answered, or it takes too long."""
        self._began_s = time.monotonic()
        waiting = list(self._devices)
        while len(self.took_s) < len(self._devices):
            now_s = time.monotonic()
            if now_s - self._began_s > self._options["give_up_s"]:
                break
            for device in waiting[:BEGUN_AT_A_TIME]:
                device.sock = reach(self._options)
                self._by_fd[device.sock.fileno()] = device
                self._epoll.register(device.sock.fileno(), select.EPOLLOUT)
            del waiting[:BEGUN_AT_A_TIME]
            while self._again and self._again[0][0] <= now_s:
                _, number, topic = heapq.heappop(self._again)
                self._devices[number].sock.send(builder.publish(topic, b"{}", qos=0))
            for fd, events in self._epoll.poll(0 if waiting else 0.05):
                self._go_on(fd, self._by_fd[fd], events)
        return {
            "answered": len(self.took_s),
            "answered_s": time.monotonic() - self._began_s,
            "each_s": percentiles(self.took_s),
            "answers": dict(self.answers),
        }

    def _go_on(self, fd: int, device: Device, events: int) -> None:
        if events & select.EPOLLOUT:
            device.sock.send(
                builder.connect(
                    device.name, keep_alive=600, username=device.name, password=device.token.encode()
                )
            )
            self._epoll.modify(fd, select.EPOLLIN)
            return
        data = device.sock.recv(RECEIVE_BYTES)
        if not data:
            raise SystemExit(f"the broker has closed the connection of {device.name}")
        device.received += data
        for first, body in packets_of(device.received):
            if first & 0xF0 == CONNACK:
                if body[1]:
                    raise SystemExit(f"the broker said {body!r} instead of a CONNACK")
                self._ask(device)
            elif first & 0xF0 == PUBLISH and first & 0x06 == 0:
                size = int.from_bytes(body[:2], "big")
                self._take(device, body[2 : 2 + size].decode(), body[2 + size :])

    def _ask(self, device: Device) -> None:
        options, name = self._options, device.name
        packets = [
            builder.subscribe(1, *((each.format(d=name), 1) for each in options["subscribe"])),
            builder.publish(f"dm/{name}/status", options["status"].encode(), qos=1, packet_id=2),
        ]
        packets += [
            builder.publish(each.format(d=name), b"{}", qos=1, packet_id=number)
            for number, each in enumerate(options["questions"], start=3)
        ]
        device.sock.send(b"".join(packets))
        if not device.waits_for:
            self.took_s.append(time.monotonic() - self._began_s)

    def _take(self, device: Device, topic: str, payload: bytes) -> None:
        asked, _, outcome = topic.rpartition("/")
        if asked not in device.waits_for:
            return
        if outcome == "rejected" and (retry_s := json.loads(payload).get("retry_s")):
            self.answers["told to come back"] += 1
            again_s = time.monotonic() + retry_s
            heapq.heappush(self._again, (again_s, self._devices.index(device), asked))
            return
        self.answers[outcome] += 1
        device.waits_for.remove(asked)
        if not device.waits_for:
            self.took_s.append(time.monotonic() - self._began_s)


def packets_of(received: bytearray) -> list[tuple[int, bytes]]:
    """Take whole packets: first byte and what is behind the length."""
    found = []
    while len(received) >= 2:
        length, at, shift = 0, 1, 0
        while at < len(received):
            length |= (received[at] & 0x7F) << shift
            shift += 7
            at += 1
            if received[at - 1] < 0x80:
                break
        else:
            break
        if len(received) < at + length:
            break
        found.append((received[0], bytes(received[at : at + length])))
        del received[: at + length]
    return found


def main() -> None:
    """Come back, ask, say how long it took, stay."""
    options = json.loads(sys.stdin.readline())
    come_back = ComeBack(options)
    print(json.dumps(come_back.run()), flush=True)
    select.select([sys.stdin], [], [], HELD_S)


if __name__ == "__main__":
    main()
