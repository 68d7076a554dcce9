"""Topic names and topic filters: what is one, and which filter matches which name.

Source: MQTT 5.0 §4.7 (topic names and filters) and §4.8.2 (shared subscriptions).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from appliance.core.limits import TOPIC_BYTES_MAX, TOPIC_LEVEL_COUNT_MAX
from broker.mqtt.reason_codes import ReasonCode
from broker.mqtt.violations import Fail, remote
from broker.mqtt.wire import decode_text

SHARE_PREFIX: Final = "$share/"
SURELY_FITS: Final = TOPIC_BYTES_MAX // 4
"""A character is at most four bytes: topics up to this length need no encoding to be known to fit."""


class SharedFilter(NamedTuple):
    """`$share/{share_name}/{topic_filter}` taken apart."""

    share_name: str
    topic_filter: str


def validate_topic_name(
    topic: str | bytes, fail: Fail = remote, refusal: ReasonCode = ReasonCode.TOPIC_NAME_INVALID
) -> str:
    """Check a topic name, that is, what a message is published to.

    Args:
        topic: Text, or its UTF-8 bytes as they came.
        fail: Whose mistake a broken rule is.
        refusal: The reason code for an empty name, a wildcard or too many levels.
    Returns:
        The name as text.
    Raises:
        What `fail` makes; RemoteProtocolError(malformed packet) for bytes that are not UTF-8.
    Source: MQTT 5.0 §4.7.1, §4.7.3 [MQTT-3.3.2-2], [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT-4.7.3-3].
    """
    if isinstance(topic, bytes):
        topic = decode_text(topic, "topic name")
    if not topic:
        raise fail("A topic name has at least one character.", refusal)
    if "+" in topic or "#" in topic:
        raise fail("A topic name has no wildcards.", refusal)
    if "\0" in topic or len(topic) > SURELY_FITS or topic.count("/") >= TOPIC_LEVEL_COUNT_MAX:
        _check_size(topic, fail, refusal, "topic name")
    return topic


def validate_topic_filter(topic_filter: str, fail: Fail = remote, *, shared: bool = True) -> str:
    """Check a topic filter, that is, what a client subscribes to.

    Args:
        shared: Whether `$share/…` is a shared subscription, as in MQTT 5, or just a filter, as in 3.x.
    Returns:
        The filter.
    Raises:
        What `fail` makes, with reason code topic filter invalid.
    Source: MQTT 5.0 §4.7.1 [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1] … §4.8.2 [MQTT-4.8.2-1], [MQTT-4.8.2-2].
    """
    code = ReasonCode.TOPIC_FILTER_INVALID
    _check_size(topic_filter, fail, code, "topic filter")
    rest = topic_filter
    if shared and topic_filter.startswith(SHARE_PREFIX):
        share_name, slash, rest = topic_filter[len(SHARE_PREFIX) :].partition("/")
        if not share_name or "+" in share_name or "#" in share_name or not slash:
            raise fail(
                "A shared subscription is $share/, a name without wildcards, / and a topic filter.", code
            )
    if not rest:
        raise fail("A topic filter has at least one character.", code)
    if "#" in rest and (rest.index("#") != len(rest) - 1 or (len(rest) > 1 and rest[-2] != "/")):
        raise fail("The wildcard # stands alone in the last level of a topic filter.", code)
    if "+" in rest and any("+" in level and level != "+" for level in rest.split("/")):
        raise fail("The wildcard + stands alone in its level of a topic filter.", code)
    return topic_filter


def _check_size(topic: str, fail: Fail, refusal: ReasonCode, what: str) -> None:
    if topic.count("/") >= TOPIC_LEVEL_COUNT_MAX:
        raise fail(
            f"The {what} has more than {TOPIC_LEVEL_COUNT_MAX} levels.",
            refusal,
            limit="topic_level_count_max",
        )
    if "\0" in topic:
        raise fail(f"The {what} contains U+0000.", ReasonCode.MALFORMED_PACKET)
    if len(topic) > SURELY_FITS and len(topic.encode("utf-8", "surrogatepass")) > TOPIC_BYTES_MAX:
        raise fail(f"The {what} is longer than {TOPIC_BYTES_MAX} bytes.", refusal)


def is_shared_filter(topic_filter: str) -> bool:
    """Whether a filter asks for a shared subscription (MQTT 5.0 §4.8.2)."""
    return topic_filter.startswith(SHARE_PREFIX)


def parse_shared(topic_filter: str) -> SharedFilter | None:
    """Take a valid shared subscription apart; None for any other filter (MQTT 5.0 §4.8.2)."""
    if not topic_filter.startswith(SHARE_PREFIX):
        return None
    share_name, slash, rest = topic_filter[len(SHARE_PREFIX) :].partition("/")
    return SharedFilter(share_name, rest) if share_name and slash and rest else None


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a valid filter matches a valid topic name; of a shared subscription, its filter.

    A topic that begins with `$` is not matched by a filter that begins with a wildcard, and `a/#` matches `a`
    too.
    Source: MQTT 5.0 §4.7.1.2, §4.7.1.3, §4.7.2 [MQTT-4.7.2-1].
    """
    shared = parse_shared(topic_filter)
    wanted = (shared.topic_filter if shared else topic_filter).split("/")
    levels = topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(levels) or (level != "+" and level != levels[position]):
            return False
    return len(wanted) == len(levels)
