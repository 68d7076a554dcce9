"""Who takes up how many of the broker's connections: in all, by network address, and by device or application.

A client that reconnects takes its own place over, so a full broker lets everybody come back.
"""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from appliance.core.limits import PROVISIONING_CONNECTION_COUNT_MAX
from appliance.management.access import Principal

from .limit_counts import Limit

if TYPE_CHECKING:
    from .connection import Connection

IPV6_NETWORK_BYTES: Final = 8
"""Of an IPv6 address: one host has all of a /64 to connect from."""
_MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceLimits:
    """How many connections there may be at once."""

    in_all: int
    per_address: int
    per_device: int
    per_application: int


class Places:
    """Counts the connections that were admitted."""

    def __init__(self, limits: PlaceLimits) -> None:
        self._limits = limits
        self._in_all = 0
        self._by_network: Counter[str] = Counter()
        self._by_principal: Counter[str] = Counter()
        self.provisioning: dict[Connection, None] = {}
        """Connections that enrol, the oldest first."""

    def refusal(self, principal: Principal, address: str, older: Connection | None) -> Limit | None:
        """Which limit one more connection would exceed; None where it may come in.

        Args:
            older: The connection that it takes over, whose place becomes free.
        """
        limits, network = self._limits, network_of(address)
        is_same_network = older is not None and network_of(older.address) == network
        is_device = principal.kind != "application"
        if self._in_all - (older is not None) >= limits.in_all:
            return Limit.CONNECTIONS_MAX
        if principal.kind == "provisioning" and (
            len(self.provisioning) - (older in self.provisioning) >= PROVISIONING_CONNECTION_COUNT_MAX
        ):
            return Limit.PROVISIONING_CONNECTION_COUNT_MAX
        if principal.kind != "provisioning" and self._by_principal[principal.name] - (older is not None) >= (
            limits.per_device if is_device else limits.per_application
        ):
            return Limit.CONNECTIONS_PER_DEVICE_MAX if is_device else Limit.CONNECTIONS_PER_APPLICATION_MAX
        if self._by_network[network] - is_same_network >= limits.per_address:
            return Limit.CONNECTIONS_PER_ADDRESS_MAX
        return None

    def take(self, connection: Connection) -> None:
        """A connection was admitted."""
        self._in_all += 1
        self._by_principal[connection.principal.name] += 1
        self._by_network[network_of(connection.address)] += 1
        if connection.principal.kind == "provisioning":
            self.provisioning[connection] = None

    def give_back(self, connection: Connection) -> None:
        """A connection that was admitted is closed."""
        self._in_all -= 1
        self.provisioning.pop(connection, None)
        for counts, key in (
            (self._by_principal, connection.principal.name),
            (self._by_network, network_of(connection.address)),
        ):
            counts[key] -= 1
            if not counts[key]:
                del counts[key]


def network_of(address: str) -> str:
    """An address, or of IPv6 its /64: whom a limit per address counts as one."""
    if ":" not in address:
        return address
    raw = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    return raw.hex() if raw[:12] == _MAPPED_PREFIX else raw[:IPV6_NETWORK_BYTES].hex()
