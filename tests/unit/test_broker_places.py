"""Places: who may come in once more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.management.access import Principal
from broker.connection import Connection
from broker.limit_counts import Limit
from broker.places import PlaceLimits, Places, network_of
from tests.broker_kit import connection_pair

LIMITS = PlaceLimits(in_all=5, per_address=4, per_device=2, per_application=3)
DEVICE = Principal(name="d")
BOARD = Principal(name="board", kind="application")
HERE = "203.0.113.9"


class Door:
    """Makes connections and closes them at the end."""

    def __init__(self) -> None:
        self.places = Places(LIMITS)
        self.made: list[Connection] = []

    def admit(self, principal: Principal, address: str = HERE) -> Connection:
        connection, theirs = connection_pair(principal=principal)
        theirs.close()
        connection.address = address
        self.places.take(connection)
        self.made.append(connection)
        return connection


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    for connection in door.made:
        connection.part(b"")


def test_a_device_and_an_application_have_their_shares(door: Door) -> None:
    first = door.admit(DEVICE)
    assert door.places.refusal(DEVICE, HERE, None) is None
    door.admit(DEVICE)
    assert door.places.refusal(DEVICE, HERE, None) is Limit.CONNECTIONS_PER_DEVICE_MAX
    assert door.places.refusal(DEVICE, HERE, first) is None, "it takes its own place over"
    assert door.places.refusal(Principal(name="e"), HERE, None) is None
    for _ in range(2):
        door.admit(BOARD)
    assert door.places.refusal(BOARD, "192.0.2.1", None) is None
    door.admit(BOARD, "192.0.2.1")
    assert door.places.refusal(BOARD, "192.0.2.1", None) is Limit.CONNECTIONS_MAX


def test_an_application_is_held_to_its_own_number(door: Door) -> None:
    for _ in range(3):
        door.admit(BOARD)
    assert door.places.refusal(BOARD, HERE, None) is Limit.CONNECTIONS_PER_APPLICATION_MAX


def test_an_address_has_its_share(door: Door) -> None:
    older = [door.admit(Principal(name=str(number))) for number in range(4)]
    other = Principal(name="other")
    assert door.places.refusal(other, HERE, None) is Limit.CONNECTIONS_PER_ADDRESS_MAX
    assert door.places.refusal(other, "192.0.2.1", None) is None
    assert door.places.refusal(other, HERE, older[0]) is None
    older[0].address = "192.0.2.7"
    assert door.places.refusal(other, HERE, older[0]) is Limit.CONNECTIONS_PER_ADDRESS_MAX, (
        "it frees no place here"
    )


def test_who_leaves_makes_room_and_leaves_nothing_behind(door: Door) -> None:
    for connection in [door.admit(DEVICE), door.admit(DEVICE)]:
        door.places.give_back(connection)
    assert door.places.refusal(DEVICE, HERE, None) is None
    assert not door.places._by_principal
    assert not door.places._by_network


def test_ipv6_hosts_are_counted_by_network() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2")
    assert network_of("::ffff:192.0.2.1") != network_of("::ffff:192.0.2.2")
    assert network_of("local") == "local"
