"""The port itself: accepts connections, bounded in all and by address, does TLS, and hands each to HTTP.

A client certificate is asked for and optional; one that is shown is verified against the site's authority, and a wrong one ends
the handshake with the alert that says why. No session is resumed: what a certificate is worth is looked at every time.
"""

from __future__ import annotations

import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio
from cryptography import x509

from appliance.core import logs
from appliance.core.errors import ConfigError
from appliance.core.limits import (
    DEVICE_PORT_CONNECTION_COUNT_MAX,
    DEVICE_PORT_CONNECTION_PER_ADDRESS_COUNT_MAX,
    DEVICE_PORT_HANDSHAKE_TIMEOUT_MS,
)
from appliance.core.settings import Bind
from appliance.device_port.http import HttpConnection
from appliance.device_port.messages import Route, Routes
from appliance.device_port.statistics import DevicePortStatistics, Tally
from appliance.identity.device_rate_limit import DeviceRateLimit
from broker.places import network_of
from broker.transport import Closed
from broker.transport_stream import TransportStream, secure

BACKLOG: Final = 256
ACCEPT_PAUSE_S: Final = 0.1
"""Without descriptors left, accepting pauses; connections wait in the kernel's queue."""
_log = logs.get(__name__)


class DevicePort:
    """See the module's docstring.

    Args:
        rate: Of requests, by address and in all.
        certificate: The box's key and certificate, PEM in one file.
        authorities: What verifies devices' certificates, PEM.
    """

    def __init__(
        self,
        bind: Bind,
        routes: Sequence[Route],
        rate: DeviceRateLimit,
        *,
        certificate: Path,
        authorities: Path,
    ) -> None:
        self._bind = bind
        self._routes = Routes(routes)
        self._rate = rate
        self._certificate = certificate
        self._authorities = authorities
        self._context = server_context(certificate, authorities)
        self._tally = Tally()
        self._by_network: Counter[str] = Counter()

    def reload(self) -> None:
        """Verify by the authorities as they are now, for the connections that come after. Raises ConfigError."""
        self._context = server_context(self._certificate, self._authorities)

    def statistics(self) -> DevicePortStatistics:
        return self._tally.statistics(self._rate.statistics())

    async def serve(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; reports the port once it listens.

        Raises:
            ConfigError: `port_taken`: it can't listen there.
        """
        try:
            listeners = await trio.open_tcp_listeners(self._bind.port, host=self._bind.host, backlog=BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"The devices' port can't listen on {self._bind}: {error.strerror or error}.",
                hint='Set devices.https_bind to a free port, or to "off".',
                code="port_taken",
            ) from error
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept, listener.socket, nursery)
            port = int(listeners[0].socket.getsockname()[1])
            _log.info("the devices' port serves", host=self._bind.host, port=port)
            task_status.started(port)

    async def _accept(self, listener: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        with listener:
            while True:
                try:
                    accepted, peer = await listener.accept()
                except OSError as error:
                    # Out of descriptors, or a connection that failed before it was accepted.
                    _log.warning("the devices' port could not accept a connection", error=str(error))
                    await trio.sleep(ACCEPT_PAUSE_S)
                    continue
                sock = socket.socket(fileno=accepted.detach())
                sock.setblocking(False)
                address = str(peer[0])
                if not self._take_place(network_of(address)):
                    sock.close()
                    continue
                nursery.start_soon(self._serve_one, sock, address)

    def _take_place(self, network: str) -> bool:
        if self._tally.connections >= DEVICE_PORT_CONNECTION_COUNT_MAX:
            self._tally.refused("connections")
            return False
        if self._by_network[network] >= DEVICE_PORT_CONNECTION_PER_ADDRESS_COUNT_MAX:
            self._tally.refused("connections_per_address")
            return False
        self._tally.connections += 1
        self._tally.accepted += 1
        self._by_network[network] += 1
        return True

    async def _serve_one(self, sock: socket.socket, address: str) -> None:
        network = network_of(address)
        try:
            await self._serve_tls(sock, address)
        except Closed as error:
            self._tally.refused("tls")
            _log.info("a device's TLS failed", address=address, reason=str(error))
        except (trio.BrokenResourceError, trio.TooSlowError, OSError) as error:
            self._tally.refused("broken")
            _log.debug("a device's connection broke", address=address, reason=str(error))
        except Exception as error:  # noqa: BLE001 - see tests/test_tidy.py
            self._tally.refused("unforeseen")
            _log.error("a device's request failed in a way nobody foresaw", address=address, exc_info=error)
        finally:
            if sock.fileno() >= 0:
                trio.lowlevel.notify_closing(sock)
                sock.close()
            self._tally.connections -= 1
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]

    async def _serve_tls(self, sock: socket.socket, address: str) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = None
        with trio.move_on_after(DEVICE_PORT_HANDSHAKE_TIMEOUT_MS / 1000):
            transport = await secure(sock, self._context)
        if transport is None:
            self._tally.refused("tls_slow")
            return
        der = transport.peer_certificate()
        try:
            certificate = None if der is None else x509.load_der_x509_certificate(der)
        except (ValueError, x509.InvalidVersion) as error:
            # OpenSSL has taken what cryptography's stricter parser does not: none of ours.
            raise Closed(f"the certificate can't be read: {error}") from error
        stream = TransportStream(sock, transport)
        try:
            connection = HttpConnection(
                stream, self._routes, self._tally, self._rate, address=address, certificate=certificate
            )
            await connection.serve()
        finally:
            with trio.CancelScope(shield=True):
                await stream.aclose()


def server_context(certificate: Path, authorities: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, with an optional certificate of the client. Raises ConfigError: a file can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, password=lambda: b"")
        context.load_verify_locations(authorities)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The devices' port can't use {certificate} or {authorities}: {error}.",
            hint="Put the identity folder back as a whole, from one backup.",
            code="tls_file_invalid",
        ) from error
    context.verify_mode = ssl.CERT_OPTIONAL
    return context
