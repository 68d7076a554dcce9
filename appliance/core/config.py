"""The configuration: every key with its default, unit, bounds and help, and how it is loaded.

Values come from homeport.toml, then from the environment (`HOMEPORT_<SECTION>__<KEY>`), which wins. A key that
isn't known, a wrong type or a value out of bounds is refused with file, line and the nearest valid key; nothing is
ever ignored. A loaded `Config` never changes.

Each class below is a section of the file. `appliance/homeport.toml` and the tables of docs/CONFIGURATION.md are
rendered from these lines (`python -m appliance.core.config_text`), which a test checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from appliance.core import config_file
from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig, check_bridges
from appliance.core.config_log import LogConfig
from appliance.core.config_node import DevicesConfig, MappingConfig, StoreConfig, UiConfig
from appliance.core.config_values import Network, network, origin
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
    folder,
    listing,
    text,
    texts,
    whole,
)

__all__ = ["DevicesConfig", "MappingConfig", "StoreConfig", "UiConfig"]
DEFAULT_PATH: Final = Path("/etc/homeport/homeport.toml")
CONFIG_VARIABLE: Final = "HOMEPORT_CONFIG"
SOCKET_PATH_BYTES_MAX: Final = 107
"""The kernel's: a Unix socket's path has 108 bytes with its closing zero."""
RUN_DIR_BYTES_MAX: Final = SOCKET_PATH_BYTES_MAX - len("/broker.sock")
PATH_BYTES_MAX: Final = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """This box."""

    name: str = text(
        "homeport",
        low=1,
        high=63,
        pattern=(
            r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?",
            "letters, digits and inner hyphens, as a host name",
        ),
        help="Shown on every page and put into the certificate made at first start.",
    )
    data_dir: Path = folder(
        "/var/lib/homeport",
        high=4000,
        help="Everything that must survive: log, catalog, time-series store, keys.",
    )
    run_dir: Path = folder(
        "/run/homeport",
        high=RUN_DIR_BYTES_MAX,
        help="Sockets and locks of the running processes.",
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
        "off",
        ("off", "optional", "required"),
        help="Whether devices show a certificate over TLS: its common name is then the device.",
    )
    tls_client_ca: Path | None = file_or_off(
        high=PATH_BYTES_MAX, help="PEM bundle of the authorities whose certificates devices may show."
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
        help="Connections of one device at once, under any client ids.",
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
        help="QoS 1 messages a client may have unacknowledged (MQTT 5 Receive Maximum).",
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
    session_queue_messages_max: int = whole(
        10_000, unit="messages", low=1, high=1_000_000, help="Messages waiting for one slow receiver."
    )
    session_queue_bytes_max: int = whole(
        8 * MIB, unit="bytes", low=64 * 1024, high=1024 * MIB, help="Bytes waiting for one slow receiver."
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingConfig:
    """What the processes write about themselves, to standard error."""

    level: str = choice("info", ("debug", "info", "warning", "error"), help="Least severity that is written.")
    format: str = choice(
        "auto",
        ("auto", "console", "json"),
        help="auto writes for people on a terminal and JSON lines otherwise.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything; `Config()` is all defaults.

    Attributes:
        source: The file that was read, None if there was none.
    """

    node: NodeConfig = field(default_factory=NodeConfig)
    log: LogConfig = field(default_factory=LogConfig)
    broker: BrokerConfig = field(default_factory=BrokerConfig)
    devices: DevicesConfig = field(default_factory=DevicesConfig)
    mapping: tuple[MappingConfig, ...] = ()
    broker_role: tuple[BrokerRoleConfig, ...] = ()
    store: StoreConfig = field(default_factory=StoreConfig)
    ui: UiConfig = field(default_factory=UiConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    bridge: tuple[BridgeConfig, ...] = ()
    bridge_topic: tuple[BridgeTopicConfig, ...] = ()
    source: Path | None = None


SECTIONS: Final[Mapping[str, type]] = {
    "node": NodeConfig,
    "log": LogConfig,
    "broker": BrokerConfig,
    "devices": DevicesConfig,
    "store": StoreConfig,
    "ui": UiConfig,
    "logging": LoggingConfig,
}
LISTS: Final[Mapping[str, type]] = {
    "mapping": MappingConfig,
    "broker_role": BrokerRoleConfig,
    "bridge": BridgeConfig,
    "bridge_topic": BridgeTopicConfig,
}
MAPPING_COUNT_MAX: Final = 256


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read, check and freeze the configuration.

    Args:
        path: The file; None takes $HOMEPORT_CONFIG, else /etc/homeport/homeport.toml if there is one, else defaults.
        environ: Environment variables; `HOMEPORT_<SECTION>__<KEY>` overrides a key.
    Raises:
        ConfigError: the file can't be read, isn't TOML, or has an unknown or bad key; says file, line and what to do.
    """
    if path is None and environ.get(CONFIG_VARIABLE):
        path = Path(environ[CONFIG_VARIABLE])
    if path is None and DEFAULT_PATH.exists():
        path = DEFAULT_PATH
    values = config_file.read(path, environ, sections=SECTIONS, lists=LISTS, item_count_max=MAPPING_COUNT_MAX)
    sections = {name: kind(**values.sections[name]) for name, kind in SECTIONS.items()}
    mapping = tuple(_mapping(item) for item in values.lists["mapping"])
    roles = tuple(BrokerRoleConfig(**item) for item in values.lists["broker_role"])
    bridges = tuple(BridgeConfig(**item) for item in values.lists["bridge"])
    topics = tuple(BridgeTopicConfig(**item) for item in values.lists["bridge_topic"])
    check_bridges(bridges, topics, path)
    return Config(
        **sections,
        mapping=mapping,
        broker_role=roles,
        bridge=bridges,
        bridge_topic=topics,
        source=path,
    )


def _mapping(item: dict[str, object]) -> MappingConfig:
    chosen = MappingConfig(**item)  # type: ignore[arg-type]
    return MappingConfig(topic=chosen.topic, format=chosen.format, metric=chosen.metric or None)
