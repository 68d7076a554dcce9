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
from appliance.core.config_alarms import AlarmsConfig
from appliance.core.config_broker import BrokerConfig, BrokerRoleConfig
from appliance.core.config_firmware import FirmwareConfig
from appliance.core.config_log import LogConfig
from appliance.core.config_node import (
    ApiConfig,
    BackupConfig,
    DevicesConfig,
    MappingConfig,
    StoreConfig,
    UiConfig,
    WatchConfig,
)
from appliance.core.config_replication import ReplicationConfig
from appliance.core.config_tier import TierConfig, TierRegionConfig, check_tier
from appliance.core.config_tracing import TracingConfig
from appliance.core.config_values import SOCKET_PATH_BYTES_MAX
from appliance.core.settings import (
    choice,
    folder,
    text,
)

__all__ = [
    "ApiConfig",
    "BackupConfig",
    "BrokerConfig",
    "BrokerRoleConfig",
    "DevicesConfig",
    "FirmwareConfig",
    "MappingConfig",
    "ReplicationConfig",
    "StoreConfig",
    "TracingConfig",
    "UiConfig",
    "WatchConfig",
]
DEFAULT_PATH: Final = Path("/etc/homeport/homeport.toml")
CONFIG_VARIABLE: Final = "HOMEPORT_CONFIG"
RUN_DIR_BYTES_MAX: Final = SOCKET_PATH_BYTES_MAX - len("/broker.sock")


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
    role: str = choice(
        "edge",
        ("edge", "cloud"),
        help="cloud: no devices; it hands what boxes of many sites ship to its regions, and shows how safe they are (docs/CLOUD.md).",
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
    watch: WatchConfig = field(default_factory=WatchConfig)
    backup: BackupConfig = field(default_factory=BackupConfig)
    firmware: FirmwareConfig = field(default_factory=FirmwareConfig)
    alarms: AlarmsConfig = field(default_factory=AlarmsConfig)
    replication: ReplicationConfig = field(default_factory=ReplicationConfig)
    tier: TierConfig = field(default_factory=TierConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)
    api: ApiConfig = field(default_factory=ApiConfig)
    ui: UiConfig = field(default_factory=UiConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    bridge: tuple[BridgeConfig, ...] = ()
    bridge_topic: tuple[BridgeTopicConfig, ...] = ()
    tier_region: tuple[TierRegionConfig, ...] = ()
    source: Path | None = None


SECTIONS: Final[Mapping[str, type]] = {
    "node": NodeConfig,
    "log": LogConfig,
    "broker": BrokerConfig,
    "devices": DevicesConfig,
    "store": StoreConfig,
    "watch": WatchConfig,
    "backup": BackupConfig,
    "firmware": FirmwareConfig,
    "alarms": AlarmsConfig,
    "replication": ReplicationConfig,
    "tier": TierConfig,
    "tracing": TracingConfig,
    "api": ApiConfig,
    "ui": UiConfig,
    "logging": LoggingConfig,
}
LISTS: Final[Mapping[str, type]] = {
    "mapping": MappingConfig,
    "broker_role": BrokerRoleConfig,
    "bridge": BridgeConfig,
    "bridge_topic": BridgeTopicConfig,
    "tier_region": TierRegionConfig,
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
    regions = tuple(TierRegionConfig(**item) for item in values.lists["tier_region"])
    check_tier(regions, path, role=sections["node"].role, has_bridge=bool(bridges))
    return Config(
        **sections,
        mapping=mapping,
        broker_role=roles,
        bridge=bridges,
        bridge_topic=topics,
        tier_region=regions,
        source=path,
    )


def _mapping(item: dict[str, object]) -> MappingConfig:
    chosen = MappingConfig(**item)  # type: ignore[arg-type]
    return MappingConfig(topic=chosen.topic, format=chosen.format, metric=chosen.metric or None)
