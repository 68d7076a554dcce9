"""Subscribers of a run fail loudly: a scripted broker that delivers wrongly, twice or not at all."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from device_fw_sim.errors import LoadFailed, SimError
from device_fw_sim.load import LoadOptions, run_load, wire
from device_fw_sim.load.report import LoadReport

Deliver = Callable[[int, bytes], bytes]
"""From the number of a PUBLISH (QoS 1) and the packet to what its subscriber is sent."""


def once(_number: int, packet: bytes) -> bytes:
    return packet


class _Broker:
    """Two connections: the first subscribes, the second publishes; each PUBLISH goes through `deliver`."""

    def __init__(self, deliver: Deliver, suback: bytes) -> None:
        self._deliver = deliver
        self._suback = suback
        self._number = 0
        self.acknowledged = 0

    def serve(self, listener: socket.socket) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            subscriber = stack.enter_context(listener.accept()[0])
            subscriber.settimeout(20)
            subscriber.recv(65_536)
            subscriber.sendall(b"\x20\x02\x00\x00")
            subscriber.recv(65_536)
            subscriber.sendall(self._suback)
            reader = threading.Thread(target=self._count_answers, args=(subscriber,))
            reader.start()
            stack.callback(reader.join, 20)
            publisher = stack.enter_context(listener.accept()[0])
            publisher.settimeout(20)
            publisher.recv(65_536)
            publisher.sendall(b"\x20\x02\x00\x00")
            self._publishes(publisher, subscriber)

    def _publishes(self, publisher: socket.socket, subscriber: socket.socket) -> None:
        buffer = b""
        while data := publisher.recv(65_536):
            buffer += data
            acks = deliveries = b""
            while (bounds := wire.split_packet(buffer, 0)) is not None:
                first_byte, start, end = bounds
                if first_byte == 0x32:
                    id_at = start + 2 + int.from_bytes(buffer[start : start + 2], "big")
                    acks += b"\x40\x02" + buffer[id_at : id_at + 2]
                    deliveries += self._deliver(self._number, buffer[:end])
                    self._number += 1
                buffer = buffer[end:]
            publisher.sendall(acks)
            subscriber.sendall(deliveries)

    def _count_answers(self, subscriber: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := subscriber.recv(65_536):
                self.acknowledged += data.count(b"\x40\x02")


@contextlib.contextmanager
def broker(deliver: Deliver, suback: bytes = b"\x90\x03\x00\x01\x01") -> Iterator[tuple[int, _Broker]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        scripted = _Broker(deliver, suback)
        thread = threading.Thread(target=scripted.serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1], scripted
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # ends an accept that nobody answers any more
        thread.join(20)


def run(port: int, **more: Any) -> LoadReport:
    defaults: dict[str, Any] = {
        "window": 10,
        "duration_s": 30,
        "warm_up_s": 0,
        "drain_s": 0.3,
        "messages_max": 200,
        "payload": "marked",
        "payload_bytes": 32,
        "subscribers": 1,
    }
    return run_load(LoadOptions(port=port, **(defaults | more)))


def test_everything_is_delivered_and_acknowledged() -> None:
    with broker(once) as (port, scripted):
        report = run(port)
    deliveries = report.deliveries
    assert deliveries is not None
    assert (deliveries.wanted, deliveries.delivered, deliveries.missing) == (200, 200, 0)
    assert deliveries.latency_count > 0
    assert 0 < deliveries.latency_p50_ms <= deliveries.latency_max_ms
    assert report.ok
    assert scripted.acknowledged == 200


@pytest.mark.parametrize(
    ("deliver", "said"),
    [
        (lambda number, packet: b"" if number == 100 else packet, "1 deliveries missing"),
        (lambda number, packet: packet * (2 if number == 100 else 1), "1 deliveries more than once"),
        (lambda number, packet: packet[:-1] + b"!" if number == 100 else packet, "never published so"),
    ],
)
def test_a_wrong_delivery_fails_the_run(deliver: Deliver, said: str) -> None:
    with broker(deliver) as (port, _), pytest.raises(LoadFailed, match=said):
        run(port)


def test_swapped_deliveries_fail_the_run() -> None:
    held: list[bytes] = []

    def swapped(number: int, packet: bytes) -> bytes:
        if number == 100:
            held.append(packet)
            return b""
        return packet + (held.pop() if held else b"")

    with broker(swapped) as (port, _), pytest.raises(LoadFailed, match="1 deliveries out of order"):
        run(port)


def test_a_refused_subscription_ends_the_run() -> None:
    with broker(once, b"\x90\x03\x00\x01\x80") as (port, _), pytest.raises(SimError, match="0x80"):
        run(port, drain_s=0)
