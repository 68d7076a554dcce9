"""The sections of the configuration that the broker process reads: its doors, its limits, roles.

config.py says how they are loaded and which others there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.core.config_values import (
    PATH_BYTES_MAX,
    SOCKET_PATH_BYTES_MAX,
    Network,
    network,
    origin,
)
from appliance.core.limits import (
    MIB,
    PACKET_BYTES_HARD_MAX,
    ROLE_PATTERN_COUNT_MAX,
    TOPIC_ALIAS_COUNT_HARD_MAX,
)
from appliance.core.settings import (
    Bind,
    bind_or_off,
    choice,
    file_or_off,
    listing,
    text,
    texts,
    whole,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """What devices connect to."""

    tcp_bind: Bind | None = bind_or_off(
        "127.0.0.1:1883",
        help="MQTT without TLS; tokens cross the wire readable, so only this machine by default.",
    )
    tls_bind: Bind | None = bind_or_off("0.0.0.0:8883", help="MQTT over TLS.")
    ws_bind: Bind | None = bind_or_off(
        "off", help="MQTT over WebSocket at /mqtt, without TLS; for a browser or a proxy on this machine."
    )
    wss_bind: Bind | None = bind_or_off("off", help="MQTT over secure WebSocket at /mqtt.")
    ws_origins: tuple[str, ...] = listing(
        origin,
        of="origins such as https://pages.example:8443",
        high=300,
        count_max=64,
        help="Pages that may connect over WebSocket beside those served under this box's own names and addresses.",
    )
    unix_path: Path | None = file_or_off(
        high=SOCKET_PATH_BYTES_MAX,
        help="MQTT over a Unix socket, for programs of this machine; Homeport's own user and root need no token there.",
    )
    tls_client_auth: str = choice(
        "optional",
        ("off", "optional", "required"),
        help="Whether devices show a certificate over TLS, of the site's authority or tls_client_ca: its common name is the device.",
    )
    tls_client_ca: Path | None = file_or_off(
        high=PATH_BYTES_MAX,
        help="PEM bundle of your own authorities whose certificates devices may show, too.",
    )
    tls_client_crl: Path | None = file_or_off(
        high=PATH_BYTES_MAX, help="PEM file of those authorities' revocation lists; each of them needs one."
    )
    proxy_protocol: tuple[Network, ...] = listing(
        network,
        of="addresses such as 10.0.0.5 or 10.0.0.0/24",
        high=64,
        count_max=64,
        help="Proxies that say by PROXY protocol version 2 for whom they connect; from them nothing else is taken.",
    )
    connections_max: int = whole(
        10_000, unit="connections", low=1, high=100_000, help="Connections served at once; more are refused."
    )
    connect_rate_per_address_max: int = whole(
        1000,
        unit="connects/s",
        low=1,
        high=100_000,
        help="Connects per second from one address; more wait in the kernel's queue or are refused.",
    )
    connections_per_address_max: int = whole(
        10_000,
        unit="connections",
        low=1,
        high=100_000,
        help="Connections from one address (IPv6: one /64) at once; lower it where every device has an address of its own.",
    )
    connections_per_device_max: int = whole(
        8,
        unit="connections",
        low=1,
        high=100_000,
        help="Connections of one device at once, and sessions kept for it, under any client ids.",
    )
    connections_per_application_max: int = whole(
        1000, unit="connections", low=1, high=100_000, help="Connections of one application at once."
    )
    handshakes_max: int = whole(
        512,
        unit="connections",
        low=1,
        high=10_000,
        help="Connections between accept and CONNACK at once: 10,000 devices of which each needs 3 s for TLS are in within 60 s.",
    )
    connect_timeout_ms: int = whole(
        10_000,
        unit="ms",
        low=100,
        high=300_000,
        help="From accept to a complete CONNECT, TLS handshake included.",
    )
    packet_timeout_ms: int = whole(
        60_000,
        unit="ms",
        low=1000,
        high=3_600_000,
        help="From the first byte of a packet to its last: 1 MiB over a link of 140 kbit/s.",
    )
    device_bytes_per_s_max: int = whole(
        8 * MIB,
        unit="bytes/s",
        low=0,
        high=1024 * MIB,
        help="What one connection of a device may send; over it, it is not read from for a while. 0 is no limit.",
    )
    device_messages_per_s_max: int = whole(
        10_000,
        unit="messages/s",
        low=0,
        high=1_000_000,
        help="Messages that one connection of a device may publish; over it, it is not read from for a while. 0 is no limit.",
    )
    application_bytes_per_s_max: int = whole(
        0, unit="bytes/s", low=0, high=1024 * MIB, help="The same for a connection of an application."
    )
    application_messages_per_s_max: int = whole(
        0, unit="messages/s", low=0, high=1_000_000, help="The same for a connection of an application."
    )
    subscriptions_max: int = whole(
        200_000,
        unit="subscriptions",
        low=1,
        high=10_000_000,
        help="Subscriptions of all clients together; about 1 KiB of memory each.",
    )
    packet_bytes_max: int = whole(
        1 * MIB, unit="bytes", low=1024, high=PACKET_BYTES_HARD_MAX, help="Largest MQTT packet taken."
    )
    receive_maximum: int = whole(
        1024,
        unit="messages",
        low=1,
        high=65_535,
        help="QoS 1 and 2 messages a client may have unacknowledged (MQTT 5 Receive Maximum).",
    )
    topic_alias_max: int = whole(
        16,
        unit="aliases",
        low=0,
        high=TOPIC_ALIAS_COUNT_HARD_MAX,
        help="Topic aliases a client may use on one connection (MQTT 5 Topic Alias Maximum); 0 allows none.",
    )
    keep_alive_s_max: int = whole(
        3600,
        unit="s",
        low=5,
        high=65_535,
        help="Longest keep alive granted; a longer wish is cut to it (MQTT 5).",
    )
    sessions_max: int = whole(
        20_000,
        unit="sessions",
        low=0,
        high=1_000_000,
        help="Sessions that outlive their connections; a client that asks for one more is refused.",
    )
    session_expiry_s_max: int = whole(
        604_800,
        unit="s",
        low=0,
        high=31_536_000,
        help="How long a session outlives its connection at most. 0 keeps none.",
    )
    session_queue_messages_max: int = whole(
        10_000,
        unit="messages",
        low=1,
        high=1_000_000,
        help="Messages waiting for one client. One that is connected gets the rest out of the log; of one that is away the oldest goes, and is counted.",
    )
    session_queue_bytes_max: int = whole(
        8 * MIB,
        unit="bytes",
        low=64 * 1024,
        high=1024 * MIB,
        help="Bytes of them.",
    )
    server_reference: str = text(
        "",
        high=256,
        help="Where clients of MQTT 5 are sent when this broker stops, as host:port, or several with a space between; empty sends them nowhere.",
    )
    retained_messages_max: int = whole(
        50_000,
        unit="messages",
        low=0,
        high=1_000_000,
        help="Retained messages kept; one for which there is no room is delivered and not kept.",
    )
    retained_bytes_max: int = whole(
        64 * MIB,
        unit="bytes",
        low=64 * 1024,
        high=1024 * MIB,
        help="Topics, payloads and properties of all retained messages.",
    )
    sys_interval_s: int = whole(
        10,
        unit="s",
        low=0,
        high=86_400,
        help="How often the topics below $SYS are brought up to date; 0 = never.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRoleConfig:
    """What clients with this role may do beside the topics of their own name (docs/ACCESS.md)."""

    name: str = text(
        "dashboard",
        low=1,
        high=64,
        pattern=(r"[A-Za-z0-9][A-Za-z0-9._-]*", "letters, digits, dots, dashes and underscores"),
        help="What 'homeport device add --role' calls it.",
    )
    publish: tuple[str, ...] = texts(
        high=1024,
        count_max=ROLE_PATTERN_COUNT_MAX,
        help="Topic patterns it may publish to: + and # as in MQTT, %u is the user name, %c the client id.",
    )
    subscribe: tuple[str, ...] = texts(
        high=1024,
        count_max=ROLE_PATTERN_COUNT_MAX,
        help="Topic patterns it may subscribe to: a filter is granted if one of them covers all of it.",
    )
