"""From an arrival to a connection the data plane can take: CONNECT, who it is, CONNACK.

Rare and slow things are allowed here: each handshake is a trio task of its own with one deadline over all of it, and
nothing is taken from a stranger but CONNECT_BYTES_MAX.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from appliance.core.errors import NotAuthorized, RemoteProtocolError, Unavailable
from appliance.core.limits import CONNECT_BYTES_MAX
from appliance.management.access import AccessPolicy, Principal

from .arrival import Arrival
from .connection import Accepted
from .enquiries import Enquiries
from .identity import DeviceAuthenticator, Proof, read_certificate
from .limit_counts import Limit
from .mqtt.codec import decode, encode
from .mqtt.packets import Connack, Connect, Version
from .mqtt.properties import Properties, Value
from .mqtt.property_table import PropertyId
from .mqtt.reason_codes import ReasonCode
from .mqtt.topics import validate_topic_name
from .mqtt.wire import remaining_length
from .refusals import UnreadableConnect, packet_bytes_max, refusal
from .transport import RECEIVE_BYTES, Refused, TlsTransport, Transport
from .transport_stream import receive_some, send_all

log = structlog.get_logger(__name__)

NAME_OR_PASSWORD: Final = frozenset(
    {"bad_credentials", "unknown_device", "certificate_mismatch", "claim_unknown"}
)
"""Refusals that MQTT calls a bad user name or password; any other is not authorized."""
TOLD: Final = frozenset({"certificate_revoked", "claim_expired", "claim_revoked", "claim_guesses"})
"""Refusals whose reason is told: to who has proved to be the device or to have the claim, and to who has guessed too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeLimits:
    packet_bytes_max: int
    receive_maximum: int
    topic_alias_max: int
    keep_alive_s_max: int
    session_expiry_s_max: int


async def read_connect(sock: socket.socket, transport: Transport) -> tuple[Connect, bytes]:
    """Read CONNECT.

    Returns:
        The packet, and what came behind it.
    Raises:
        RemoteProtocolError: it is something else, malformed, or too large.
        Closed: the peer went away.
    """
    # What came together with the end of the TLS handshake lies in its buffers, and the socket may stay silent.
    data = b""
    if isinstance(transport, TlsTransport):
        with contextlib.suppress(BlockingIOError):
            data = transport.drain()
    while True:
        if data and data[0] != 0x10:
            raise RemoteProtocolError(
                "The first packet is not CONNECT.", reason_code=ReasonCode.PROTOCOL_ERROR
            )
        length, at = remaining_length(data[:5], 1, is_shortest=False) if data else (-1, 0)
        if at + length > CONNECT_BYTES_MAX:
            raise RemoteProtocolError(
                "CONNECT is too large.", reason_code=ReasonCode.PACKET_TOO_LARGE, code=Limit.CONNECT_BYTES_MAX
            )
        if length >= 0 and at + length <= len(data):
            body = data[at : at + length]
            try:
                packet = decode(data[0], body, None)
                assert isinstance(packet, Connect)
                if packet.version == Version.MQTT_5:
                    remaining_length(data[:5], 1)  # only MQTT 5 asks for the shortest form
            except RemoteProtocolError as error:
                raise UnreadableConnect(error, body) from error
            return packet, data[at + length :]
        data += await receive_some(sock, transport.receive, RECEIVE_BYTES)


