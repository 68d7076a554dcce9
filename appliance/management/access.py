"""Who may publish and subscribe to what. Pure; the broker asks once per connection and topic and caches the answer.

Two kinds of access: "own" is a device that reaches its own topics and nothing else; "site" is a dashboard or a
bridge of the site. The name comes from the credential, never from the client id or the topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from appliance.core.errors import UsageError
from appliance.core.limits import DEVICE_ID_BYTES_MAX

Kind = Literal["device", "application"]
Access = Literal["own", "site"]

DEVICE = "{device}"
_ANY_LEVEL = ("+", "{metric}", "{stream}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a connection belongs to, once its credential was checked."""

    name: str
    kind: Kind = "device"
    access: Access = "own"


def check_device_id(device_id: str) -> str:
    """Return a device id unchanged, or refuse it.

    A device id is one level of a topic name: 1..128 bytes of UTF-8, no `/`, `+`, `#`, no control character, no
    space around it, and not beginning with `$`.

    Raises:
        UsageError: code `device_id_invalid`.
    """
    problem = None
    if not device_id:
        problem = "is empty"
    elif len(device_id.encode("utf-8", "surrogatepass")) > DEVICE_ID_BYTES_MAX:
        problem = f"is longer than {DEVICE_ID_BYTES_MAX} bytes"
    elif any(c in "/+#" for c in device_id):
        problem = "has one of / + #, which separate and match topic levels"
    elif not device_id.isprintable():
        problem = "has a character that can't be shown"
    elif device_id != device_id.strip():
        problem = "begins or ends with a space"
    elif device_id.startswith("$"):
        problem = "begins with $, which is kept for the broker"
    elif device_id in {".", ".."}:
        problem = "is a path segment that browsers remove from addresses"
    if problem:
        shown = device_id[:40].encode("ascii", "backslashreplace").decode()
        raise UsageError(
            f"The device id “{shown}” {problem}.",
            hint="Use 1 to 128 letters, digits, dots, dashes or underscores.",
            code="device_id_invalid",
        )
    return device_id


class AccessPolicy:
    """Answers may-publish and may-subscribe.

    Args:
        patterns: Topic patterns of the configured mappings, such as `site/+/dev/{device}/telemetry`. `{device}` is
            a whole level; patterns without it give a device nothing.
    Raises:
        UsageError: `{device}` is only part of a level, or stands there twice.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        compiled = []
        for pattern in patterns:
            levels = tuple(pattern.split("/"))
            count = levels.count(DEVICE)
            if pattern.count(DEVICE) != count or count > 1:
                raise UsageError(
                    f"In the topic pattern “{pattern}” {DEVICE} must be one whole level, once.",
                    hint="Write it like site/+/dev/{device}/telemetry.",
                    code="topic_pattern_invalid",
                )
            if count:
                compiled.append(levels)
        self._patterns = tuple(compiled)

    def may_publish(self, principal: Principal, topic: str) -> bool:
        """Whether a principal may publish to a topic name (already checked to hold no wildcard)."""
        if principal.access == "site":
            return (topic != "$SYS" and not topic.startswith("$SYS/")) or _is_bridge_notification(topic)
        if topic.startswith(f"dm/{principal.name}/"):
            return True
        if not self._patterns or topic.startswith("$"):
            return False
        levels = topic.split("/")
        return any(_matches(pattern, levels, principal.name) for pattern in self._patterns)

    def may_subscribe(self, principal: Principal, topic_filter: str) -> bool:
        """Whether a principal may subscribe with a topic filter (already checked for its form).

        A shared subscription is judged by the filter within it (MQTT 5.0 §4.8.2).
        """
        if principal.access == "site":
            return True
        levels = topic_filter.split("/")
        if levels[0] == "$share":
            levels = levels[2:]
        return levels[:2] == ["dm", principal.name]


def _is_bridge_notification(topic: str) -> bool:
    """`$SYS/broker/connection/NAME/state`, where a bridging mosquitto says whether it is connected, by its will too.

    mosquitto, as the other end, takes this one topic below `$SYS` from clients as well.
    """
    levels = topic.split("/")
    return len(levels) == 5 and levels[1:3] == ["broker", "connection"] and levels[4] == "state"


def _matches(pattern: tuple[str, ...], levels: list[str], name: str) -> bool:
    for index, wanted in enumerate(pattern):
        if wanted == "#":
            return True
        if index >= len(levels):
            return False
        if wanted == DEVICE:
            if levels[index] != name:
                return False
        elif wanted not in (*_ANY_LEVEL, levels[index]):
            return False
    return len(pattern) == len(levels)
