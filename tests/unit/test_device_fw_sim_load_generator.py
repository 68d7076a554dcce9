"""The generator fails loudly: scripted peers that acknowledge wrongly, late, twice or not at all."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from device_fw_sim.errors import LoadFailed, OptionsError, SimError
from device_fw_sim.load import LoadOptions, run_load, wire
from device_fw_sim.load.report import LoadReport

CONNACK = b"\x20\x02\x00\x00"
Answer = Callable[[int, int], bytes]
"""From the number of a PUBLISH and its packet id to the bytes to answer with."""


def acknowledge(_number: int, packet_id: int) -> bytes:
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


@contextlib.contextmanager
def peer(answer: Answer, *, connack: bytes = CONNACK, close_after: int | None = None) -> Iterator[int]:
    """One scripted connection on loopback; the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            buffer, number = b"", 0
            while data := connection.recv(65_536):
                buffer += data
                reply = b""
                while (bounds := wire.split_packet(buffer, 0)) is not None:
                    first_byte, start, end = bounds
                    body, buffer = buffer[start:end], buffer[end:]
                    if first_byte == 0x10:
                        reply += connack
                    elif first_byte == 0x32:
                        topic_bytes = int.from_bytes(body[:2], "big")
                        reply += answer(
                            number, int.from_bytes(body[2 + topic_bytes : 4 + topic_bytes], "big")
                        )
                        number += 1
                    elif first_byte == 0xC0:
                        reply += b"\xd0\x00"
                with contextlib.suppress(OSError):
                    connection.sendall(reply)
                if close_after is not None and number >= close_after:
                    return

    with listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def run(port: int, **more: Any) -> LoadReport:
    defaults: dict[str, Any] = {
        "window": 10,
        "duration_s": 30,
        "warm_up_s": 0,
        "drain_s": 0.2,
        "messages_max": 500,
    }
    return run_load(LoadOptions(port=port, **(defaults | more)))


def test_everything_is_acknowledged() -> None:
    with peer(acknowledge) as port:
        report = run(port)
    assert report.ok
    assert (report.sent, report.acknowledged, report.missing) == (500, 500, 0)
    assert report.latency_sample_count > 0
    assert report.to_dict()["ok"] is True


def test_a_missing_acknowledgement_fails_the_run() -> None:
    with (
        peer(lambda number, packet_id: b"" if number == 495 else acknowledge(number, packet_id)) as port,
        pytest.raises(LoadFailed) as caught,
    ):
        run(port, window=1_000, duration_s=0.5)
    assert caught.value.report.missing == 1
    assert "1 sent and not acknowledged" in str(caught.value)


def test_an_acknowledgement_too_many_fails_the_run() -> None:
    def twice(number: int, packet_id: int) -> bytes:
        return acknowledge(number, packet_id) * (2 if number == 100 else 1)

    with peer(twice) as port, pytest.raises(LoadFailed, match="nothing in flight"):
        run(port)


def test_swapped_acknowledgements_fail_the_run() -> None:
    held: list[int] = []

    def swapped(number: int, packet_id: int) -> bytes:
        if number == 100:
            held.append(packet_id)
            return b""
        later = b"".join(acknowledge(0, each) for each in held)
        held.clear()
        return acknowledge(number, packet_id) + later

    with peer(swapped) as port, pytest.raises(LoadFailed, match="out of order") as caught:
        run(port)
    assert caught.value.report.missing == 0


def test_a_closed_connection_fails_the_run_or_is_told_of() -> None:
    with peer(acknowledge, close_after=50) as port, pytest.raises(LoadFailed, match="connection 0"):
        run(port)
    with peer(acknowledge, close_after=50) as port:
        report = run(port, tolerate_loss=True)
    assert not report.ok
    assert report.connections_lost == 1
    assert report.acknowledged_by_connection == (report.acknowledged,)


@pytest.mark.parametrize(
    ("connack", "said"), [(b"\x20\x02\x00\x05", "0x05"), (b"\x30\x02\x00\x05", "no CONNACK")]
)
def test_a_refused_connection_ends_the_run(connack: bytes, said: str) -> None:
    with peer(acknowledge, connack=connack) as port, pytest.raises(SimError, match=said):
        run(port)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SimError, match="could not start"):
        run(port)


def test_an_unknown_host_is_said() -> None:
    with pytest.raises(SimError, match="resolved"):
        run(1883, host="nowhere.invalid")


def test_qos_0_counts_what_a_ping_behind_it_confirms() -> None:
    with peer(acknowledge) as port:
        report = run(port, qos=0, drain_s=5)
    assert (report.sent, report.acknowledged) == (500, 500)


def test_a_paced_run_keeps_its_rate() -> None:
    with peer(acknowledge) as port:
        report = run(
            port, rate=1_000, burst=5, duration_s=0.5, messages_max=None, payload="telemetry", keep_alive_s=1
        )
    assert report.ok
    assert 400 <= report.sent <= 600
    assert report.behind == 0


def test_a_run_can_be_stopped() -> None:
    with peer(acknowledge) as port:
        report = run_load(LoadOptions(port=port, duration_s=600, window=10), should_stop=lambda: True)
    assert report.ok
    assert report.measured_s < 60


def test_too_much_memory_is_refused() -> None:
    with pytest.raises(OptionsError, match="1 GiB"):
        run(1883, connections=15_000, payload_bytes=65_000, window=100)


def test_receive_maximum_of_the_broker_bounds_the_window() -> None:
    connack = b"\x20\x06\x00\x00\x03\x21\x00\x07"
    with peer(
        lambda _number, packet_id: b"\x40\x03" + packet_id.to_bytes(2, "big") + b"\x10", connack=connack
    ) as port:
        report = run(port, mqtt_version=5, window=100)
    assert (report.window, report.ok) == (7, True)
