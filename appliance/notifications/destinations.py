"""Where notifications may go: names become addresses here, once, and only these are connected to.

Whoever writes a URL has Homeport ask something of a machine that they may not reach themselves (server-side request forgery). A site's own
machines have private addresses, so these are allowed. Not allowed are link-local addresses and those at which clouds tell machines their
credentials, what is no single machine, and Homeport's own ports on this box. What a name stands for is looked up once for each attempt and checked, and
the checked address is the one that is connected to: a name that changes in between changes nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

import trio

from appliance.core.errors import HomeportError, Unavailable, UsageError
from appliance.core.limits_notifications import NOTIFICATION_CONNECT_TIMEOUT_S

Resolve = Callable[[str, int], Awaitable[list[str]]]
_ADDRESS_COUNT_MAX: Final = 8
_FORBIDDEN: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",  # this host, on some systems
            "169.254.0.0/16",  # link-local; metadata of most clouds
            "100.100.100.200/32",  # metadata of Alibaba Cloud
            "168.63.129.16/32",  # Azure's own
            "192.0.0.0/24",  # protocol assignments; metadata of Oracle Cloud
            "224.0.0.0/4",
            "240.0.0.0/4",
            "::/128",
            "fe80::/10",
            "fd00:ec2::/32",  # metadata of AWS
            "fd20:ce::254/128",  # metadata of Google Cloud
            "ff00::/8",
        ),
    )
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Destinations:
    """See the module's docstring.

    Args:
        own_ports: Ports that Homeport listens on.
        own_addresses: This machine's, asked for each time.
        resolve: Looks a name up.
    """

    def __init__(
        self,
        *,
        own_ports: Collection[int],
        own_addresses: Callable[[], Collection[str]],
        resolve: Resolve | None = None,
    ) -> None:
        self._own_ports = frozenset(own_ports)
        self._own_addresses = own_addresses
        self._resolve = resolve or _look_up

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to, in the order in which they are tried.

        Raises:
            Unavailable: `destination_unknown`: no such name, or nobody answers for it in time.
            UsageError: `destination_refused`.
        """
        with trio.move_on_after(NOTIFICATION_CONNECT_TIMEOUT_S):
            found = await self._resolve(host, port)
            allowed = [each for each in found if self._why_not(each, port) == ""]
            if not allowed:
                raise UsageError(
                    f"{host}:{port} may not be told: {self._why_not(found[0], port)}.",
                    hint="Name another machine as the target; docs/NOTIFICATIONS.md says which may not be.",
                    code="destination_refused",
                )
            return allowed[:_ADDRESS_COUNT_MAX]
        raise Unavailable(
            f"The name {host} was not looked up in time.",
            hint="Look at this machine's DNS servers.",
            code="destination_unknown",
        )

    def _why_not(self, text: str, port: int) -> str:
        """Why an address may not be connected to, "" when it may."""
        address = _plain(ipaddress.ip_address(text.partition("%")[0]))
        if any(address.version == network.version and address in network for network in _FORBIDDEN):
            return f"{address} is link-local, a cloud's own, or no single machine"
        own = {_plain(ipaddress.ip_address(each)) for each in self._own_addresses()}
        if port in self._own_ports and (address.is_loopback or address in own):
            return f"port {port} of this box is Homeport's own"
        return ""


def _plain(address: _Address) -> _Address:
    """The IPv4 address that stands in an IPv6 one, or the address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return inner
    return address


async def _look_up(host: str, port: int) -> list[str]:
    try:
        found: list[Any] = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(
            f"There is no address for {host}: {error}.",
            hint="Look at the name, and at this machine's DNS servers.",
            code="destination_unknown",
        ) from error
    return list(dict.fromkeys(str(each[4][0]) for each in found))


async def connect(addresses: Collection[str], port: int) -> trio.SocketStream:
    """Connect to the first of the addresses that takes it.

    Raises:
        Unavailable: `destination_silent`: none does.
    """
    last: OSError | HomeportError | None = None
    for address in addresses:
        try:
            with trio.fail_after(NOTIFICATION_CONNECT_TIMEOUT_S):
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                return await _connected(family, address, port)
        except (OSError, trio.TooSlowError) as error:
            last = error if isinstance(error, OSError) else TimeoutError("nobody answers")
    raise Unavailable(
        f"Nobody could be connected to on port {port}: {last}.",
        hint="Look whether the receiver runs and this box may reach it.",
        code="destination_silent",
    ) from last


async def _connected(family: int, address: str, port: int) -> trio.SocketStream:
    client = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await client.connect((address, port))
    except BaseException:
        client.close()
        raise
    return trio.SocketStream(client)
