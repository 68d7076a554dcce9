"""The token bucket, and what a listening socket is like."""

from __future__ import annotations

import socket

import pytest

from appliance.core.clock import ManualClock
from broker.listener import ADDRESS_COUNT_MAX, ConnectRate, open_listener


def taken(rate: ConnectRate, address: str, tries: int) -> int:
    return sum(rate.take(address) for _ in range(tries))


class TestConnectRate:
    def test_a_burst_and_then_the_rate(self) -> None:
        clock = ManualClock()
        rate = ConnectRate(10, clock)
        assert taken(rate, "192.0.2.1", 15) == 10
        clock.advance(100)
        assert taken(rate, "192.0.2.1", 15) == 1
        clock.advance(350)
        assert taken(rate, "192.0.2.1", 15) == 3
        clock.advance(3_600_000)
        assert taken(rate, "192.0.2.1", 15) == 10, "no more than a second's worth is saved up"

    def test_attempts_that_were_refused_cost_nothing(self) -> None:
        clock = ManualClock()
        rate = ConnectRate(2, clock)
        for _ in range(10):
            taken(rate, "192.0.2.1", 50)
            clock.advance(100)
        clock.advance(500)
        assert rate.take("192.0.2.1")

    def test_addresses_do_not_share(self) -> None:
        rate = ConnectRate(1, ManualClock())
        assert rate.take("192.0.2.1")
        assert rate.take("192.0.2.2")
        assert not rate.take("192.0.2.1")

    @pytest.mark.parametrize(
        ("one", "other", "is_shared"),
        [
            ("2001:db8::1", "2001:db8::ffff:2", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("fe80::1%eth0", "fe80::2%eth0", True),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
            ("local", "local", True),
        ],
    )
    def test_ipv6_hosts_have_a_whole_network(self, one: str, other: str, is_shared: bool) -> None:
        rate = ConnectRate(1, ManualClock())
        assert rate.take(one)
        assert rate.take(other) is not is_shared

    def test_addresses_remembered_are_bounded(self) -> None:
        rate = ConnectRate(1, ManualClock())
        for number in range(ADDRESS_COUNT_MAX + 1):
            assert rate.take(f"host-{number}")
        assert not rate.take(f"host-{ADDRESS_COUNT_MAX}")
        assert rate.take("host-0"), "the least recently seen was forgotten"


def test_accepted_sockets_notice_a_network_that_is_gone() -> None:
    with open_listener("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        sock, _ = listener.accept()
        with sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_a_port_that_is_taken() -> None:
    with open_listener("127.0.0.1", 0) as listener, pytest.raises(OSError):
        open_listener("127.0.0.1", listener.getsockname()[1])


def test_ipv6() -> None:
    with open_listener("::1", 0) as listener:
        assert listener.family is socket.AF_INET6
