"""The bridges of the configuration: `[[bridge]]` and `[[bridge_topic]]`, and what must fit between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.core.errors import ConfigError
from appliance.core.limits import BRIDGE_COUNT_MAX, BRIDGE_TOPIC_COUNT_MAX
from appliance.core.settings import Bind, bind, choice, file_or_off, text, whole

_NAME = (r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", "small letters, digits and inner hyphens")
_FILTER = (
    r"#|(\+|[^+#/\x00]*)(/(\+|[^+#/\x00]*))*(/#)?",
    "a topic filter: + alone in a level, # alone in the last one",
)
_PREFIX = (r"|[^+#\x00]*/", "empty, or levels of a topic with a / at the end and no wildcard")
PATH_BYTES_MAX = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfig:
    """Another broker that this one exchanges messages with, as its client (docs/BRIDGE.md)."""

    name: str = text(
        "upstream",
        low=1,
        high=32,
        pattern=_NAME,
        help="Names the bridge in topics' rules, on pages and in files.",
    )
    address: Bind = bind("127.0.0.1:8883", help="Where the other broker listens.")
    tls: str = choice(
        "on",
        ("on", "off"),
        help="off sends user name, password and messages readable over the network.",
    )
    ca_file: Path | None = file_or_off(
        high=PATH_BYTES_MAX,
        help="Certificates (PEM) that the other broker's is checked against; off takes the system's.",
    )
    server_name: str = text(
        "",
        high=253,
        help="Name that must be in the other broker's certificate; empty takes the host of address.",
    )
    certificate_file: Path | None = file_or_off(
        high=PATH_BYTES_MAX,
        help="Our certificate and its key (PEM, mode 600), where the other broker wants one.",
    )
    client_id: str = text(
        "", high=256, help="How we are known there; empty makes one from this box's id and the bridge's name."
    )
    user_name: str = text("", high=256, help="Empty connects without one.")
    password_file: Path | None = file_or_off(
        high=PATH_BYTES_MAX, help="File with the password in its first line, mode 600; off sends none."
    )
    version: str = choice(
        "5", ("5", "3.1.1"), help="MQTT version. Only 5 can keep two bridges from sending in a circle."
    )
    keep_alive_s: int = whole(
        60, unit="s", low=5, high=65_535, help="Silence after which the connection is tested."
    )
    in_flight_max: int = whole(
        100, unit="messages", low=1, high=1000, help="Messages on their way that are not acknowledged yet."
    )
    begin: str = choice(
        "now",
        ("now", "oldest"),
        help="Where a new bridge begins: with what comes from now on, or with the oldest message of the log.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeTopicConfig:
    """Topics that cross a bridge: what is local_prefix + X here is remote_prefix + X there."""

    bridge: str = text("upstream", low=1, high=32, pattern=_NAME, help="Name of the bridge.")
    direction: str = choice(
        "out", ("out", "in", "both"), help="out sends to the other broker, in takes from it."
    )
    topic: str = text("dm/#", low=1, high=1024, pattern=_FILTER, help="Topic filter, without the prefixes.")
    qos: int = whole(
        1,
        unit="QoS",
        low=0,
        high=2,
        help="Highest QoS used; a message is sent with its own where that is lower.",
    )
    local_prefix: str = text("", high=512, pattern=_PREFIX, help="What stands before the topic here.")
    remote_prefix: str = text(
        "", high=512, pattern=_PREFIX, help="What stands before it at the other broker."
    )


def check_bridges(
    bridges: Sequence[BridgeConfig], topics: Sequence[BridgeTopicConfig], source: Path | None
) -> None:
    """Check what one key alone can't show.

    Raises:
        ConfigError: two bridges of the same name, a rule for a bridge that isn't there, a bridge without rules, too many
            of either, a password without a user name in 3.1.1, or files of TLS with TLS off.
    """
    where = f"{source}: " if source else ""
    names = [bridge.name for bridge in bridges]
    if len(names) > BRIDGE_COUNT_MAX:
        raise ConfigError(
            f"{where}{len(names)} bridges are configured, {BRIDGE_COUNT_MAX} are the most.",
            hint="Remove some.",
        )
    if len(topics) > BRIDGE_TOPIC_COUNT_MAX:
        raise ConfigError(
            f"{where}{len(topics)} topics of bridges are configured, {BRIDGE_TOPIC_COUNT_MAX} are the most.",
            hint="Join some with a wildcard.",
        )
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f'{where}Two bridges are named "{name}".', hint="Give each a name of its own.")
    for topic in topics:
        if topic.bridge not in names:
            raise ConfigError(
                f'{where}bridge_topic "{topic.topic}" is for the bridge "{topic.bridge}", which isn\'t there.',
                hint=f"Bridges here: {', '.join(names) or 'none; add [[bridge]]'}.",
            )
    used = {topic.bridge for topic in topics}
    for bridge in bridges:
        _check_bridge(bridge, used, where)


def _check_bridge(bridge: BridgeConfig, used: set[str], where: str) -> None:
    if bridge.name not in used:
        raise ConfigError(
            f'{where}The bridge "{bridge.name}" has no topics.',
            hint=f'Add [[bridge_topic]] with bridge = "{bridge.name}".',
        )
    if bridge.address.port == 0:
        raise ConfigError(
            f'{where}The address of the bridge "{bridge.name}" has port 0.',
            hint="Brokers use 8883, or 1883 without TLS.",
        )
    if bridge.password_file and not bridge.user_name and bridge.version == "3.1.1":
        raise ConfigError(
            f'{where}The bridge "{bridge.name}" has a password and no user name, which MQTT 3.1.1 forbids.',
            hint="Set user_name.",
        )
    if bridge.tls == "off" and (bridge.ca_file or bridge.certificate_file or bridge.server_name):
        raise ConfigError(
            f'{where}The bridge "{bridge.name}" has files or a name for TLS, and tls = "off".',
            hint='Set tls = "on", or remove ca_file, certificate_file and server_name.',
        )
