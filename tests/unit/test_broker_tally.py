"""What connections count, added up: of those that are there and those that have gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from broker.connection import Connection
from broker.delivery import Delivery, recipe
from broker.session_records import CloseReason
from broker.tally import Tally
from tests.broker_kit import connection_pair


@pytest.fixture
def some() -> Iterator[list[Connection]]:
    with ExitStack() as stack:
        made = []
        for index in range(2):
            connection, theirs = connection_pair(client_id=f"c{index}", client_receive_maximum=1)
            stack.callback(theirs.close)
            stack.callback(connection.part, b"")
            made.append(connection)
        yield made


def deliver(connection: Connection, count: int) -> None:
    for seq in range(count):
        delivery = Delivery(seq=seq, client=("p", "p"), topic=b"t", payload=b"1234", qos=1)
        connection.outbound.offer(delivery, recipe(1))


def test_sums_are_of_all_that_are_connected(some: list[Connection]) -> None:
    tally = Tally()
    for connection in some:
        connection.answer(b"12345")
        deliver(connection, 3)
    some[1].outbound.fall_behind(30)
    totals = tally.totals(some, 100)
    assert (totals.sent_bytes, totals.in_flight_messages) == (10, 2)
    assert totals.delivered_bytes == 2 * len(b"\x32\x09\x00\x01t\x00\x011234"), (
        "what went out, not what waits"
    )
    assert (totals.queued_messages, totals.queued_bytes) == (4, 20)
    assert (totals.fell_behind, totals.lag_records_most) == (1, 70)


def test_who_has_gone_still_counts(some: list[Connection]) -> None:
    tally = Tally()
    tally.opened(1)
    tally.opened(2)
    some[0].answer(b"12345")
    some[0].outbound.fall_behind(3)
    some[0].outbound.oversize_count = 4
    some[0].outbound.delivered_bytes = 77
    tally.closed(some[0], CloseReason.KICKED, 0x98)
    tally.opened(1)
    totals = tally.totals([], 9)
    assert (totals.sent_bytes, totals.fell_behind, totals.oversize_messages) == (5, 1, 4)
    assert (totals.connections_most, totals.delivered_bytes) == (2, 77)
    assert (tally.closed_by_reason, tally.closed_by_code) == ({"kicked": 1}, {"0x98": 1})
