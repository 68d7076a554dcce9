"""Which parts of a site a cloud node may read, and whether it may at all: as it is recorded in the site's catalog, for all its boxes. Pure.

A question names a part and a device, never an address: what a box answers is this table and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from appliance.core.errors import Conflict, UsageError
from appliance.core.limits_site_reading import READING_NAME_LENGTH_MAX

Part = Literal["devices", "device", "newest", "telemetry", "alarms", "alarm_history"]
PARTS: Final[Mapping[Part, str]] = {
    "devices": "/devices",
    "device": "/devices/{device_id}",
    "newest": "/devices/{device_id}/newest",
    "telemetry": "/devices/{device_id}/telemetry",
    "alarms": "/alarms",
    "alarm_history": "/alarms/history",
}
"""Below /api/v1: reads, each of which a viewer may do."""
assert set(PARTS) == set(get_args(Part))
ALLOW: Final = "peer.allow_reading"
FORBID: Final = "peer.forbid_reading"
"""The actions, as the audit names them."""
NOT_ALLOWED: Final = "reading_not_allowed"
HINT: Final = "At the site, an admin allows it: on the page Sites at this cloud node, or with homeport peer allow-reading NAME."
KEY_PREFIX: Final = "cloud.reading."
_NODE_ID: Final = re.compile(r"[0-9a-f]{32}")
_DEVICE: Final = "{device_id}"


def key_of(node_id: str) -> str:
    """The setting that says whether a cloud node may read this site.

    Args:
        node_id: 32 hexadecimal digits.
    """
    assert _NODE_ID.fullmatch(node_id), "a node's id has 32 hexadecimal digits"
    return KEY_PREFIX + node_id


def is_allowed(value: object) -> bool:
    """What a setting's value says; anything but true is no."""
    return value is True


def path_of(part: str, device_id: str) -> str:
    """Where the API has it, below /api/v1, decoded: the device's id is one segment of it.

    Raises:
        UsageError: `reading_unknown`: there is no such part. `reading_device`: that is no device's id, or there has to be one or none.
    """
    path = next((path for name, path in PARTS.items() if name == part), None)
    if path is None:
        raise UsageError(
            f"A cloud node can't read “{part[:40]}” at a site.",
            hint=f"It can read {', '.join(PARTS)}. If it asks for more, it runs another release.",
            code="reading_unknown",
        )
    if (_DEVICE in path) != bool(device_id):
        raise UsageError(
            f"“{part}” is read {'of a device' if _DEVICE in path else 'of all devices'}.",
            hint="Name a device exactly where one is needed.",
            code="reading_device",
        )
    if "/" in device_id or device_id in (".", "..") or len(device_id) > READING_NAME_LENGTH_MAX:
        raise UsageError(
            "That is no device's id.", hint="Take one of the list of devices.", code="reading_device"
        )
    return path.replace(_DEVICE, device_id)


def person_words(node_name: str, person: str) -> str:
    """Who reads, as a site's log names them."""
    return f"cloud node {node_name}, for {person or 'nobody'}"


def check_reader(role: str, name: str) -> None:
    """Whether a node of the fleet is one that could be let read a site.

    Raises:
        Conflict: `node_no_cloud`.
    """
    if role != "cloud":
        raise Conflict(
            f"{name} is no cloud node: other boxes hold copies, and read no site.",
            hint="Name a cloud node: homeport peer list.",
            code="node_no_cloud",
        )


class SiteSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a box's node tells its replicator for cloud nodes.

    Attributes:
        allowed: Ids of the nodes that may read this site. devices, online: How many it has, and has online.
        alarms: Active ones that nobody has set aside, by priority: P1, P2, P3.
    """

    allowed: tuple[str, ...]
    devices: int
    online: int
    alarms: tuple[int, int, int]
