"""Devices that report a change of their twins each second: the clients' side of `scripts/bench twins`, a process of its own.

`python -m tests.bench.twin_clients`, with options as one line of JSON on standard input. Once all are connected, each says something new
every `interval_s`, at its own moment of it, for `seconds`; then it waits for the answers that are due. Prints how many were answered, and how
long after they were asked.
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

from tests.bench.request_clients import CONNACK, PUBLISH, packets_of
from tests.bench.storm_clients import RECEIVE_BYTES, percentiles, reach
from tests.protocol import builder

BEGUN_AT_A_TIME: Final = 100
CONNECTED_S_MAX: Final = 60.0
ANSWERED_S_MAX: Final = 20.0


@dataclass
class Device:
    """One of them, and when it asked what is not answered yet, by client token."""

    name: str
    token: str
    sock: Any = None
    is_in: bool = False
    received: bytearray = field(default_factory=bytearray)
    asked_s: dict[str, float] = field(default_factory=dict)
    number: int = 0


class Reporting:
    """Brings all devices in and has them report."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._devices = [Device(name, token) for name, token in options["logins"]]
        self._by_fd: dict[int, Device] = {}
        self._epoll = select.epoll()
        self._took_s: list[float] = []
        self._answers: Counter[str] = Counter()
        self._asked = 0
        self._late = 0

    def run(self) -> dict[str, Any]:
        """Connect, say when all are in, report when standard input says so, and sum up."""
        self._connect()
        print("connected", flush=True)
        sys.stdin.readline()
        began_s = time.monotonic()
        end_s = began_s + self._options["seconds"]
        interval_s = self._options["interval_s"]
        due = [
            (began_s + interval_s * place / len(self._devices), place) for place in range(len(self._devices))
        ]
        heapq.heapify(due)
        while due:
            now_s = time.monotonic()
            while due and due[0][0] <= now_s:
                at_s, place = heapq.heappop(due)
                # Who generates the load must not be what is measured: a report that could not be sent in its second is told.
                self._late += now_s - at_s > interval_s
                self._report(self._devices[place], now_s)
                if at_s + interval_s < end_s:
                    heapq.heappush(due, (at_s + interval_s, place))
            self._take_for(min(0.05, max(0.0, due[0][0] - time.monotonic())) if due else 0.0)
        give_up_s = time.monotonic() + ANSWERED_S_MAX
        while any(device.asked_s for device in self._devices) and time.monotonic() < give_up_s:
            self._take_for(0.05)
        return {
            "asked": self._asked,
            "answered": len(self._took_s),
            "took_s": time.monotonic() - began_s,
            "late": self._late,
            "each_s": percentiles(self._took_s),
            "answers": dict(self._answers),
        }

    def _connect(self) -> None:
        waiting, give_up_s = list(self._devices), time.monotonic() + CONNECTED_S_MAX
        while waiting or not all(device.is_in for device in self._devices):
            if time.monotonic() > give_up_s:
                raise SystemExit("not all devices could connect")
            for device in waiting[:BEGUN_AT_A_TIME]:
                device.sock = reach(self._options)
                self._by_fd[device.sock.fileno()] = device
                self._epoll.register(device.sock.fileno(), select.EPOLLOUT)
            del waiting[:BEGUN_AT_A_TIME]
            self._take_for(0 if waiting else 0.05)

    def _report(self, device: Device, now_s: float) -> None:
        device.number += 1
        token = str(device.number)
        reported = {"rate_s": 5, "up_s": device.number, "net": {"rssi_dbm": -60 - device.number % 20}}
        said = json.dumps({"state": {"reported": reported}, "clientToken": token}).encode()
        topic = f"dm/{device.name}/shadow/update"
        device.asked_s[token] = now_s
        device.sock.send(builder.publish(topic, said, qos=1, packet_id=device.number))
        self._asked += 1

    def _take_for(self, wait_s: float) -> None:
        for fd, events in self._epoll.poll(wait_s):
            device = self._by_fd[fd]
            if events & select.EPOLLOUT:
                token = device.token.encode()
                device.sock.send(
                    builder.connect(device.name, keep_alive=600, username=device.name, password=token)
                )
                self._epoll.modify(fd, select.EPOLLIN)
                continue
            data = device.sock.recv(RECEIVE_BYTES)
            if not data:
                raise SystemExit(f"the broker has closed the connection of {device.name}")
            device.received += data
            for first, body in packets_of(device.received):
                if first & 0xF0 == CONNACK:
                    if body[1]:
                        raise SystemExit(f"the broker said {body!r} instead of a CONNACK")
                    device.is_in = True
                elif first & 0xF0 == PUBLISH:
                    size = int.from_bytes(body[:2], "big")
                    self._answered(device, body[2 : 2 + size].decode(), body[2 + size :])

    def _answered(self, device: Device, topic: str, payload: bytes) -> None:
        outcome = topic.rpartition("/")[2]
        self._answers[outcome if outcome == "accepted" else f"{json.loads(payload).get('reason')}"] += 1
        asked_s = device.asked_s.pop(json.loads(payload).get("clientToken", ""), None)
        if asked_s is not None and outcome == "accepted":
            self._took_s.append(time.monotonic() - asked_s)


if __name__ == "__main__":
    print(json.dumps(Reporting(json.loads(sys.stdin.readline())).run()), flush=True)