class Handshake:
    """Accepts clients one by one.

    Args:
        auth_limiter: Bounds the threads that ask the catalog.
        owner_of: Principal of the session that has a client id now, or None.
        on_unknown: Told the user name of a device that the catalog doesn't know; it is refused all the same.
        full_for: Which limit one more connection with this client id would exceed, of whom and from which address.
        has_room_for_session: Whether one more session that outlives its connection is allowed.
    """

    def __init__(
        self,
        authenticator: DeviceAuthenticator,
        policy: AccessPolicy,
        limits: HandshakeLimits,
        auth_limiter: trio.CapacityLimiter,
        owner_of: Callable[[str], str | None],
        on_unknown: Callable[[str], None],
        full_for: Callable[[str, Principal, str], Limit | None],
        has_room_for_session: Callable[[str], bool],
    ) -> None:
        self._enquiries = Enquiries(authenticator, auth_limiter)
        self._policy = policy
        self._limits = limits
        self._owner_of = owner_of
        self._on_unknown = on_unknown
        self._has_room_for_session = has_room_for_session
        self._revocation_count = 0
        self._full_for = full_for

    async def accept(self, arrival: Arrival) -> Accepted:
        """CONNECT, then the checks. The caller sets the deadline.

        Raises:
            Closed: the peer went away.
            Refused: CONNECT was answered with a reason code, or was not CONNECT at all.
        """
        sock, transport = arrival.sock, arrival.transport
        connect: Connect | None = None
        try:
            connect, rest = await read_connect(sock, transport)
            return await self._check(connect, rest, arrival)
        except RemoteProtocolError as error:
            await self._refuse(sock, transport, connect, error)
            raise Refused(error.code, error.message, error.hint) from error
        except Unavailable as error:
            busy = RemoteProtocolError(error.message, reason_code=ReasonCode.SERVER_UNAVAILABLE)
            await self._refuse(sock, transport, connect, busy, tells_why=False)
            raise Refused(error.code, error.message, error.hint) from error
        except NotAuthorized as error:
            if error.code == "unknown_device" and connect is not None:
                self._tell_unknown(connect, arrival.proof)
            code = ReasonCode.BAD_USER_NAME_OR_PASSWORD
            if error.code not in NAME_OR_PASSWORD:
                code = ReasonCode.NOT_AUTHORIZED
            refused = RemoteProtocolError(error.message, reason_code=code)
            await self._refuse(sock, transport, connect, refused, tells_why=error.code in TOLD)
            raise Refused(error.code, error.message, error.hint) from error

    async def turn_away(self, arrival: Arrival, reason: ReasonCode) -> None:
        """Answer a CONNECT that can't be served now with a reason code; the caller closes the socket.

        Raises:
            Closed, RemoteProtocolError: it went away, or it spoke no MQTT: there is nobody to tell.
        """
        connect, _ = await read_connect(arrival.sock, arrival.transport)
        error = RemoteProtocolError("The broker is busy.", reason_code=reason)
        await self._refuse(arrival.sock, arrival.transport, connect, error)

    def revoked(self) -> None:
        """Somebody's access was revoked just now: who is being looked up is looked up once more."""
        self._revocation_count += 1

    async def _identify(self, connect: Connect, arrival: Arrival) -> Principal:
        """Who this is, as of the moment of returning: a revocation never slips in between look-up and admission."""
        while True:
            count = self._revocation_count
            principal = await self._enquiries.identify(connect, arrival.address, arrival.proof)
            if count == self._revocation_count:
                return principal

    def _tell_unknown(self, connect: Connect, proof: Proof) -> None:
        name = connect.username
        if proof.certificate is not None:
            name = read_certificate(proof.certificate).common_name
        if name:
            self._on_unknown(name)

    async def _refuse(
        self,
        sock: socket.socket,
        transport: Transport,
        connect: Connect | None,
        error: RemoteProtocolError,
        *,
        tells_why: bool = True,
    ) -> None:
        packet = refusal(error, connect, tells_why=tells_why)
        if packet:
            await send_all(sock, transport.seal(packet))

    async def _check(self, connect: Connect, rest: bytes, arrival: Arrival) -> Accepted:
        properties = connect.properties
        is_v5 = connect.version == Version.MQTT_5
        if PropertyId.AUTHENTICATION_METHOD in properties:
            raise RemoteProtocolError(
                "Enhanced authentication is not supported.", reason_code=ReasonCode.BAD_AUTHENTICATION_METHOD
            )
        principal = await self._identify(connect, arrival)
        if principal.role and not self._policy.knows_role(principal.role):
            log.warning(
                "a role is not in the configuration and opens nothing", device=principal.name, role=principal.role,
                hint="Write a [[broker_role]] of that name, or change it with 'homeport device access'.",
            )  # fmt: skip
        client_id = connect.client_id
        answer: dict[PropertyId, Value] = {}
        if not client_id:
            client_id = "hp-" + secrets.token_hex(8)
            answer[PropertyId.ASSIGNED_CLIENT_IDENTIFIER] = client_id
        if self._owner_of(client_id) not in (None, principal.name) and client_id != principal.name:
            # Taking a session over is for its owner; anybody else could throw a device out by its client id. A device's
            # own id is always its own, whoever was there before.
            raise RemoteProtocolError(
                f"The client id {client_id!r} is in use with other credentials.",
                reason_code=ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
            )
        if (limit := self._full_for(client_id, principal, arrival.address)) is not None:
            # The broker is full for everybody, or this client has its share.
            is_busy = limit is Limit.CONNECTIONS_MAX
            raise RemoteProtocolError(
                f"As many clients are connected as may be ({limit}).",
                reason_code=ReasonCode.SERVER_BUSY if is_busy else ReasonCode.QUOTA_EXCEEDED,
                code=limit,
            )
        self._check_will(connect, principal, client_id)
        keep_alive_s = connect.keep_alive_s
        session_expiry_s = 0 if principal.kind == "provisioning" else self._session_expiry_s(connect)
        if session_expiry_s and not self._has_room_for_session(client_id):
            raise RemoteProtocolError(
                "As many sessions are kept as may be.",
                reason_code=ReasonCode.QUOTA_EXCEEDED,
                code=Limit.SESSIONS_MAX,
            )
        if is_v5:
            if session_expiry_s != properties.integer(PropertyId.SESSION_EXPIRY_INTERVAL, 0):
                answer[PropertyId.SESSION_EXPIRY_INTERVAL] = session_expiry_s
            if not 0 < keep_alive_s <= self._limits.keep_alive_s_max:
                keep_alive_s = self._limits.keep_alive_s_max
                answer[PropertyId.SERVER_KEEP_ALIVE] = keep_alive_s
            answer |= {
                PropertyId.RECEIVE_MAXIMUM: self._limits.receive_maximum,
                PropertyId.MAXIMUM_PACKET_SIZE: self._limits.packet_bytes_max,
                PropertyId.TOPIC_ALIAS_MAXIMUM: self._limits.topic_alias_max,
            }
        connack = Connack(
            session_present=False, reason_code=0, properties=Properties(answer) if is_v5 else Properties.EMPTY
        )
        packet = encode(connack, connect.version)
        bytes_max = packet_bytes_max(connect)
        if bytes_max is not None and len(packet) > bytes_max:
            raise RemoteProtocolError(
                f"CONNACK has {len(packet)} bytes, and the client takes {bytes_max}.",
                reason_code=ReasonCode.PACKET_TOO_LARGE,
                hint="Raise the client's maximum packet size.",
            )
        return Accepted(
            connect=connect,
            client_id=client_id,
            principal=principal,
            keep_alive_s=keep_alive_s,
            session_expiry_s=session_expiry_s,
            connack=connack,
            rest=rest,
            client_receive_maximum=properties.integer(PropertyId.RECEIVE_MAXIMUM, 65_535),
            client_packet_bytes_max=bytes_max,
            client_topic_alias_max=properties.integer(PropertyId.TOPIC_ALIAS_MAXIMUM, 0),
        )

    def _session_expiry_s(self, connect: Connect) -> int:
        """How long the session outlives its connection. A session of 3.x that isn't clean never ends (MQTT 3.1.1 §3.1.2.4);
        here it does when nobody has come for it for as long as any may last.
        """
        if connect.version != Version.MQTT_5:
            return 0 if connect.clean_start else self._limits.session_expiry_s_max
        wanted_s = connect.properties.integer(PropertyId.SESSION_EXPIRY_INTERVAL, 0)
        return min(wanted_s, self._limits.session_expiry_s_max)

    def _check_will(self, connect: Connect, principal: Principal, client_id: str) -> None:
        will = connect.will
        if will is None:
            return
        if not self._policy.may_publish(principal, validate_topic_name(will.topic), client_id):
            raise RemoteProtocolError(
                f"{principal.name!r} may not publish a will to {will.topic!r}.",
                reason_code=ReasonCode.NOT_AUTHORIZED,
            )
