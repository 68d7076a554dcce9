"""A connection's bytes: what waits to come whole, what waits to be sent, and saying goodbye."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from broker.connection import UNSENT_BYTES_STOP, Connection
from broker.transport import Closed
from tests.broker_kit import connection_pair

SMALL_BUFFER_BYTES = 8192


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    connection, theirs = connection_pair()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER_BYTES)
    yield connection, theirs
    connection.part(b"")
    theirs.close()


def read(sock: socket.socket, count: int) -> bytes:
    got = bytearray()
    while len(got) < count:
        data = sock.recv(count - len(got))
        assert data, "the stream ended"
        got += data
    return bytes(got)


Pair = tuple[Connection, socket.socket]


def has_waiting(connection: Connection) -> bool:
    return bool(connection.waiting)


class TestIn:
    def test_a_large_packet_in_small_pieces(self, pair: Pair) -> None:
        connection, _ = pair
        assert not has_waiting(connection)
        connection.keep(b"ab", 6)
        assert has_waiting(connection)
        assert connection.collect(b"cd") == b""
        assert connection.collect(b"e") == b""
        assert connection.collect(b"fgh") == b"abcdefgh"
        assert not has_waiting(connection)

    def test_without_a_known_length_every_byte_is_worth_a_look(self, pair: Pair) -> None:
        connection, _ = pair
        connection.keep(b"\x30", 0)
        assert connection.collect(b"\x80") == b"\x30\x80"

    def test_what_waits_costs_what_its_bytes_cost(self, pair: Pair) -> None:
        connection, _ = pair
        connection.keep(b"x", 1_000_000)
        for _ in range(5000):
            assert connection.collect(b"yz") == b""
        assert connection.take_waiting() == b"x" + b"yz" * 5000
        assert not has_waiting(connection)


class TestOut:
    def test_all_at_once(self, pair: Pair) -> None:
        connection, theirs = pair
        assert connection.flush()
        connection.outbox += [b"one", b"two"]
        assert connection.flush()
        assert read(theirs, 6) == b"onetwo"
        assert connection.outbox == []

    def test_a_client_that_does_not_read(self, pair: Pair) -> None:
        """Every byte comes, in order, however often the socket is full, and what waits is counted."""
        connection, theirs = pair
        expected = bytearray()
        for number in range(40):
            chunk = bytes((number,)) * 30_000
            expected += chunk
            connection.outbox.append(chunk)
            connection.flush()
        assert connection.is_blocked
        assert connection.is_stuffed
        assert connection.outbox == []
        assert connection.unsent_bytes > UNSENT_BYTES_STOP
        assert connection.outbound.unsent_bytes == connection.unsent_bytes
        got = bytearray()
        while connection.unsent_bytes:
            got += theirs.recv(65_536)
            connection.is_blocked = False  # what EPOLLOUT says
            connection.flush()
            assert connection.outbound.unsent_bytes == connection.unsent_bytes
        assert not connection.is_blocked
        got += read(theirs, len(expected) - len(got))
        assert got == expected

    def test_acknowledgements_count_too(self, pair: Pair) -> None:
        """A publisher that takes no PUBACK is not read from any more."""
        connection, _ = pair
        while not connection.is_blocked:
            connection.outbox.append(b"\x40\x02\0\1" * 1000)
            connection.flush()
        for _ in range(100):
            connection.outbox.append(b"\x40\x02\0\1" * 1000)
            connection.flush()
        assert connection.is_stuffed

    def test_a_client_that_is_gone(self, pair: Pair) -> None:
        connection, theirs = pair
        theirs.close()
        connection.outbox.append(b"x")
        with pytest.raises(Closed):
            connection.flush()


class TestPart:
    def test_last_words(self, pair: Pair) -> None:
        connection, theirs = pair
        connection.outbox.append(b"ack")
        connection.part(b"bye")
        assert theirs.recv(100) == b"ackbye"
        assert theirs.recv(100) == b""
        assert connection.fd == -1

    def test_nothing_out_of_order_to_one_that_is_behind(self, pair: Pair) -> None:
        connection, theirs = pair
        while not connection.is_blocked:
            connection.outbox.append(b"x" * 10_000)
            connection.flush()
        connection.part(b"bye")
        got = bytearray()
        while data := theirs.recv(65_536):
            got += data
        assert got == b"x" * len(got), "no last words in the middle of a packet"

    def test_to_one_that_is_gone(self, pair: Pair) -> None:
        connection, theirs = pair
        theirs.close()
        connection.part(b"bye")
        assert connection.fd == -1
