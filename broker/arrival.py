"""From an accepted socket to one over which MQTT comes, and what the way says of who comes.

A door is a listening socket with its rules. What it adds stands in front of MQTT in this order: the PROXY protocol's header
where a trusted proxy connects, TLS where the door has it, a WebSocket where it is a web door. Nothing here reads MQTT.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import trio

from appliance.core.config_values import Network
from appliance.core.errors import RemoteProtocolError

from .identity import NOTHING, Proof
from .proxy_protocol import HeaderReader
from .transport import PlainTransport, Refused, Transport
from .transport_stream import receive_some, secure
from .websocket import WebSockets

_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred: process, user and group of the peer (unix(7), SO_PEERCRED)."""
_ROOT: Final = 0

DoorName = Literal["tcp", "tls", "ws", "wss", "unix"]
_WEB: Final = frozenset({"ws", "wss"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A listening socket's rules.

    Attributes:
        context: Gives the TLS settings for the next connection; None where there is no TLS.
    """

    name: DoorName
    context: Callable[[], ssl.SSLContext] | None = None

    @property
    def is_web(self) -> bool:
        """Whether MQTT comes over a WebSocket."""
        return self.name in _WEB


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A connection ready for CONNECT.

    Attributes:
        address: Whose it is, for limits and logs: an IP address, or a Unix socket's user.
    """

    sock: socket.socket
    transport: Transport
    address: str
    proof: Proof

    def close(self) -> None:
        """Let it go, where nobody has taken it; of a WebSocket the carrier then ends."""
        if self.sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()


class Entrance:
    """See the module's docstring.

    Args:
        proxies: Who speaks the PROXY protocol.
        websockets: Who carries those that come by a web door.
        own_uid: Whose programs a Unix socket needs no token from, beside root's.
    """

    def __init__(
        self, proxies: tuple[Network, ...], websockets: WebSockets, *, own_uid: int | None = None
    ) -> None:
        self._proxies = proxies
        self._websockets = websockets
        self._own_uid = os.geteuid() if own_uid is None else own_uid
        self.proxied = 0
        """Connections whose address a proxy has told."""

    async def find_source(self, sock: socket.socket, peer: object) -> str:
        """Whose connection it is. Reads a trusted proxy's header, and not a byte behind it.

        Args:
            peer: As `accept` gave it.
        Raises:
            Refused: a trusted proxy sent no header that can be read.
            Closed: it went away.
        """
        if sock.family == socket.AF_UNIX:
            return f"uid-{peer_uid(sock)}"
        assert isinstance(peer, tuple)
        address = str(peer[0])
        if not self._proxies or not self._is_proxy(address):
            return address
        reader = HeaderReader()
        try:
            while True:
                data = await receive_some(sock, sock.recv, reader.needed_bytes)
                header = reader.receive_bytes(data)
                if header is not None:
                    break
        except RemoteProtocolError as error:
            raise Refused(error.code, error.message, error.hint) from error
        if header.source is None:
            return address
        self.proxied += 1
        return header.source

    async def enter(self, sock: socket.socket, address: str, door: Door) -> Arrival:
        """TLS and WebSocket, where the door has them. A web door takes the socket over, whatever becomes of it, and gives another one.

        Raises:
            Closed: the peer went away, or TLS failed.
            Refused: a web door's request was refused.
        """
        if door.is_web:
            context = door.context() if door.context is not None else None
            carried = await self._websockets.upgrade(sock, context)
            return Arrival(
                sock=carried.sock,
                transport=PlainTransport(carried.sock, door.name),
                address=address,
                proof=Proof(certificate=carried.certificate),
            )
        if door.context is not None:
            tls = await secure(sock, door.context())
            return Arrival(
                sock=sock, transport=tls, address=address, proof=Proof(certificate=tls.peer_certificate())
            )
        proof = NOTHING
        if door.name == "unix":
            proof = Proof(is_local=peer_uid(sock) in (_ROOT, self._own_uid))
        return Arrival(sock=sock, transport=PlainTransport(sock, door.name), address=address, proof=proof)

    def _is_proxy(self, address: str) -> bool:
        parsed = ipaddress.ip_address(address)
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._proxies)


def peer_uid(sock: socket.socket) -> int:
    """The user at the other end of a Unix socket, as it was when it connected."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(raw)
    return int(uid)
